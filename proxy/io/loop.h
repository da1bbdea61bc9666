// The heart of waiting: timers, the ready list and root tasks of one thread. No file descriptor is known here, so that
// tests drive it with a clock of their own; event_loop.h adds libevent.
//
// Everything awaited is a Signal (raised by a descriptor's event or an answer that arrived) and a deadline. Waits are
// resumed from the loop, never inside the stack of whoever raised the signal.
#pragma once

#include <chrono>
#include <cstddef>
#include <list>
#include <optional>
#include <vector>

#include "proxy/io/task.h"

namespace io {

using Clock = std::chrono::steady_clock;
using TimePoint = Clock::time_point;
using Duration = Clock::duration;
inline constexpr TimePoint never = TimePoint::max();

class Wait;
class Scope;

class Loop {
 public:
  Loop() = default;
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  virtual ~Loop();

  virtual TimePoint now() const = 0;  // monotonic; may be cached for one turn of the loop

  // Takes ownership of a root task and starts it; it is reaped after it has returned. What a root throws ends it alone.
  void spawn(Task<> root);
  std::size_t roots() const { return roots_.size(); }
  // Destroys all roots wherever they wait (tests; end of the process).
  void destroy_roots() {
    roots_.clear();
    finished_.clear();
  }

  void drain();               // every scope's drain signal is raised; new scopes start drained
  bool draining() const { return draining_; }
  void stop_all();            // request_stop(shutdown) on every scope

 protected:
  friend class Wait;
  friend class Scope;
  friend class Signal;
  friend class Yield;
  // Resumes what is ready now; what becomes ready meanwhile has its turn in the next call. Then reaps finished roots.
  void run_ready();
  void fire_due(TimePoint now);
  std::optional<TimePoint> next_deadline() const;
  bool has_ready() const { return first_ready_ != nullptr; }
  // Called when the earliest deadline has become earlier.
  virtual void deadline_moved() {}

 private:
  struct Root {
    std::optional<Task<>> task;
  };
  Task<> run_root(Task<> task, std::list<Root>::iterator self);
  void make_ready(Wait& wait);
  void forget_ready(Wait& wait);
  void add_timer(Wait& wait);
  void remove_timer(Wait& wait);
  void sift_up(std::size_t at);
  void sift_down(std::size_t at);

  // Linked through the waits themselves: a signal is raised without an allocation that could fail.
  Wait* first_ready_ = nullptr;
  Wait* last_ready_ = nullptr;
  std::size_t ready_count_ = 0;
  std::vector<Wait*> timers_;  // binary heap by deadline; each Wait knows its place
  std::list<Root> roots_;
  std::list<Root> finished_;
  std::vector<Scope*> scopes_;
  bool draining_ = false;
};

}  // namespace io
