#include "protocol/address_literal.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "protocol/characters.h"

namespace protocol {
namespace {

bool is_snum(std::string_view text) {
  if (text.empty() || text.size() > 3 || !std::all_of(text.begin(), text.end(), is_digit)) return false;
  int value = 0;
  for (const char c : text) value = value * 10 + (c - '0');
  return value <= 255;
}

// How many 16-bit groups `text` holds (0 for empty text); nothing where it is malformed. An IPv4 address at the end
// counts as two groups where `may_end_ipv4`.
std::optional<std::size_t> groups(std::string_view text, bool may_end_ipv4) {
  std::size_t count = 0;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    if (colon == std::string_view::npos && may_end_ipv4 && is_ipv4_address(group)) return count + 2;
    if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), is_hex_digit))
      return std::nullopt;
    ++count;
    if (colon == std::string_view::npos) break;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;  // a lone colon at the end
  }
  return count;
}

}  // namespace

bool is_ipv4_address(std::string_view text) {
  for (int i = 0; i < 3; ++i) {
    const std::size_t dot = text.find('.');
    if (dot == std::string_view::npos || !is_snum(text.substr(0, dot))) return false;
    text.remove_prefix(dot + 1);
  }
  return is_snum(text);
}

bool is_ipv6_address(std::string_view text) {
  const std::size_t gap = text.find("::");
  if (gap == std::string_view::npos) return groups(text, true) == 8;
  const std::optional<std::size_t> before = groups(text.substr(0, gap), false);
  const std::optional<std::size_t> behind = groups(text.substr(gap + 2), true);
  return before && behind && *before + *behind <= 7;
}

bool is_address_literal(std::string_view text) {
  constexpr std::string_view tag = "IPv6:";
  if (starts_with_nocase(text, tag)) return is_ipv6_address(text.substr(tag.size()));
  return is_ipv4_address(text);
}

}  // namespace protocol
