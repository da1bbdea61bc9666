// Those who wait for one and the same thing: a Signal has one waiter, this any number.
#pragma once

#include "proxy/io/wait.h"

namespace io {

class Waiters {
 public:
  Waiters() = default;
  Waiters(const Waiters&) = delete;
  Waiters& operator=(const Waiters&) = delete;
  bool empty() const { return first_ == nullptr; }
  void wake_all();

 private:
  friend class Waiter;
  class Waiter* first_ = nullptr;
};

// One of them, as long as it lives; the Waiters must outlive it.
class Waiter {
 public:
  explicit Waiter(Waiters& all) : all_(all), next_(all.first_) {
    if (next_ != nullptr) next_->previous_ = this;
    all.first_ = this;
  }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;
  ~Waiter() {
    (previous_ != nullptr ? previous_->next_ : all_.first_) = next_;
    if (next_ != nullptr) next_->previous_ = previous_;
  }
  Signal woken;

 private:
  friend class Waiters;
  Waiters& all_;
  Waiter* previous_ = nullptr;
  Waiter* next_;
};

inline void Waiters::wake_all() {
  for (Waiter* each = first_; each != nullptr; each = each->next_) each->woken.raise();
}

}  // namespace io
