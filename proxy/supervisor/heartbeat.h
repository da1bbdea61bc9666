// Whether a child that always has time for a word still gives one: it is asked once in a while, and must answer soon.
#pragma once

#include <chrono>
#include <optional>

namespace supervisor {

class Heartbeat {
 public:
  using Time = std::chrono::steady_clock::time_point;
  // From one answer to the next question; for an answer; for the first word of a program that was started.
  static constexpr std::chrono::seconds interval{1}, patience{4}, to_start{15};

  void begin(Time now) { ask_at_.reset(), answer_by_ = now + to_start; }
  void end() { ask_at_.reset(), answer_by_.reset(); }
  bool due(Time now) const { return ask_at_ && *ask_at_ <= now; }
  void asked(Time now) { ask_at_.reset(), answer_by_ = now + patience; }
  // Whatever it says is an answer.
  void heard(Time now) {
    if (answer_by_) answer_by_.reset(), ask_at_ = now + interval;
  }
  bool silent(Time now) const { return answer_by_ && *answer_by_ <= now; }
  std::optional<Time> next() const { return ask_at_ ? ask_at_ : answer_by_; }

 private:
  std::optional<Time> ask_at_, answer_by_;  // one of them while it lasts, none before and after
};

}  // namespace supervisor
