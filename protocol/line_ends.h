// Canonical line ends: every line of what comes out ends in CRLF, and there is no lone CR or LF. A bare LF becomes
// CRLF, a bare CR a space; both are counted, so that a caller may refuse the message after its true end instead.
// Content that is canonical already comes out as it went in. What DATA (dot_stuffing.h) and BDAT (chunking.h) have in
// common.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace protocol {

struct ContentCounts {
  std::uint64_t octets = 0;  // given out so far
  std::uint64_t bare_lf = 0;
  std::uint64_t bare_cr = 0;
  std::uint64_t nul = 0;
  // Canonical lines that begin with a dot. 0 = the content is its own wire form, but for the end: send it as it is.
  std::uint64_t dot_lines = 0;
  std::uint64_t longest_line = 0;  // octets without CRLF
  bool operator==(const ContentCounts&) const = default;
};

class LineEnds {
 public:
  // Input on its way through: what is left of it, and where its next LF is.
  struct Input {
    explicit Input(std::string_view text) : begin(text.data()), at(begin), end(begin + text.size()) { find_lf(); }
    const char* next_lf() {  // at or behind `at`, or `end`
      if (lf_ < at) find_lf();
      return lf_;
    }
    const char* const begin;
    const char* at;
    const char* const end;

   private:
    void find_lf();
    // Kept between calls: input full of lone CRs must not be searched to its end for each of them.
    const char* lf_ = nullptr;
  };
  // What a dot is that begins a line, which is behind CRLF alone: octets of the content, or to be decided by the
  // caller.
  enum class LeadingDot { content, stops };

  // Appends to `out` until the input ends, or stands in front of a dot that stops it.
  void take(Input& input, std::string& out, LeadingDot dot);
  // For callers that take octets of the input themselves: the next octet is in the midst of a line; a CR that was taken
  // is not followed by LF.
  void enter_line() { at_ = At::text; }
  void bare_cr_becomes_space(std::string& out);
  // Once behind every round of take(): brings the counts up to date. `added`: octets appended to `out`.
  void account(const Input& input, std::size_t added);
  // At the end of content that has no end of data of its own: a last line without CRLF gets it.
  void finish(std::string& out);
  const ContentCounts& counts() const { return counts_; }

 private:
  enum class At { line_start, text, cr };
  void take_lines(Input& input, std::string& out, LeadingDot dot);
  void take_odd_octet(Input& input, std::string& out);
  void end_line(std::string& out);
  At at_ = At::line_start;
  ContentCounts counts_;
  std::uint64_t line_length_ = 0;
};

}  // namespace protocol
