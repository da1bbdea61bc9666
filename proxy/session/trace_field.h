// Our Received field (RFC 5321 4.4).
#pragma once

#include <string>
#include <string_view>

#include "protocol/envelope.h"
#include "protocol/received.h"
#include "proxy/session/client_facts.h"

namespace session {

// Without `for` clause and date: both differ per copy of a message that is kept here.
protocol::Received received_of(const ClientFacts& client, bool utf8, std::string_view hostname, std::string_view id);

// The whole field as of now, with its CRLF; the recipient is named only where he is the only one (RFC 5321 7.2).
std::string trace_field(const ClientFacts& client, const protocol::Envelope& envelope, std::string_view hostname,
                        std::string_view id);

}  // namespace session
