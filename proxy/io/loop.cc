#include "proxy/io/loop.h"

#include <utility>

#include "proxy/io/wait.h"

namespace io {

Loop::~Loop() = default;

Task<> Loop::run_root(Task<> task, std::list<Root>::iterator self) {
  try {
    co_await task;
  } catch (...) {
    // Out of memory before the task could look after itself: its frames are gone, and so is what they held.
  }
  finished_.splice(finished_.end(), roots_, self);
}

void Loop::spawn(Task<> root) {
  const auto place = roots_.emplace(roots_.end());
  try {
    place->task.emplace(run_root(std::move(root), place));
  } catch (...) {
    roots_.erase(place);
    throw;
  }
  place->task->start();
}

void Loop::drain() {
  draining_ = true;
  for (Scope* scope : scopes_) scope->drained.raise();
}

void Loop::stop_all() {
  for (Scope* scope : scopes_) scope->request_stop(Stop::shutdown);
}

void Loop::make_ready(Wait& wait) {
  if (wait.ready_) return;
  wait.ready_ = true;
  wait.previous_ready_ = last_ready_;
  (last_ready_ != nullptr ? last_ready_->next_ready_ : first_ready_) = &wait;
  last_ready_ = &wait;
  ++ready_count_;
}

void Loop::forget_ready(Wait& wait) {
  (wait.previous_ready_ != nullptr ? wait.previous_ready_->next_ready_ : first_ready_) = wait.next_ready_;
  (wait.next_ready_ != nullptr ? wait.next_ready_->previous_ready_ : last_ready_) = wait.previous_ready_;
  wait.previous_ready_ = wait.next_ready_ = nullptr;
  wait.ready_ = false;
  --ready_count_;
}

void Loop::run_ready() {
  for (std::size_t left = ready_count_; left > 0 && first_ready_ != nullptr; --left) {
    Wait& wait = *first_ready_;
    const std::coroutine_handle<> waiter = wait.waiter_;
    wait.leave();
    waiter.resume();
  }
  finished_.clear();
}

void Loop::fire_due(TimePoint now) {
  while (!timers_.empty() && timers_.front()->until_ <= now) {
    Wait* wait = timers_.front();
    remove_timer(*wait);
    if (!wait->ready_) wait->woken_ = Woken::deadline;
    make_ready(*wait);
  }
}

std::optional<TimePoint> Loop::next_deadline() const {
  if (timers_.empty()) return std::nullopt;
  return timers_.front()->until_;
}

void Loop::add_timer(Wait& wait) {
  timers_.push_back(&wait);
  wait.timer_place_ = timers_.size() - 1;
  sift_up(wait.timer_place_);
  if (timers_.front() == &wait) deadline_moved();
}

void Loop::remove_timer(Wait& wait) {
  const std::size_t at = wait.timer_place_;
  wait.timer_place_ = Wait::nowhere;
  Wait* last = timers_.back();
  timers_.pop_back();
  if (last == &wait) return;
  timers_[at] = last;
  last->timer_place_ = at;
  sift_up(at);
  sift_down(last->timer_place_);
}

void Loop::sift_up(std::size_t at) {
  while (at > 0) {
    const std::size_t parent = (at - 1) / 2;
    if (timers_[parent]->until_ <= timers_[at]->until_) return;
    std::swap(timers_[parent], timers_[at]);
    timers_[parent]->timer_place_ = parent;
    timers_[at]->timer_place_ = at;
    at = parent;
  }
}

void Loop::sift_down(std::size_t at) {
  for (;;) {
    std::size_t least = at;
    for (std::size_t child = 2 * at + 1; child <= 2 * at + 2 && child < timers_.size(); ++child)
      if (timers_[child]->until_ < timers_[least]->until_) least = child;
    if (least == at) return;
    std::swap(timers_[least], timers_[at]);
    timers_[least]->timer_place_ = least;
    timers_[at]->timer_place_ = at;
    at = least;
  }
}

}  // namespace io
