// Each dialogue again and again: at its n-th moment of waiting one of its peers vanishes, in order or by RST, and
// whoever is left goes on as the file says (T:C4-C7). Nothing may be promised that was not accepted, nothing handed
// over that the client had not finished, nothing left behind, and each transaction has its one summary line.
#include <doctest/doctest.h>

#include "test/playbooks/strikes.h"

namespace {

using playbook::Blow;
using playbook::Script;

struct Reach {
  std::size_t window;
  std::size_t most_moments, of_a_quick_run;
};
#ifdef __SANITIZE_ADDRESS__  // twenty times as slow, and the optimized build goes everywhere
constexpr Reach reaches[] = {{playbook::Peer::unlimited, 16, 8}, {16, 8, 4}};
#else
constexpr Reach reaches[] = {{playbook::Peer::unlimited, 60, 0}, {16, 24, 0}};  // narrow, so that writes wait, too
#endif

// In `at_least` percent of the files there must have been somebody to hit: not where a connect is refused, and not
// downstream where that is a maildir.
void for_all(Blow blow, std::size_t at_least) {
  std::size_t files = 0, struck = 0;
  for (const Script& script : playbook::read_scripts(DIALOGUES)) {
    for (const Reach& reach : reaches) {
      const playbook::Strikes strikes = playbook::strike_everywhere(
          script, blow, reach.window, playbook::within_reach(reach.most_moments, reach.of_a_quick_run));
      CHECK_MESSAGE(strikes.failure.empty(), strikes.failure);
      ++files;
      struck += strikes.fell > 0 ? 1U : 0U;
    }
  }
  CHECK(struck * 100 >= files * at_least);
}

TEST_CASE("the client resets at every moment") { for_all(Blow::client_reset, 95); }
TEST_CASE("the client closes at every moment") { for_all(Blow::client_close, 95); }
TEST_CASE("the downstream resets at every moment") { for_all(Blow::downstream_reset, 85); }
TEST_CASE("the downstream closes at every moment") { for_all(Blow::downstream_close, 85); }

}  // namespace
