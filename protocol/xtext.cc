#include "protocol/xtext.h"

#include <utility>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr bool is_xchar(char c) { return is_graphic(c) && c != '+' && c != '='; }

// The octet that "+XX" in front of `text` stands for.
std::optional<unsigned char> hexchar(std::string_view text) {
  if (text.size() < 3 || text.front() != '+' || !is_hex_digit(text[1]) || !is_hex_digit(text[2])) return std::nullopt;
  return static_cast<unsigned char>(hex_value(text[1]) * 16 + hex_value(text[2]));
}

}  // namespace

bool is_xtext(std::string_view text, bool utf8) {
  while (!text.empty()) {
    std::size_t length = 1;
    if (const std::optional<unsigned char> octet = hexchar(text)) {
      if (*octet < 0x20 || *octet == 0x7f) return false;
      length = 3;
    } else if (!is_xchar(text.front())) {
      length = utf8 ? utf8_non_ascii(text) : 0;
      if (length == 0) return false;
    }
    text.remove_prefix(length);
  }
  return true;
}

std::optional<std::string> decode_xtext(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::optional<unsigned char> octet = hexchar(text);
    if (!octet && !is_xchar(text.front()) && is_ascii_octet(text.front())) return std::nullopt;
    out.push_back(octet ? static_cast<char>(*octet) : text.front());
    text.remove_prefix(octet ? 3 : 1);
  }
  return is_printable(out) ? std::optional(std::move(out)) : std::nullopt;
}

std::string encode_xtext(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    if (is_xchar(c)) {
      out.push_back(c);
      continue;
    }
    const auto octet = static_cast<unsigned char>(c);
    out.append({'+', digits[octet >> 4], digits[octet & 0xf]});
  }
  return out;
}

}  // namespace protocol
