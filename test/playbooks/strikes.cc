#include "test/playbooks/strikes.h"

#include <algorithm>
#include <cstdlib>

namespace playbook {
namespace {

constexpr std::size_t fewest_moments = 6;
constexpr std::size_t most_octets = 1'000'000;

}  // namespace

Strikes strike_everywhere(const Script& script, Blow blow, std::size_t window, std::size_t most_moments) {
  Strikes strikes;
  Play play;
  play.manner.window = window;
  Outcome whole = run(script, play);
  if (whole.steps > 10 * most_moments) {  // much content in small pieces: larger ones show as much
    play.manner.window *= whole.steps / most_moments;
    whole = run(script, play);
  }
  const std::size_t moments = whole.steps;
  const std::size_t affordable = std::clamp(most_octets / (whole.octets + 1), std::min(fewest_moments, most_moments), most_moments);
  const std::size_t stride = std::max<std::size_t>(1, moments / affordable);
  play.blow = blow;
  for (play.blow_at = 1; play.blow_at <= moments; play.blow_at += stride) {
    const Outcome outcome = run(script, play);
    ++strikes.plays;
    strikes.fell += outcome.struck ? 1U : 0U;
    if (!outcome.struck || outcome.failure.empty()) continue;  // not struck: as dialogues_test plays it
    strikes.failure = outcome.failure + " (struck at moment " + std::to_string(play.blow_at) + " of " +
                      std::to_string(moments) + ")\n" + outcome.transcript;
    return strikes;
  }
  return strikes;
}

std::size_t within_reach(std::size_t most, [[maybe_unused]] std::size_t quick) {
#if defined(__SANITIZE_ADDRESS__)
  return std::getenv("GATEPOST_FULL") == nullptr ? quick : most;
#else
  return most;
#endif
}

}  // namespace playbook
