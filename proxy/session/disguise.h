// `hide` (dialogue.md D8): our reply to EHLO in the shape of the server's own, and which commands it answers itself.
#pragma once

#include "protocol/capabilities.h"
#include "protocol/command.h"
#include "protocol/reply.h"
#include "proxy/session/services.h"

namespace session {

// The lines of `servers`, its 2yz reply to EHLO, in its order and spelling; those whose keyword is not in `offered` are
// left out, those whose parameters differ there are ours, and what only we offer stands at the end.
protocol::Reply disguised(const protocol::Reply& servers, const protocol::Capabilities& offered);

// There is a server to be shown.
bool shows_server(const Services& services, const config::Listener& listener);

// What the client wrote, where a server with these capabilities is to refuse it in its own words: a verb that nobody
// knows, bad syntax, a bad sequence, or a parameter that it does not take either. Empty: no other words than `ours`.
// Printable ASCII only, a verb of letters and digits, and never one that a server could take from us for more than it is
// worth (XCLIENT, AUTH, STARTTLS, TURN).
std::string line_to_refuse(const protocol::Command& command, const protocol::Reply& ours,
                           const protocol::Capabilities& servers);

}  // namespace session
