#include "protocol/characters.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace protocol {
namespace {

// Of eight octets. The first that is outside %d32-126 has its highest bit set, or gets it here: no carry or borrow
// comes from those before it.
bool are_plain(const char* octets) {
  constexpr std::uint64_t each = 0x0101010101010101;
  std::uint64_t word = 0;
  std::memcpy(&word, octets, sizeof word);
  return ((word | (word + each) | (word - 0x20 * each)) & (0x80 * each)) == 0;
}

}  // namespace

bool equals_nocase(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return x == y || to_lower(x) == to_lower(y); });
}

bool starts_with_nocase(std::string_view text, std::string_view prefix) {
  return equals_nocase(text.substr(0, prefix.size()), prefix);
}

std::string upper(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_upper);
  return out;
}

bool is_ascii(std::string_view text) {
  return is_plain_ascii(text) || std::all_of(text.begin(), text.end(), is_ascii_octet);
}

bool is_plain_ascii(std::string_view text) {
  constexpr std::size_t step = sizeof(std::uint64_t);
  if (text.size() < step)
    return std::all_of(text.begin(), text.end(), [](char c) { return is_graphic(c) || c == ' '; });
  for (std::size_t at = 0; at + step <= text.size(); at += step)
    if (!are_plain(text.data() + at)) return false;
  return are_plain(text.data() + text.size() - step);  // the rest, and some once more
}

bool is_keyword(std::string_view text) {
  return !text.empty() && text.front() != '-' &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_let_dig(c) || c == '-'; });
}

std::optional<std::uint64_t> decimal(std::string_view text) {
  if (text.empty() || text.size() > 20 || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  std::uint64_t value = 0;
  if (std::from_chars(text.data(), text.data() + text.size(), value).ec != std::errc()) return std::nullopt;
  return value;
}

std::string_view trim(std::string_view text) {
  while (!text.empty() && is_wsp(text.back())) text.remove_suffix(1);
  while (!text.empty() && is_wsp(text.front())) text.remove_prefix(1);
  return text;
}

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

bool is_printable(std::string_view text) {
  while (!text.empty()) {
    const bool ascii = is_graphic(text.front()) || text.front() == ' ';
    const std::size_t length = ascii ? 1 : utf8_non_ascii(text);
    if (length == 0) return false;
    text.remove_prefix(length);
  }
  return true;
}

}  // namespace protocol
