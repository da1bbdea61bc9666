// One message, several recipients, several answers: what one reply says about them all (dialogue.md D6).
#pragma once

#include <vector>

#include "protocol/command.h"
#include "protocol/reply.h"

namespace session {

// All 2yz, all 4yz or all 5yz.
bool are_alike(const std::vector<protocol::Reply>& each);

// `each` answers the recipients in order; neither is empty. Alike: the first of them. Some 4yz: 451 4.5.1, for the client
// has to come again. Otherwise some have it and some never will: 554 5.3.0 with their names, so that nobody takes the
// message for delivered.
protocol::Reply combined(const std::vector<protocol::Reply>& each,
                         const std::vector<protocol::RcptCommand>& recipients);

}  // namespace session
