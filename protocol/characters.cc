#include "protocol/characters.h"

#include <algorithm>

namespace protocol {

bool equals_nocase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return to_lower(x) == to_lower(y); });
}

bool starts_with_nocase(std::string_view text, std::string_view prefix) {
  return equals_nocase(text.substr(0, prefix.size()), prefix);
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_upper);
  return out;
}

bool is_ascii(std::string_view text) { return std::all_of(text.begin(), text.end(), is_ascii_octet); }

std::size_t utf8_non_ascii(std::string_view text) {
  const auto octet = [&](std::size_t i) { return static_cast<unsigned>(static_cast<unsigned char>(text[i])); };
  if (text.empty() || octet(0) < 0xc2 || octet(0) > 0xf4) return 0;
  const std::size_t length = octet(0) < 0xe0 ? 2 : octet(0) < 0xf0 ? 3 : 4;
  if (text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i)
    if ((octet(i) & 0xc0) != 0x80) return 0;
  // RFC 3629 section 4: the second octet rules out overlong forms, surrogates and what lies above U+10FFFF.
  switch (octet(0)) {
    case 0xc2:
      return octet(1) >= 0xa0 ? length : 0;  // U+0080..U+009F
    case 0xe0:
      return octet(1) >= 0xa0 ? length : 0;
    case 0xed:
      return octet(1) <= 0x9f ? length : 0;
    case 0xf0:
      return octet(1) >= 0x90 ? length : 0;
    case 0xf4:
      return octet(1) <= 0x8f ? length : 0;
    default:
      return length;
  }
}

}  // namespace protocol
