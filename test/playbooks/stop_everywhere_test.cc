// Each dialogue again and again: at its n-th moment of waiting the session is stopped, or destroyed where it stands.
#include <doctest/doctest.h>

#include "test/playbooks/strikes.h"

namespace {

using playbook::Blow;
using playbook::Script;

constexpr std::size_t most_moments = 120;

void for_all(Blow blow) {
  for (const Script& script : playbook::read_scripts(DIALOGUES)) {
    for (const std::size_t window : {playbook::Peer::unlimited, std::size_t(16)}) {  // narrow, so that writes wait, too
      const playbook::Strikes strikes = playbook::strike_everywhere(script, blow, window, playbook::within_reach(most_moments));
      CHECK_MESSAGE(strikes.failure.empty(), strikes.failure);
      CHECK_MESSAGE(strikes.fell > 0, script.name << " was not struck");
    }
  }
}

TEST_CASE("stopped at every moment") { for_all(Blow::stop); }
TEST_CASE("destroyed at every moment") { for_all(Blow::destroy); }

}  // namespace
