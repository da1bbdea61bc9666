// `hide` (dialogue.md D8): our reply to EHLO in the shape of the server's own.
#pragma once

#include "protocol/capabilities.h"
#include "protocol/reply.h"

namespace session {

// The lines of `servers`, its 2yz reply to EHLO, in its order and spelling; those whose keyword is not in `offered` are
// left out, those whose parameters differ there are ours, and what only we offer stands at the end.
protocol::Reply disguised(const protocol::Reply& servers, const protocol::Capabilities& offered);

}  // namespace session
