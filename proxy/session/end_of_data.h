// The product in one function: scan, judge, relay or refuse; one reply.
#pragma once

#include "proxy/judge/facts.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/downstream.h"
#include "proxy/session/transaction.h"

namespace session {

// All that policy may look at, but for the report of a scan.
judge::Facts facts_of(const Transaction& mail, const ClientFacts& client);

// Sets mail.reply and mail.end. When mail.end is client_gone there is nobody to answer.
io::Task<> finish(Transaction& mail, const ClientFacts& facts, const Services& services, ClientLeg& client,
                  Downstream& downstream, io::Scope& scope);

}  // namespace session
