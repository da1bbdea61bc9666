// Lets the n-th allocation inside a session fail. The allocator itself is replaced in out_of_memory_test.cc alone.
#pragma once

#include <cstddef>
#include <utility>

namespace playbook {

struct Starvation {
  static inline bool inside = false;       // the session runs, not the harness
  static inline std::size_t count = 0;     // allocations of the session so far
  static inline std::size_t fails_at = 0;  // 0 = none
  static inline bool failed = false;

  static void begin(std::size_t at) {
    count = 0;
    fails_at = at;
    failed = false;
  }
};

// While it lives, allocations are the session's, or, with false, the harness's.
class Inside {
 public:
  explicit Inside(bool inside) : before_(std::exchange(Starvation::inside, inside)) {}
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;
  ~Inside() { Starvation::inside = before_; }

 private:
  bool before_;
};

}  // namespace playbook
