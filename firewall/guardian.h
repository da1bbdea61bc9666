// The process that takes rules back which nobody has confirmed: somebody who has locked himself out over ssh gets in
// again. It survives the terminal, the connection and the command that has started it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "firewall/state.h"

namespace firewall {

// Started and on its own. It ends as soon as the application with this token is confirmed, removed or failed.
bool post_guardian(const std::string& directory, const std::string& token, std::chrono::seconds within);

// To what was in force before this state, or to nothing. The sentences say what failed; the state stays then.
std::vector<std::string> roll_back(const StateFile& file, const State& state);

}  // namespace firewall
