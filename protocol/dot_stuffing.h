// The content of DATA: the strict end CRLF.CRLF, dot-unstuffing, normal line ends, and the way back (RFC 5321 4.5.2).
//
// Only CRLF.CRLF ends DATA (and `.CRLF` right at the start). What comes out of the decoder is canonical: every line
// ends in CRLF, no lone CR or LF. A bare LF becomes CRLF, a bare CR a space; both are counted so that a caller may
// refuse the message after its true end instead. Stuffing is done anew on the way out, after normalising (T:A1, A2). A
// dot is taken off only where a line begins by RFC 5321, that is behind CRLF: behind a bare LF it is content.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace protocol {

class DotDecoder {
 public:
  struct Counts {
    std::uint64_t octets = 0;  // canonical octets given out so far
    std::uint64_t bare_lf = 0;
    std::uint64_t bare_cr = 0;
    std::uint64_t nul = 0;
    // Canonical lines that begin with a dot. 0 = the content is its own wire form, but for the end: send it as it is.
    std::uint64_t dot_lines = 0;
    std::uint64_t longest_line = 0;  // octets without CRLF
  };
  // Consumes bytes from the front of `input` (advanced past them) and appends canonical, unstuffed content to `out`,
  // until the input ends or the end of data was seen. Returns true when the end of data was consumed; bytes behind it
  // stay in `input`. `out` may be cleared by the caller between calls.
  bool feed(std::string_view& input, std::string& out);
  const Counts& counts() const { return counts_; }
  bool finished() const { return finished_; }

 private:
  enum class At { line_start, dot, dot_cr, text, cr };
  struct Input;
  void take_lines(Input& input, std::string& out);
  void take_odd_octet(Input& input, std::string& out);
  void end_line(std::string& out);
  void bare_cr_becomes_space(std::string& out);
  At at_ = At::line_start;
  Counts counts_;
  std::uint64_t line_length_ = 0;
  bool finished_ = false;
};

// Canonical content -> wire form. Feed any split of the content, then finish(); afterwards it is ready for the next.
class DotEncoder {
 public:
  void feed(std::string_view content, std::string& out);
  // A missing last CRLF gets exactly one, then ".\r\n". Empty content gives ".\r\n".
  void finish(std::string& out);

 private:
  bool line_start_ = true;
  bool saw_cr_ = false;
};

}  // namespace protocol
