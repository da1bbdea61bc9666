// Character classes of RFC 5234 and RFC 5321 4.1.2, free of locale, and UTF-8 (RFC 3629). Values only.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace protocol {

constexpr bool is_digit(char c) { return c >= '0' && c <= '9'; }
constexpr bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
constexpr bool is_alpha(char c) { return is_upper(c) || (c >= 'a' && c <= 'z'); }
constexpr bool is_let_dig(char c) { return is_alpha(c) || is_digit(c); }
constexpr bool is_hex_digit(char c) { return is_digit(c) || (c >= 'A' && c <= 'F') || (c >= 'a' && c <= 'f'); }
constexpr bool is_wsp(char c) { return c == ' ' || c == '\t'; }
constexpr bool is_ascii_octet(char c) { return static_cast<unsigned char>(c) < 0x80; }
constexpr char to_lower(char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }
constexpr char to_upper(char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; }
// 0..15; only for is_hex_digit().
constexpr unsigned hex_value(char c) { return static_cast<unsigned>(is_digit(c) ? c - '0' : to_lower(c) - 'a' + 10); }
// ASCII printable without the space: %d33-126.
constexpr bool is_graphic(char c) { return c > ' ' && c < '\x7f'; }
// A class of octets as a table: for what is asked of every octet of a command or reply.
using OctetClass = std::array<bool, 256>;
template <class InClass>
constexpr OctetClass octet_class(InClass in_class) {
  OctetClass table{};
  for (std::size_t c = 0; c < table.size(); ++c) table[c] = in_class(static_cast<char>(c));
  return table;
}
constexpr bool is_in(const OctetClass& table, char c) { return table[static_cast<unsigned char>(c)]; }
// RFC 5322 3.2.3, ASCII part.
inline constexpr OctetClass atext = octet_class([](char c) {
  return is_let_dig(c) || (c != '\0' && std::string_view("!#$%&'*+-/=?^_`{|}~").find(c) != std::string_view::npos);
});
constexpr bool is_atext(char c) { return is_in(atext, c); }

// ASCII case-insensitive comparison; other octets must be equal.
bool equals_nocase(std::string_view a, std::string_view b);
bool starts_with_nocase(std::string_view text, std::string_view prefix);
std::string upper(std::string_view text);
bool is_ascii(std::string_view text);
// Of %d32-126 alone, as nearly every text is: asked of eight octets at a time.
bool is_plain_ascii(std::string_view text);
// ehlo-keyword, esmtp-keyword (RFC 5321 4.1.1.1, 4.1.2): (ALPHA / DIGIT) *(ALPHA / DIGIT / "-")
bool is_keyword(std::string_view text);
// The number that 1*20DIGIT spells; nothing where `text` is not that, or is more than 64 bits hold.
std::optional<std::uint64_t> decimal(std::string_view text);
// Without spaces and tabs at both ends.
std::string_view trim(std::string_view text);

// Octets of the non-ASCII character in front of `text`; 0 where it is ASCII, not well-formed UTF-8 (overlong,
// surrogate, cut short, above U+10FFFF), or a C1 control character, which terminals obey.
std::size_t utf8_non_ascii(std::string_view text);
// Spaces, graphic ASCII and non-ASCII characters as above; nothing else.
bool is_printable(std::string_view text);

}  // namespace protocol
