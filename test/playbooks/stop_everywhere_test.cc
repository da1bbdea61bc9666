// Each dialogue again and again: at its n-th moment of waiting the session is stopped, or destroyed where it stands.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>

#include "test/playbooks/dialogue.h"

namespace {

using playbook::Blow;
using playbook::Play;
using playbook::Script;

// A dialogue with more moments is struck at evenly spread ones; one with much content, which takes its time, at fewer.
constexpr std::size_t most_moments = 120;
constexpr std::size_t fewest_moments = 12;
constexpr std::size_t most_octets = 1'000'000;

void strike_everywhere(const Script& script, Blow blow, std::size_t window) {
  Play play;
  play.manner.window = window;
  playbook::Outcome whole = playbook::run(script, play);
  if (whole.steps > 10 * most_moments) {  // much content in small pieces: larger ones show as much
    play.manner.window *= whole.steps / most_moments;
    whole = playbook::run(script, play);
  }
  const std::size_t moments = whole.steps;
  const std::size_t strikes = std::clamp(most_octets / (whole.octets + 1), fewest_moments, most_moments);
  const std::size_t stride = std::max<std::size_t>(1, moments / strikes);
  play.blow = blow;
  for (play.blow_at = 1; play.blow_at <= moments; play.blow_at += stride) {
    const playbook::Outcome outcome = playbook::run(script, play);
    CHECK_MESSAGE(outcome.failure.empty(), outcome.failure << " (struck at moment " << play.blow_at << " of " << moments
                                                           << ")\n"
                                                           << outcome.transcript);
    if (play.blow_at == 1) CHECK_MESSAGE(outcome.struck, script.name << " was not struck");
    if (!outcome.failure.empty()) return;
  }
}

void for_all(Blow blow) {
  const char* only = std::getenv("DIALOGUE");
  for (const Script& script : playbook::read_scripts(DIALOGUES)) {
    if (only != nullptr && script.name != only) continue;
    strike_everywhere(script, blow, playbook::Peer::unlimited);
    strike_everywhere(script, blow, 16);  // so that writes wait, too
  }
}

TEST_CASE("stopped at every moment") { for_all(Blow::stop); }
TEST_CASE("destroyed at every moment") { for_all(Blow::destroy); }

}  // namespace
