// The content of DATA: the strict end CRLF.CRLF, dot-unstuffing, normal line ends, and the way back (RFC 5321 4.5.2).
//
// Only CRLF.CRLF ends DATA (and `.CRLF` right at the start). What comes out of the decoder is canonical (line_ends.h).
// Stuffing is done anew on the way out, after normalising (T:A1, A2). A dot is taken off only where a line begins by
// RFC 5321, that is behind CRLF: behind a bare LF it is content.
#pragma once

#include <string>
#include <string_view>

#include "protocol/line_ends.h"

namespace protocol {

class DotDecoder {
 public:
  using Counts = ContentCounts;
  // Consumes bytes from the front of `input` (advanced past them) and appends canonical, unstuffed content to `out`,
  // until the input ends or the end of data was seen. Returns true when the end of data was consumed; bytes behind it
  // stay in `input`. `out` may be cleared by the caller between calls.
  bool feed(std::string_view& input, std::string& out);
  const Counts& counts() const { return lines_.counts(); }
  bool finished() const { return at_ == At::end; }

 private:
  enum class At { lines, dot, dot_cr, end };
  void take_behind_dot(LineEnds::Input& input, std::string& out);
  LineEnds lines_;
  At at_ = At::lines;
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
