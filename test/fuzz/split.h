// What the fuzz targets share: the same input in different pieces, and a check that stops the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

// A property of the codec under test; a breach is a finding.
#define PROPERTY(condition)                                                                 \
  do {                                                                                      \
    if (!(condition)) {                                                                     \
      std::fprintf(stderr, "%s:%d: property broken: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                         \
    }                                                                                       \
  } while (false)

namespace fuzz {

inline std::string_view text_of(const std::uint8_t* octets, std::size_t size) {
  return {reinterpret_cast<const char*>(octets), size};
}

// Gives the input in pieces of 1..`most` octets, their lengths drawn from a small generator.
class Pieces {
 public:
  Pieces(std::string_view input, std::size_t most)
      : rest_(input), most_(most), state_(input.size() * 2654435761U + 1) {}
  bool empty() const { return rest_.empty(); }
  std::string_view next() {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    const std::string_view piece = rest_.substr(0, 1 + (state_ >> 33) % most_);
    rest_.remove_prefix(piece.size());
    return piece;
  }

 private:
  std::string_view rest_;
  std::uint64_t most_;
  std::uint64_t state_;
};

// Piece lengths worth trying: byte by byte, a few octets, a few lines, whole.
inline constexpr std::size_t piece_lengths[] = {1, 3, 17, 200};

}  // namespace fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size);
