// An SMTP reply as a value: the same type for replies that we write and replies that we read.
//
// Shape: reply code (RFC 5321 4.2), optional enhanced status code (RFC 3463, RFC 2034), one or more text lines without
// CR, LF or the codes themselves. A Reply never holds bytes that would break a line or steer a terminal: its
// constructors pass every line through sanitised() (T:B9).
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace protocol {

// RFC 3463: class.subject.detail, each subject and detail 0..999.
struct EnhancedCode {
  std::uint16_t status_class = 2;
  std::uint16_t subject = 0;
  std::uint16_t detail = 0;
  bool operator==(const EnhancedCode&) const = default;
};
std::string format(const EnhancedCode& code);  // "2.1.5"
// Nothing unless `text` is class 2, 4 or 5, subject and detail without leading zeros, and nothing else.
std::optional<EnhancedCode> parse_enhanced_code(std::string_view text);

// Control characters (C1 included, TAB excepted: RFC 5321 textstring has it) and octets that are not UTF-8 become '?'.
std::string sanitised(std::string_view text);

class Reply {
 public:
  // `text` may hold '\n' between lines; one at its end is ignored. Throws std::invalid_argument unless code is
  // 200..599. An enhanced code whose class is not the code's first digit, and any with 3yz, is left out (RFC 2034
  // section 3).
  Reply(int code, std::optional<EnhancedCode> enhanced, std::string_view text);
  Reply(int code, std::optional<EnhancedCode> enhanced, std::vector<std::string> lines);

  int code() const { return code_; }
  const std::optional<EnhancedCode>& enhanced() const { return enhanced_; }
  const std::vector<std::string>& lines() const { return lines_; }

  bool positive() const { return code_ / 100 == 2; }      // 2yz
  bool intermediate() const { return code_ / 100 == 3; }  // 3yz
  bool transient() const { return code_ / 100 == 4; }     // 4yz
  bool permanent() const { return code_ / 100 == 5; }     // 5yz

  bool operator==(const Reply&) const = default;

 private:
  int code_;
  std::optional<EnhancedCode> enhanced_;
  std::vector<std::string> lines_;  // never empty, sanitised
};

// Octets of base64 in a line of an AUTH exchange, whichever side sends it (RFC 4954 section 4).
inline constexpr std::size_t max_auth_line = 12288;

// CRLF-terminated wire form appended to `out`; each line at most 512 octets (RFC 5321 4.5.3.1.5), longer text is cut;
// but 334 may hold max_auth_line octets of text.
// `with_enhanced` false leaves the enhanced code out (greeting, EHLO, HELO and 3yz never carry one, RFC 2034 3).
void append_wire(std::string& out, const Reply& reply, bool with_enhanced = true);
std::string to_wire(const Reply& reply);
// One line for logs: `250 2.0.0 Ok: queued as 4Xyz`; lines joined by " / ".
std::string to_text(const Reply& reply);

// Common replies of our own. One owning factory each (no aggregates in co_return statements).
namespace reply {
// make(550, "5.7.1", "..."); an empty `enhanced` means none. Throws std::invalid_argument where it is malformed.
Reply make(int code, std::string_view enhanced, std::string_view text);
Reply ok();                                 // 250 2.0.0 Ok
Reply bad_sequence(std::string_view text);  // 503 5.5.1
Reply syntax_error(std::string_view text);  // 501 5.5.4
Reply unknown_command();                    // 500 5.5.2
}  // namespace reply

// Why a byte stream is not an SMTP reply; the connection that sent it cannot be trusted any more.
enum class ReplyError { bad_code, bad_separator, code_changed, line_too_long, too_many_lines, bare_cr, bare_lf, nul };
std::string_view to_string(ReplyError error);

// Incremental reader of replies (RFC 5321 4.2.1). Bounded: lines of at most 2048 octets (334: max_auth_line of text),
// at most 256 lines. Fed whole, byte by byte or with trailing bytes it gives the same values. The enhanced code is
// taken off the text only where every line carries the same one and its class is the reply code's first digit; else the
// text stays as it was.
class ReplyParser {
 public:
  // Takes bytes from the front of `input` (which is advanced past them) until one reply is complete or the input ends.
  // Returns a reply, nothing yet, or the error after which this parser stays broken.
  std::expected<std::optional<Reply>, ReplyError> feed(std::string_view& input);
  bool in_progress() const;  // part of a reply has been taken

 private:
  std::expected<bool, ReplyError> take_some(std::string_view& input);
  std::expected<bool, ReplyError> take_line(std::string_view line);
  std::string line_;
  std::vector<std::string> lines_;
  int code_ = 0;
  bool saw_cr_ = false;
  std::optional<ReplyError> broken_;
};

}  // namespace protocol
