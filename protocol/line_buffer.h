// Bytes -> command lines. A line longer than `limit` is reported once, as soon as that is certain, and skipped up to
// its end; so next() is called until it gives nothing before more is appended, and memory stays at one read's worth
// (T:A7). Any split of the bytes gives the same lines. Holds no memory while it is empty.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace protocol {

struct Line {
  std::string text;       // without the line end
  bool bare_lf = false;   // ended by LF alone (not said of a line that is too long)
  bool bare_cr = false;   // holds a CR that is not followed by LF
  bool nul = false;       // holds a NUL
  bool too_long = false;  // text is its first `limit` octets; the flags above speak of these alone
};

class LineBuffer {
 public:
  explicit LineBuffer(std::size_t limit = 4096) : limit_(limit) {}  // octets of a line without its CRLF
  // From the next line on: AUTH and its exchange have longer lines than other commands (max_auth_line in reply.h).
  void set_limit(std::size_t limit) { limit_ = limit; }
  void append(std::string_view bytes);
  std::optional<Line> next();  // the next complete line, in order
  // next() would give a line. Asked most often of a buffer that is empty.
  bool has_line() const { return !bytes_.empty() && (find_lf() != std::string::npos || overflows()); }
  bool empty() const { return bytes_.empty() && !skipping_; }
  std::size_t capacity() const { return bytes_.capacity(); }  // octets of memory held; a std::string's own at least
  // Takes all unread bytes out (used where a command must be the last of its group, and at DATA).
  std::string take_rest();
  // Unread bytes that are no lines: the octets of a chunk behind its BDAT. The view holds until the next other call.
  std::string_view unread() const { return std::string_view(bytes_).substr(begin_); }
  void skip(std::size_t count);  // of these, from the front

 private:
  std::size_t find_lf() const { return bytes_.find('\n', scanned_); }
  bool overflows() const;
  void release();
  std::size_t limit_;
  std::string bytes_;
  std::size_t begin_ = 0;    // first unread byte of bytes_
  std::size_t scanned_ = 0;  // no LF in bytes_[begin_, scanned_)
  bool skipping_ = false;    // inside a line that is already too long
};

}  // namespace protocol
