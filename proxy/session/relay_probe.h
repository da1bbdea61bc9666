// One look at a server (dialogue.md D5): what it offers to us, and whether it would relay for whoever it takes us for.
// MAIL FROM:<>, RCPT for each of relay_probe_recipients, RSET, QUIT; never DATA.
#pragma once

#include <string>

#include "proxy/session/identity.h"

namespace session {

enum class Proof { none, refuses, relays };
// Of one reply to RCPT of that mailbox. Refuses: a permanent refusal that says relaying or policy (5.7.x; or 550, 551,
// 553, 554 with a text that names relay), or 4.7.x with such a text: the default of Postfix defers. Relays: 2yz.
// Anything else proves nothing.
Proof proof_of(const protocol::Reply& answered, std::string_view mailbox);
// Of several: one 2yz is a relay, else one proving refusal is enough.
Proof joined(Proof a, Proof b);

struct ProbeOrder {
  Channel as = Channel::none;  // none, or a PROXY header for 192.0.2.1
  bool recipients = true;      // ask them, unless XCLIENT is offered and `stop_at_xclient`
  bool stop_at_xclient = false;
  io::Duration patience{};  // for connection, TLS and banner
};

struct ProbeReport {
  bool reached = false;  // it has greeted us: EHLO was accepted
  bool silent = false;   // no banner within the patience
  Proof proof = Proof::none;
  std::string evidence;  // "RCPT TO:<relay-probe@example.net>: 554 5.7.1 Relay access denied", or what went wrong
  std::string banner;    // what of it stays the same from day to day
  protocol::Capabilities offered;
};

// On a connection of its own, which is closed in order.
io::Task<ProbeReport> probe(Services services, Server server, ProbeOrder order, io::Scope& scope);

}  // namespace session
