#include "config/cursor.h"

#include <fmt/format.h>

#include <algorithm>

namespace config {
namespace {

bool one_of(char c, std::string_view set) { return set.find(c) != std::string_view::npos; }

// Octets of the UTF-8 sequence at the front (RFC 3629: no surrogates, nothing overlong, up to U+10FFFF); 0 = invalid.
std::size_t utf8_sequence(std::string_view text) {
  const auto octet = [&](std::size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U; };
  const unsigned first = octet(0);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xC2 && first <= 0xDF ? 2 : (first & 0xF0U) == 0xE0 ? 3 : first <= 0xF4 ? 4 : 0;
  if (first < 0xC2 || size == 0) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((octet(i) & 0xC0U) != 0x80U) return 0;
  const bool overlong = (first == 0xE0 && octet(1) < 0xA0) || (first == 0xF0 && octet(1) < 0x90);
  const bool outside = (first == 0xED && octet(1) > 0x9F) || (first == 0xF4 && octet(1) > 0x8F);
  return overlong || outside ? 0 : size;
}

}  // namespace

Cursor::Cursor(std::string_view text, std::uint32_t file) : text_(text), file_(file) {
  if (text.starts_with("\xEF\xBB\xBF")) line_start_ = offset_ = 3;
}

Place Cursor::next() {
  skip_blank();
  if (!separated_ && offset_ < text_.size() && one_of(text_[offset_], ",:")) {
    separated_ = true;
    ++offset_;
    skip_blank();
  }
  return here();
}

Place Cursor::take() {
  const Place place = next();
  separated_ = false;
  token_start_ = offset_;
  if (offset_ == text_.size()) return place;
  if (text_[offset_] == '"') skip_string();
  else if (one_of(text_[offset_], "{}[]")) ++offset_;
  else if (one_of(text_[offset_], "-0123456789")) skip_number();
  else skip_all("abcdefghijklmnopqrstuvwxyz");  // true, false, null
  return place;
}

Place Cursor::at(std::size_t offset) {
  go(offset);
  return here();
}

Place Cursor::here() const {
  return {file_, static_cast<std::uint32_t>(line_), static_cast<std::uint32_t>(offset_ - line_start_ + 1)};
}

void Cursor::go(std::size_t offset) {
  for (; offset_ < offset; ++offset_)
    if (text_[offset_] == '\n') {
      ++line_;
      line_start_ = offset_ + 1;
    }
}

void Cursor::skip_blank() {
  while (offset_ < text_.size()) {
    if (one_of(text_[offset_], " \t\r\n")) {
      go(offset_ + 1);
    } else if (text_.substr(offset_, 2) == "//") {
      go(std::min(text_.find_first_of("\r\n", offset_), text_.size()));
    } else if (text_.substr(offset_, 2) == "/*") {
      const std::size_t end = text_.find("*/", offset_ + 2);
      if (end == std::string_view::npos) return;
      go(end + 2);
    } else {
      return;
    }
  }
}

void Cursor::skip_string() {
  for (++offset_; offset_ < text_.size() && text_[offset_] != '"'; ++offset_)
    if (text_[offset_] == '\\') ++offset_;
  offset_ = std::min(offset_ + 1, text_.size());
}

void Cursor::skip_all(std::string_view set) { offset_ = std::min(text_.find_first_not_of(set, offset_), text_.size()); }

// As the grammar has it (RFC 8259 section 6): the lexer takes "01" and "1-2" for two tokens each.
void Cursor::skip_number() {
  constexpr std::string_view digits = "0123456789";
  const auto skip_one = [&](std::string_view set) {
    const bool found = offset_ < text_.size() && one_of(text_[offset_], set);
    if (found) ++offset_;
    return found;
  };
  skip_one("-");
  if (!skip_one("0")) skip_all(digits);
  if (skip_one(".")) skip_all(digits);
  if (skip_one("eE")) {
    skip_one("+-");
    skip_all(digits);
  }
}

std::optional<BadOctet> find_bad_octet(std::string_view text, std::uint32_t file) {
  std::size_t size = 0;
  for (std::size_t i = 0; i < text.size(); i += size) {
    const auto octet = static_cast<unsigned char>(text[i]);
    size = utf8_sequence(text.substr(i));
    const bool control = octet < 0x20 && !one_of(text[i], "\t\r\n");
    if (size != 0 && !control) continue;
    const Place place = Cursor(text, file).at(i);
    if (size == 0) return BadOctet{place, fmt::format("invalid UTF-8 (octet 0x{:02X})", octet)};
    return BadOctet{place, fmt::format("control character U+{:04X}", octet)};
  }
  return std::nullopt;
}

}  // namespace config
