// Task: a lazy coroutine with one owner and one awaiter. Destroying a Task cancels whatever it was waiting for.
//
// Rules for g++ 12 (README, "Coroutines"; a style test greps for them): no `{` or `[` between co_await and its `;`, no
// co_await inside catch, no reference to a temporary into a Task that is stored, a root frame is never destroyed from
// inside itself.
#pragma once

#include <coroutine>
#include <exception>
#include <optional>
#include <utility>

#include "proxy/io/frame_pool.h"

namespace io {

template <class T>
struct Outcome {
  std::optional<T> value;
  void return_value(T result) { value.emplace(std::move(result)); }
  T take() { return std::move(*value); }
};
template <>
struct Outcome<void> {
  void return_void() {}
  void take() {}
};

template <class T = void>
class [[nodiscard]] Task {
 public:
  struct promise_type : Outcome<T> {
    std::coroutine_handle<> awaiter = std::noop_coroutine();
    std::exception_ptr error;

    static void* operator new(std::size_t size) { return FramePool::take(size); }
    static void operator delete(void* frame, std::size_t size) noexcept { FramePool::give(frame, size); }

    struct Finish {
      bool await_ready() noexcept { return false; }
      void await_resume() noexcept {}
      std::coroutine_handle<> await_suspend(std::coroutine_handle<promise_type> me) noexcept {
        return me.promise().awaiter;
      }
    };
    Task get_return_object() { return Task(std::coroutine_handle<promise_type>::from_promise(*this)); }
    std::suspend_always initial_suspend() noexcept { return {}; }
    Finish final_suspend() noexcept { return {}; }
    void unhandled_exception() { error = std::current_exception(); }
  };

  explicit Task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
  Task(Task&& other) noexcept : frame_(std::exchange(other.frame_, {})) {}
  Task& operator=(Task&& other) noexcept {
    if (this != &other) {
      if (frame_) frame_.destroy();
      frame_ = std::exchange(other.frame_, {});
    }
    return *this;
  }
  Task(const Task&) = delete;
  Task& operator=(const Task&) = delete;
  ~Task() {
    if (frame_) frame_.destroy();
  }

  void start() { frame_.resume(); }  // roots only; the Loop owns and reaps them
  bool done() const { return frame_.done(); }

  bool await_ready() const noexcept { return false; }
  // bool, not symmetric transfer: g++ makes no tail call below -O2 or under ASan, and a task that finishes at once
  // would grow the stack.
  bool await_suspend(std::coroutine_handle<> awaiter) {
    frame_.resume();
    if (frame_.done()) return false;
    frame_.promise().awaiter = awaiter;
    return true;
  }
  T await_resume() {
    if (frame_.promise().error) std::rethrow_exception(frame_.promise().error);
    return frame_.promise().take();
  }

 private:
  std::coroutine_handle<promise_type> frame_;
};

}  // namespace io
