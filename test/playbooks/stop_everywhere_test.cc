// Each dialogue again and again: at its n-th moment of waiting the session is stopped, or destroyed where it stands.
#include <doctest/doctest.h>

#include "test/playbooks/strikes.h"

namespace {

using playbook::Blow;
using playbook::Script;

struct Reach {
  std::size_t window;
  std::size_t most_moments, of_a_quick_run;
};
constexpr Reach reaches[] = {{playbook::Peer::unlimited, 120, 24}, {16, 120, 8}};  // narrow, so that writes wait, too

void for_all(Blow blow) {
  for (const Script& script : playbook::read_scripts(DIALOGUES)) {
    for (const Reach& reach : reaches) {
      const playbook::Strikes strikes = playbook::strike_everywhere(
          script, blow, reach.window, playbook::within_reach(reach.most_moments, reach.of_a_quick_run));
      CHECK_MESSAGE(strikes.failure.empty(), strikes.failure);
      CHECK_MESSAGE(strikes.fell > 0, script.name << " was not struck");
    }
  }
}

TEST_CASE("stopped at every moment") { for_all(Blow::stop); }
TEST_CASE("destroyed at every moment") { for_all(Blow::destroy); }

}  // namespace
