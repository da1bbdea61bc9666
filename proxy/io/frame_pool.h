// Coroutine frames come and go by the dozen per command: each thread keeps the last few of each size for itself.
// Under a sanitizer every frame is its own allocation, so that its mistakes are seen.
#pragma once

#include <array>
#include <cstddef>
#include <new>

namespace io {

class FramePool {
 public:
  static void* take(std::size_t size) {
#if !defined(__SANITIZE_ADDRESS__)
    if (size <= largest) {
      Shelf& shelf = shelves()[place_of(size)];
      if (Spare* spare = shelf.first) {
        shelf.first = spare->next;
        --shelf.count;
        return spare;
      }
      return ::operator new((place_of(size) + 1) * step);
    }
#endif
    return ::operator new(size);
  }
  static void give(void* frame, [[maybe_unused]] std::size_t size) noexcept {
#if !defined(__SANITIZE_ADDRESS__)
    if (size <= largest) {
      Shelf& shelf = shelves()[place_of(size)];
      if (shelf.count < most_spares) {
        shelf.first = new (frame) Spare{shelf.first};
        ++shelf.count;
        return;
      }
    }
#endif
    ::operator delete(frame);
  }

 private:
  struct Spare {
    Spare* next;
  };
  struct Shelf {
    Spare* first = nullptr;
    std::size_t count = 0;
    ~Shelf() {
      while (first != nullptr) {
        Spare* spare = first;
        first = spare->next;
        ::operator delete(spare);
      }
    }
  };
  static constexpr std::size_t step = 64;         // octets between two sizes
  static constexpr std::size_t largest = 2048;    // octets of a frame that is kept
  static constexpr std::size_t most_spares = 16;  // of one size
  static std::size_t place_of(std::size_t size) { return (size + step - 1) / step - 1; }
  static std::array<Shelf, largest / step>& shelves() {
    static thread_local std::array<Shelf, largest / step> all;
    return all;
  }
};

}  // namespace io
