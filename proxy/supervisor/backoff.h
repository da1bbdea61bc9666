// How long to wait before a child that died is started again.
#pragma once

#include <algorithm>
#include <chrono>

namespace supervisor {

class Backoff {
 public:
  using milliseconds = std::chrono::milliseconds;
  static constexpr milliseconds first{100}, longest{30'000}, good_life{60'000};

  // After a life of `lived`: 0.1 s, doubled each time up to 30 s; a child that lived for a minute starts anew.
  milliseconds after(milliseconds lived) {
    if (lived >= good_life) next_ = first;
    const milliseconds now = next_;
    next_ = std::min(next_ * 2, longest);
    return now;
  }

 private:
  milliseconds next_ = first;
};

}  // namespace supervisor
