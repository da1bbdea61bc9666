#include "protocol/reply.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t max_wire_line = 512;  // octets with CRLF, RFC 5321 4.5.3.1.5

std::vector<std::string> split_lines(std::string_view text) {
  std::vector<std::string> lines;
  lines.reserve(1);  // nearly always
  while (true) {
    const std::size_t end = text.find('\n');
    lines.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos || end + 1 == text.size()) return lines;
    text.remove_prefix(end + 1);
  }
}

// `text` cut to `limit` octets, never inside a UTF-8 character.
std::string_view cut(std::string_view text, std::size_t limit) {
  if (text.size() <= limit) return text;
  while (limit > 0 && (static_cast<unsigned char>(text[limit]) & 0xc0) == 0x80) --limit;
  return text.substr(0, limit);
}

// Of a reply: 200..599
char* put(char* at, int code) {
  at[0] = static_cast<char>('0' + code / 100);
  at[1] = static_cast<char>('0' + code / 10 % 10);
  at[2] = static_cast<char>('0' + code % 10);
  return at + 3;
}

constexpr std::size_t code_octets = 20;  // three numbers of at most five digits

char* put_part(char* at, std::uint16_t part) {
  if (part >= 10) return std::to_chars(at, at + 5, part).ptr;
  *at = static_cast<char>('0' + part);
  return at + 1;
}

char* put(char* at, const EnhancedCode& code) {
  at = put_part(at, code.status_class);
  *at = '.';
  at = put_part(at + 1, code.subject);
  *at = '.';
  return put_part(at + 1, code.detail);
}

}  // namespace

std::string format(const EnhancedCode& code) {
  char text[code_octets];
  return std::string(text, put(text, code));
}

std::optional<EnhancedCode> parse_enhanced_code(std::string_view text) {
  unsigned parts[3] = {};
  unsigned part = 0;
  unsigned digits = 0;
  for (const char c : text) {
    if (is_digit(c) && digits < 3 && (digits == 0 || parts[part] != 0)) {  // RFC 3463 2: no leading zeros
      parts[part] = parts[part] * 10 + static_cast<unsigned>(c - '0');
      ++digits;
    } else if (c == '.' && digits > 0 && part < 2) {
      ++part;
      digits = 0;
    } else {
      return std::nullopt;
    }
  }
  if (part != 2 || digits == 0) return std::nullopt;
  if (parts[0] != 2 && parts[0] != 4 && parts[0] != 5) return std::nullopt;
  return EnhancedCode{static_cast<std::uint16_t>(parts[0]), static_cast<std::uint16_t>(parts[1]),
                      static_cast<std::uint16_t>(parts[2])};
}

std::string sanitised(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const char c = text.front();
    if (const std::size_t length = utf8_non_ascii(text); length > 0) {
      out.append(text.substr(0, length));
      text.remove_prefix(length);
      continue;
    }
    out.push_back(is_graphic(c) || is_wsp(c) ? c : '?');
    text.remove_prefix(1);
  }
  return out;
}

Reply::Reply(int code, std::optional<EnhancedCode> enhanced, std::string_view text)
    : Reply(code, enhanced, split_lines(text)) {}

Reply::Reply(int code, std::optional<EnhancedCode> enhanced, std::vector<std::string> lines)
    : code_(code), enhanced_(enhanced), lines_(std::move(lines)) {
  if (code < 200 || code > 599) throw std::invalid_argument("reply code out of range");
  if (enhanced_ &&
      (enhanced_->status_class != code / 100 || code / 100 == 3 || enhanced_->subject > 999 || enhanced_->detail > 999))
    enhanced_.reset();
  if (lines_.empty()) lines_.emplace_back();
  for (std::string& line : lines_)
    if (!is_plain_ascii(line)) line = sanitised(line);
}

void append_wire(std::string& out, const Reply& reply, bool with_enhanced) {
  const bool coded = with_enhanced && reply.enhanced();
  char head[5 + code_octets];  // of each line: `250-2.0.0 `
  char* const separator = put(head, reply.code());
  char* head_end = separator + 1;
  if (coded) head_end = put(head_end, *reply.enhanced()), *head_end++ = ' ';
  const auto head_octets = static_cast<std::size_t>(head_end - head);
  const std::size_t longest = reply.code() == 334 ? 4 + max_auth_line : max_wire_line - 2;
  const std::size_t begin = out.size();
  std::size_t most = begin;
  for (const std::string& line : reply.lines()) most += head_octets + line.size() + 2;
  out.resize_and_overwrite(most, [&](char* to, std::size_t) {
    char* at = to + begin;
    for (const std::string& line : reply.lines()) {
      *separator = &line == &reply.lines().back() ? ' ' : '-';
      const std::string_view text = cut(line, longest - head_octets);
      at += std::string_view(head, head_octets).copy(at, coded && line.empty() ? head_octets - 1 : head_octets);
      at = std::copy(text.begin(), text.end(), at);
      *at++ = '\r', *at++ = '\n';
    }
    return static_cast<std::size_t>(at - to);
  });
}

std::string to_wire(const Reply& reply) {
  std::string out;
  append_wire(out, reply);
  return out;
}

std::string to_text(const Reply& reply) {
  char head[5 + code_octets];
  char* end = put(head, reply.code());
  if (reply.enhanced()) *end++ = ' ', end = put(end, *reply.enhanced());
  std::string out;
  out.reserve(sizeof head + reply.lines().front().size());
  out.assign(head, end);
  const char* separator = " ";
  for (const std::string& line : reply.lines()) {
    if (line.empty() && reply.lines().size() == 1) break;
    out.append(separator).append(line);
    separator = " / ";
  }
  return out;
}

namespace reply {

Reply make(int code, std::string_view enhanced, std::string_view text) {
  if (enhanced.empty()) return Reply(code, std::nullopt, text);
  const std::optional<EnhancedCode> parsed = parse_enhanced_code(enhanced);
  if (!parsed) throw std::invalid_argument("not an enhanced status code");
  return Reply(code, parsed, text);
}
Reply ok() { return make(250, "2.0.0", "Ok"); }
Reply bad_sequence(std::string_view text) { return make(503, "5.5.1", text); }
Reply syntax_error(std::string_view text) { return make(501, "5.5.4", text); }
Reply unknown_command() { return make(500, "5.5.2", "Command not recognized"); }

}  // namespace reply
}  // namespace protocol
