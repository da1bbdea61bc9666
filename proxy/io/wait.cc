#include "proxy/io/wait.h"

#include <algorithm>
#include <stdexcept>

namespace io {

Signal::~Signal() {
  // Whoever waits for a signal that disappears is woken rather than left to its deadline.
  if (waiter_ != nullptr) {
    Wait* wait = waiter_;
    for (Signal*& signal : wait->signals_)
      if (signal == this) signal = nullptr;
    wait->scope_.loop.make_ready(*wait);
  }
}

void Signal::raise() {
  if (waiter_ != nullptr) waiter_->scope_.loop.make_ready(*waiter_);
  if (also_ != nullptr) also_->raise();
}

Scope::Scope(Loop& owner) : loop(owner), place_(owner.scopes_.size()) { owner.scopes_.push_back(this); }

Scope::~Scope() {
  loop.scopes_[place_] = loop.scopes_.back();
  loop.scopes_[place_]->place_ = place_;
  loop.scopes_.pop_back();
}

void Scope::request_stop(Stop why) {
  stop_ = why;
  for (Wait* wait : waits_) loop.make_ready(*wait);
}

void Wait::await_suspend(std::coroutine_handle<> waiter) {
  for (const Signal* signal : signals_)
    if (signal != nullptr && signal->waiter_ != nullptr) throw std::logic_error("two waits for one signal");
  // What can fail comes first: an exception here is the coroutine's, and nothing may be left behind.
  scope_.waits_.push_back(this);
  try {
    if (until_ != never) scope_.loop.add_timer(*this);
  } catch (...) {
    scope_.waits_.pop_back();
    throw;
  }
  waiter_ = waiter;
  woken_ = Woken::signal;
  for (Signal* signal : signals_)
    if (signal != nullptr) signal->waiter_ = this;
}

Woken Wait::await_resume() {
  if (scope_.stop_ != Stop::none) throw Stopped{scope_.stop_};
  return woken_;
}

void Wait::leave() {
  for (Signal* signal : signals_)
    if (signal != nullptr) signal->waiter_ = nullptr;
  if (timer_place_ != nowhere) scope_.loop.remove_timer(*this);
  if (ready_) scope_.loop.forget_ready(*this);
  const auto place = std::find(scope_.waits_.rbegin(), scope_.waits_.rend(), this);
  if (place != scope_.waits_.rend()) scope_.waits_.erase(std::next(place).base());
  waiter_ = {};
}

}  // namespace io
