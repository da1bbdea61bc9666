// Each dialogue again and again: its n-th allocation fails (T:F7). That may cost this session, and nothing else: no
// success that is none, no crash, nothing left behind.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdlib>
#include <new>

#include "test/playbooks/dialogue.h"
#include "test/playbooks/starvation.h"
#include "test/playbooks/strikes.h"

namespace {

using playbook::Blow;
using playbook::Inside;
using playbook::Play;
using playbook::Script;
using playbook::Starvation;

void* allocate(std::size_t size) {
  if (Starvation::inside && ++Starvation::count == Starvation::fails_at) {
    Starvation::failed = true;
    throw std::bad_alloc();
  }
  if (void* space = std::malloc(size)) return space;
  throw std::bad_alloc();
}

constexpr std::size_t of_a_quick_run = 13;
constexpr std::size_t most_strikes = 40;  // of one dialogue, evenly spread; the first dialogues are struck everywhere

void starve(const Script& script, bool everywhere) {
  Play play;
  play.blow = Blow::starve;
  play.blow_at = 0;
  playbook::run(script, play);  // fills the pool of frames
  playbook::run(script, play);
  const std::size_t allocations = Starvation::count;
  const std::size_t stride = everywhere ? 1 : std::max<std::size_t>(1, allocations / playbook::within_reach(most_strikes, of_a_quick_run));
  for (play.blow_at = 1; play.blow_at <= allocations; play.blow_at += stride) {
    const playbook::Outcome outcome = playbook::run(script, play);
    CHECK(outcome.struck);
    if (outcome.failure.empty()) continue;
    FAIL_CHECK(outcome.failure << " (allocation " << play.blow_at << " of " << allocations << ")\n"
                               << outcome.transcript);
    return;
  }
}

TEST_CASE("every allocation of some dialogues fails, and many of all others") {
  std::size_t struck = 0;
  for (const Script& script : playbook::read_scripts(DIALOGUES)) {
    const bool everywhere = script.name == "plain.smtp" || script.name == "scanned_clean.smtp";
    starve(script, everywhere);
    ++struck;
  }
  CHECK(struck > 0);
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* space) noexcept { std::free(space); }
void operator delete[](void* space) noexcept { std::free(space); }
void operator delete(void* space, std::size_t) noexcept { std::free(space); }
void operator delete[](void* space, std::size_t) noexcept { std::free(space); }
