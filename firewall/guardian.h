// The process that takes rules back which nobody has confirmed: somebody who has locked himself out over ssh gets in
// again. It survives the terminal, the connection and the command that has started it.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "firewall/state.h"

namespace firewall {

// Started and on its own. It ends as soon as it reads that the application is confirmed, removed or failed. What is to
// be taken back it knows by itself: a file that is gone, or that it cannot believe, keeps it from nothing.
bool post_guardian(const std::string& directory, const State& state, std::chrono::seconds within);

// To what was in force before this state, or to nothing. The sentences say what failed.
std::vector<std::string> take_back(const State& state);
// The same, and the file says so; the state stays when something failed.
std::vector<std::string> roll_back(const StateFile& file, const State& state);

}  // namespace firewall
