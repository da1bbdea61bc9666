#include "proxy/admin/escape.h"

#include <algorithm>
#include <array>
#include <cstdint>

#include "proxy/admin/log.h"

namespace admin {
namespace {

constexpr char digits[] = "0123456789abcdef";

// Printable ASCII that stands for itself in both forms.
constexpr std::array<bool, 256> plain = [] {
  std::array<bool, 256> table{};
  for (std::size_t c = 0x20; c < 0x7f; ++c) table[c] = c != '"' && c != '\\';
  return table;
}();

std::uint8_t octet(std::string_view raw, std::size_t at) { return static_cast<std::uint8_t>(raw[at]); }

struct Character {
  std::size_t octets;  // of the sequence, or of the longest part of it that could have begun one (at least 1)
  char32_t code;
  bool valid;
};

// Second octets are narrower after E0, ED, F0 and F4: no overlong forms, no surrogates, nothing above U+10FFFF
// (RFC 3629, section 4).
bool continues(std::uint8_t first, std::size_t place, std::uint8_t c) {
  if (place > 1) return c >= 0x80 && c <= 0xbf;
  if (first == 0xe0) return c >= 0xa0 && c <= 0xbf;
  if (first == 0xed) return c >= 0x80 && c <= 0x9f;
  if (first == 0xf0) return c >= 0x90 && c <= 0xbf;
  if (first == 0xf4) return c >= 0x80 && c <= 0x8f;
  return c >= 0x80 && c <= 0xbf;
}

Character character(std::string_view raw, std::size_t at) {
  const std::uint8_t first = octet(raw, at);
  if (first < 0x80) return {1, first, true};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4) return {1, 0, false};
  char32_t code = first & (0xffu >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if (at + i >= raw.size() || !continues(first, i, octet(raw, at + i))) return {i, 0, false};
    code = code << 6 | (octet(raw, at + i) & 0x3fu);
  }
  return {length, code, true};
}

// Controls, separators and what changes the look of the text around it (Trojan Source). All in the basic plane.
bool harmful(char32_t c) {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || (c >= 0x200b && c <= 0x200f) ||
         (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb);
}

char short_name(char c) {
  switch (c) {
    case '\n':
      return 'n';
    case '\r':
      return 'r';
    case '\t':
      return 't';
    case '"':
      return '"';
    case '\\':
      return '\\';
    default:
      return 0;
  }
}

void put_hex(std::string& out, std::string_view raw) {
  for (const char c : raw) {
    const auto value = static_cast<std::uint8_t>(c);
    const char text[] = {'\\', 'x', digits[value >> 4], digits[value & 15]};
    out.append(text, sizeof text);
  }
}

void put_unicode(std::string& out, char32_t code) {
  const char text[] = {
      '\\', 'u', digits[code >> 12 & 15], digits[code >> 8 & 15], digits[code >> 4 & 15], digits[code & 15]};
  out.append(text, sizeof text);
}

void put_text(std::string& out, std::string_view raw, const Character& c, std::string_view also) {
  const bool asked = c.octets == 1 && also.find(raw.front()) != std::string_view::npos;
  const char name = c.octets == 1 && (raw.front() != '"' || asked) ? short_name(raw.front()) : '\0';
  if (name != 0) {
    out += '\\';
    out += name;
  } else if (!c.valid || harmful(c.code) || asked) {
    put_hex(out, raw);
  } else {
    out += raw;
  }
}

void put_json(std::string& out, std::string_view raw, const Character& c) {
  const char name = c.octets == 1 ? short_name(raw.front()) : '\0';
  if (name != 0) {
    out += '\\';
    out += name;
  } else if (!c.valid) {
    out += "\xef\xbf\xbd";
  } else if (harmful(c.code)) {
    put_unicode(out, c.code);
  } else {
    out += raw;
  }
}

// `put` writes one character; what would pass the limit is taken back and "..." stands for the rest.
template <class Put>
void append(std::string& out, std::string_view raw, std::size_t limit, std::string_view also, Put put) {
  // None of what is asked for besides is more than a pair of brackets.
  const char first = also.empty() ? '\0' : also.front(), second = also.empty() ? '\0' : also.back();
  const auto is_plain = [](char c) { return plain[static_cast<std::uint8_t>(c)]; };
  const auto stands = [&](char c) { return is_plain(c) && c != first && c != second; };
  const auto is_asked = [&](char c) { return is_plain(c) && raw.find(c) != std::string_view::npos; };
  if (raw.size() <= limit && std::all_of(raw.begin(), raw.end(), is_plain) && std::ranges::none_of(also, is_asked)) {
    out.append(raw);  // nearly always
    return;
  }
  const std::size_t start = out.size();
  const std::size_t room = limit > 3 ? limit - 3 : 0;
  std::size_t cut = start;  // the last place where "..." still fits
  for (std::size_t at = 0; at < raw.size();) {
    std::size_t end = at;
    while (end < raw.size() && stands(raw[end])) ++end;
    if (end > at) {
      const std::size_t before = out.size() - start;
      if (room > before && end - at >= room - before) cut = start + room;
      else if (room > before) cut = out.size() + (end - at);
      out.append(raw.substr(at, std::min(end - at, limit + 1)));
    } else {
      const Character c = character(raw, at);
      end = at + c.octets;
      put(out, raw.substr(at, c.octets), c);
      if (out.size() - start <= room) cut = out.size();
    }
    at = end;
    if (out.size() - start > limit) {
      out.resize(cut);
      out += std::string_view("...").substr(0, limit);
      return;
    }
  }
}

}  // namespace

void append_text(std::string& out, std::string_view raw, std::size_t limit, std::string_view also) {
  append(out, raw, limit, also,
         [also](std::string& to, std::string_view octets, const Character& c) { put_text(to, octets, c, also); });
}

void append_json(std::string& out, std::string_view raw, std::size_t limit) {
  append(out, raw, limit, {},
         [](std::string& to, std::string_view octets, const Character& c) { put_json(to, octets, c); });
}

std::string escaped(std::string_view raw, std::size_t limit) {
  std::string out;
  append_text(out, raw, limit, "\"");
  return out;
}

std::string json_string(std::string_view raw, std::size_t limit) {
  std::string out = "\"";
  append_json(out, raw, limit);
  out += '"';
  return out;
}

}  // namespace admin
