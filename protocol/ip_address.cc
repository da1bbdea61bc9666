#include "protocol/ip_address.h"

#include <algorithm>
#include <cstddef>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::array<std::uint8_t, 12> mapped_prefix = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

std::optional<std::uint8_t> snum(std::string_view text) {
  if (text.size() > 3) return std::nullopt;
  const std::optional<std::uint64_t> value = decimal(text);
  if (!value || *value > 255) return std::nullopt;
  return static_cast<std::uint8_t>(*value);
}

// Octets of an IPv6 address on one side of its `::`.
struct Side {
  std::array<std::uint8_t, 16> octets{};
  std::size_t count = 0;
  bool add(std::uint8_t octet) {
    if (count == octets.size()) return false;
    octets[count++] = octet;
    return true;
  }
};

bool add_group(Side& side, std::string_view group) {
  if (group.empty() || group.size() > 4 || !std::all_of(group.begin(), group.end(), is_hex_digit)) return false;
  unsigned value = 0;
  for (const char c : group) value = value * 16 + hex_value(c);
  return side.add(static_cast<std::uint8_t>(value >> 8)) && side.add(static_cast<std::uint8_t>(value & 0xff));
}

// Groups between colons; an IPv4 address may stand for the last two where `may_end_ipv4`. Empty text has none.
std::optional<Side> groups(std::string_view text, bool may_end_ipv4) {
  Side side;
  while (!text.empty()) {
    const std::size_t colon = text.find(':');
    const std::string_view group = text.substr(0, colon);
    const bool last = colon == std::string_view::npos;
    if (const std::optional<IpAddress> ipv4 = last && may_end_ipv4 ? parse_ipv4(group) : std::nullopt) {
      for (std::size_t i = 0; i < 4; ++i)
        if (!side.add(ipv4->octets[i])) return std::nullopt;
      return side;
    }
    if (!add_group(side, group)) return std::nullopt;
    if (last) break;
    text.remove_prefix(colon + 1);
    if (text.empty()) return std::nullopt;  // a lone colon at the end
  }
  return side;
}

void append_decimal(std::string& out, const std::uint8_t* octets) {
  for (std::size_t i = 0; i < 4; ++i) {
    if (i > 0) out.push_back('.');
    out.append(std::to_string(octets[i]));
  }
}

struct Run {
  std::size_t begin = 8;
  std::size_t length = 0;
};

// The longest run of zero groups, the first of equals, at least two (RFC 5952 4.2).
Run longest_zeros(const std::array<unsigned, 8>& group) {
  Run best, current;
  for (std::size_t i = 0; i < 8; ++i) {
    if (group[i] != 0) {
      current = Run();
      continue;
    }
    if (current.length == 0) current.begin = i;
    if (++current.length > best.length) best = current;
  }
  return best.length >= 2 ? best : Run();
}

std::string hex_groups(const std::array<std::uint8_t, 16>& octets) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::array<unsigned, 8> group{};
  for (std::size_t i = 0; i < 8; ++i) group[i] = octets[2 * i] * 256U + octets[2 * i + 1];
  const Run gap = longest_zeros(group);
  std::string out;
  for (std::size_t i = 0; i < 8; ++i) {
    if (i == gap.begin) {
      out.append("::");
      i += gap.length - 1;
      continue;
    }
    if (i > 0 && !out.ends_with(':')) out.push_back(':');
    bool leading = true;
    for (int shift = 12; shift >= 0; shift -= 4) {
      const unsigned digit = (group[i] >> shift) & 0xfU;
      leading = leading && digit == 0 && shift > 0;
      if (!leading) out.push_back(digits[digit]);
    }
  }
  return out;
}

bool is_mapped(const IpAddress& address) {
  return address.family == IpAddress::Family::ipv6 &&
         std::equal(mapped_prefix.begin(), mapped_prefix.end(), address.octets.begin());
}

}  // namespace

std::optional<IpAddress> parse_ipv4(std::string_view text) {
  IpAddress address;
  for (std::size_t i = 0; i < 4; ++i) {
    const std::size_t dot = i < 3 ? text.find('.') : text.size();
    if (dot == std::string_view::npos) return std::nullopt;
    const std::optional<std::uint8_t> octet = snum(text.substr(0, dot));
    if (!octet) return std::nullopt;
    address.octets[i] = *octet;
    text.remove_prefix(i < 3 ? dot + 1 : dot);
  }
  return address;
}

std::optional<IpAddress> parse_ipv6(std::string_view text) {
  const std::size_t gap = text.find("::");
  const bool whole = gap == std::string_view::npos;
  const std::optional<Side> before = groups(text.substr(0, gap), whole);
  const std::optional<Side> behind = whole ? Side() : groups(text.substr(gap + 2), true);
  if (!before || !behind) return std::nullopt;
  const std::size_t count = before->count + behind->count;
  if (whole ? count != 16 : count > 14) return std::nullopt;
  IpAddress address{IpAddress::Family::ipv6, before->octets};
  std::copy_n(behind->octets.begin(), behind->count, address.octets.end() - static_cast<std::ptrdiff_t>(behind->count));
  return address;
}

std::optional<IpAddress> parse_ip(std::string_view text) {
  return text.find(':') == std::string_view::npos ? parse_ipv4(text) : parse_ipv6(text);
}

std::string to_text(const IpAddress& address) {
  std::string out;
  if (address.family == IpAddress::Family::ipv4) append_decimal(out, address.octets.data());
  else if (!is_mapped(address)) return hex_groups(address.octets);
  else append_decimal(out.append("::ffff:"), address.octets.data() + mapped_prefix.size());
  return out;
}

std::string to_text(const SocketAddress& address) {
  const bool brackets = address.ip.family == IpAddress::Family::ipv6;
  const std::string ip = to_text(address.ip);
  return (brackets ? "[" + ip + "]" : ip) + ":" + std::to_string(address.port);
}

IpAddress unmapped(const IpAddress& address) {
  if (!is_mapped(address)) return address;
  IpAddress out;
  std::copy_n(address.octets.begin() + mapped_prefix.size(), 4, out.octets.begin());
  return out;
}

IpAddress mapped(const IpAddress& address) {
  if (address.family == IpAddress::Family::ipv6) return address;
  IpAddress out{IpAddress::Family::ipv6, {}};
  std::copy(mapped_prefix.begin(), mapped_prefix.end(), out.octets.begin());
  std::copy_n(address.octets.begin(), 4, out.octets.begin() + mapped_prefix.size());
  return out;
}

}  // namespace protocol
