// The loop of the tests: no descriptors, a clock that moves only when it is told to.
#pragma once

#include <algorithm>

#include "proxy/io/loop.h"
#include "test/playbooks/starvation.h"

namespace playbook {

class TestLoop final : public io::Loop {
 public:
  ~TestLoop() override { destroy_roots(); }

  io::TimePoint now() const override { return now_; }
  // Resumes whatever can go on until everything waits.
  void settle() {
    const Inside session(true);
    do run_ready();
    while (has_ready());
  }
  // True if a deadline lies within `until`: the clock stands there now, and what waited for it has gone on.
  bool next_due(io::TimePoint until) {
    const auto next = next_deadline();
    if (!next || *next > until) return false;
    now_ = std::max(now_, *next);
    fire_due(now_);
    settle();
    return true;
  }
  // Lets `time` pass; deadlines fire in their order, each at its own time.
  void advance(io::Duration time) {
    const io::TimePoint until = now_ + time;
    settle();
    while (next_due(until)) continue;
    now_ = std::max(now_, until);
  }
  void stand_at(io::TimePoint time) { now_ = std::max(now_, time); }

 private:
  io::TimePoint now_{std::chrono::hours(1)};  // never zero: zero means "unset" in some places
};

}  // namespace playbook
