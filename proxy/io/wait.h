// Wait: the one awaitable below every other. Scope: knows every Wait of one session. Signal: what a Wait waits for.
#pragma once

#include <array>
#include <coroutine>
#include <cstddef>
#include <vector>

#include "proxy/io/loop.h"

namespace io {

// An edge that at most one Wait waits for. Raising it without a waiter does nothing: whoever waits tries first.
class Signal {
 public:
  Signal() = default;
  Signal(const Signal&) = delete;
  Signal& operator=(const Signal&) = delete;
  ~Signal();
  void raise();
  // From now on raising this one raises `other` too (a stream over another stream); nullptr ends that. `other` must
  // outlive this or the next call, and must not come back to this one.
  void also_raise(Signal* other) { also_ = other; }

 private:
  friend class Wait;
  Wait* waiter_ = nullptr;
  Signal* also_ = nullptr;
};

enum class Stop { none, shutdown };
// Thrown by Wait alone when its scope was stopped, caught once per session.
struct Stopped {
  Stop why;
};

// All waits of one session, on one loop, in one thread.
class Scope {
 public:
  explicit Scope(Loop& owner);
  ~Scope();
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  void request_stop(Stop why);  // every present and future Wait throws Stopped
  bool draining() const { return loop.draining(); }
  TimePoint now() const { return loop.now(); }

  Loop& loop;
  Signal drained;  // raised when the loop begins to drain: idle sessions wait for it too

 private:
  friend class Wait;
  friend class Loop;
  Stop stop_ = Stop::none;
  std::size_t place_;  // in the loop's list
  std::vector<Wait*> waits_;
};

enum class Woken { signal, deadline };

// co_await Wait(scope, until, signal, ...) gives `signal` when one of them was raised, `deadline` when `until` has come.
// Spurious wake-ups are allowed: callers try again. Without signals it is a timer.
class Wait {
  static constexpr std::size_t most_signals = 4;

 public:
  template <class... Signals>
  Wait(Scope& scope, TimePoint until, Signals&... signals) : scope_(scope), until_(until), signals_{&signals...} {
    static_assert(sizeof...(signals) <= most_signals);
  }
  Wait(const Wait&) = delete;
  Wait& operator=(const Wait&) = delete;
  ~Wait() {
    if (waiter_) leave();
  }

  bool await_ready() const noexcept { return scope_.stop_ != Stop::none; }
  void await_suspend(std::coroutine_handle<> waiter);
  Woken await_resume();

 private:
  friend class Loop;
  friend class Scope;
  friend class Signal;
  friend class Yield;
  void leave();  // unregisters from signals, timer and scope
  static constexpr std::size_t nowhere = static_cast<std::size_t>(-1);

  Scope& scope_;
  TimePoint until_;
  std::array<Signal*, most_signals> signals_{};
  std::coroutine_handle<> waiter_;
  std::size_t timer_place_ = nowhere;
  Wait* next_ready_ = nullptr;  // in the loop's list, while ready_
  Wait* previous_ready_ = nullptr;
  bool ready_ = false;
  Woken woken_ = Woken::signal;
};

// co_await Yield(scope) lets everybody else have a turn first: for work that could go on for ever without waiting.
class Yield {
 public:
  explicit Yield(Scope& scope) : wait_(scope, never) {}
  bool await_ready() const noexcept { return wait_.await_ready(); }
  void await_suspend(std::coroutine_handle<> waiter) {
    wait_.await_suspend(waiter);
    wait_.scope_.loop.make_ready(wait_);
  }
  void await_resume() { wait_.await_resume(); }

 private:
  Wait wait_;
};

}  // namespace io
