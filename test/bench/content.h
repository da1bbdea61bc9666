// The messages of the benchmarks: the same ones for the load generator and for the bare scan loop.
// Canonical (CRLF line ends, nothing to dot-stuff unless it comes from a corpus), different for every index, the same
// for the same (seed, index, size).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

inline constexpr std::size_t smallest_content = 512;  // octets; room for the header section

// Every regular file of a directory in name order, bare CR and bare LF made CRLF, a missing last CRLF added.
// Throws std::runtime_error when there is none or one cannot be read.
std::vector<std::string> load_corpus(const std::string& directory);

// Leading dots doubled (RFC 5321 section 4.5.2).
std::string dot_stuffed(std::string_view content);

// One message, made piece by piece so that 25 MB need no 25 MB.
class ContentStream {
 public:
  ContentStream() = default;
  // Generated: header section and 76-column lines of pseudo-random letters, `size` octets in all (>= smallest_content).
  ContentStream(std::uint64_t seed, std::uint64_t index, std::size_t size);
  // From a corpus; the text must outlive the stream.
  explicit ContentStream(std::string_view text) : text_(text), left_(text.size()) {}

  // Appends whole lines (corpus: any cut) until about `wanted` octets were added or the content ends.
  void append_to(std::string& out, std::size_t wanted);
  bool ended() const { return left_ == 0; }
  std::size_t left() const { return left_; }

 private:
  void append_line(std::string& out);
  std::uint64_t next_random();

  std::string_view text_;
  std::string header_;
  std::size_t left_ = 0;
  std::uint64_t random_ = 0;
};

}  // namespace bench
