#include "protocol/characters.h"
#include "protocol/reply.h"

#include <algorithm>
#include <utility>

namespace protocol {
namespace {

constexpr std::size_t max_line = 2048;  // octets without CRLF
constexpr std::size_t max_lines = 256;
constexpr std::string_view challenge = "334 ";  // of AUTH

// The enhanced code in front of a line, ended by a space or the end of the line.
std::optional<EnhancedCode> leading_code(std::string_view line) {
  return parse_enhanced_code(line.substr(0, line.find(' ')));
}

// The code that every line carries, if it agrees with the reply code (RFC 2034 section 3); then taken off the lines.
std::optional<EnhancedCode> strip_enhanced_code(int code, std::vector<std::string>& lines) {
  const std::optional<EnhancedCode> first = leading_code(lines.front());
  if (!first || first->status_class != code / 100) return std::nullopt;
  if (!std::all_of(lines.begin() + 1, lines.end(),
                   [&](const std::string& line) { return leading_code(line) == first; }))
    return std::nullopt;
  const std::size_t length = std::min(lines.front().find(' '), lines.front().size());
  for (std::string& line : lines) line.erase(0, length + 1);
  return first;
}

// Each search ends where the one before it did: CR ends nearly every line, and the others end the parser.
std::string_view text_before_odd_octet(std::string_view input) {
  for (const char odd : {'\r', '\n', '\0'}) input = input.substr(0, input.find(odd));
  return input;
}

// Reply-code of RFC 5321 4.2, 200..599; the second digit is not held to 0..5.
std::optional<int> reply_code(std::string_view line) {
  if (line.size() < 3 || line[0] < '2' || line[0] > '5' || !is_digit(line[1]) || !is_digit(line[2]))
    return std::nullopt;
  return (line[0] - '0') * 100 + (line[1] - '0') * 10 + (line[2] - '0');
}

}  // namespace

std::string_view to_string(ReplyError error) {
  switch (error) {
    case ReplyError::bad_code:
      return "not a reply code";
    case ReplyError::bad_separator:
      return "neither space nor hyphen after the reply code";
    case ReplyError::code_changed:
      return "reply code changed within a reply";
    case ReplyError::line_too_long:
      return "reply line too long";
    case ReplyError::too_many_lines:
      return "too many reply lines";
    case ReplyError::bare_cr:
      return "CR without LF in a reply";
    case ReplyError::bare_lf:
      return "LF without CR in a reply";
    case ReplyError::nul:
      return "NUL in a reply";
  }
  return "";
}

bool ReplyParser::in_progress() const { return !broken_ && (!lines_.empty() || !line_.empty() || saw_cr_); }

// A complete line. True: it was the last of its reply.
std::expected<bool, ReplyError> ReplyParser::take_line(std::string_view line) {
  const std::optional<int> code = reply_code(line);
  if (!code) return std::unexpected(ReplyError::bad_code);
  const bool bare = line.size() == 3;  // "250" alone ends a reply (RFC 5321 4.2)
  if (!bare && line[3] != ' ' && line[3] != '-') return std::unexpected(ReplyError::bad_separator);
  if (!lines_.empty() && *code != code_) return std::unexpected(ReplyError::code_changed);
  if (lines_.size() == max_lines) return std::unexpected(ReplyError::too_many_lines);
  code_ = *code;
  if (lines_.empty()) lines_.reserve(1);  // nearly always
  lines_.emplace_back(line.substr(bare ? 3 : 4));
  return bare || line[3] == ' ';
}

// Takes one octet that is not ordinary text, or the run of text before the next such octet. True: a reply is complete.
std::expected<bool, ReplyError> ReplyParser::take_some(std::string_view& input) {
  const char c = input.front();
  if (c == '\0') return std::unexpected(ReplyError::nul);
  if (saw_cr_ != (c == '\n')) return std::unexpected(saw_cr_ ? ReplyError::bare_cr : ReplyError::bare_lf);
  if (c == '\n' || c == '\r') {
    input.remove_prefix(1);
    saw_cr_ = c == '\r';
    return c == '\n' ? take_line(std::exchange(line_, {})) : false;
  }
  const std::string_view run = text_before_odd_octet(input);
  if (const std::size_t length = line_.size() + run.size(); length > max_line) {
    const bool exchange = line_.substr(0, 4).append(run.substr(0, 4)).starts_with(challenge);
    if (!exchange || length > challenge.size() + max_auth_line) return std::unexpected(ReplyError::line_too_long);
  }
  const bool whole = line_.empty() && input.substr(run.size()).starts_with("\r\n");  // nearly always
  if (!whole) line_.append(run);
  input.remove_prefix(run.size() + (whole ? 2 : 0));
  return whole ? take_line(run) : false;
}

std::expected<std::optional<Reply>, ReplyError> ReplyParser::feed(std::string_view& input) {
  if (broken_) return std::unexpected(*broken_);
  while (!input.empty()) {
    const std::expected<bool, ReplyError> complete = take_some(input);
    if (!complete) {
      broken_ = complete.error();
      return std::unexpected(*broken_);
    }
    if (!*complete) continue;
    line_ = std::string();  // idle parsers hold no memory
    const std::optional<EnhancedCode> enhanced = strip_enhanced_code(code_, lines_);
    return std::expected<std::optional<Reply>, ReplyError>(std::in_place, std::in_place, code_, enhanced,
                                                           std::exchange(lines_, {}));
  }
  return std::optional<Reply>();
}

}  // namespace protocol
