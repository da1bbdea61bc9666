// Plays a dialogue again and again: the blow falls at another moment of waiting each time.
#pragma once

#include "test/playbooks/dialogue.h"

namespace playbook {

struct Strikes {
  std::size_t plays = 0;
  std::size_t fell = 0;  // times that there was somebody to hit
  std::string failure;   // the first one, with its transcript; empty: no rule was ever broken
};

// At each of its moments, or at `most_moments` evenly spread ones, at fewer where there is much content.
Strikes strike_everywhere(const Script& script, Blow blow, std::size_t window, std::size_t most_moments);

// Of so many moments or allocations those that this run goes for: `quick` of them where sanitizers make it twenty times as
// slow, because the optimized build goes for all; all in a full run (GATEPOST_FULL).
std::size_t within_reach(std::size_t most, std::size_t quick);

}  // namespace playbook
