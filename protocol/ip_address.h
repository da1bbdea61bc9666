// IP addresses as values, written by RFC 5952 and read as RFC 5321 4.1.3 and RFC 4291 2.2 have them. No socket types.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace protocol {

struct IpAddress {
  enum class Family : std::uint8_t { ipv4, ipv6 };
  Family family = Family::ipv4;
  std::array<std::uint8_t, 16> octets{};  // network order; IPv4 has its four in front, the rest is zero
  bool operator==(const IpAddress&) const = default;
};

struct SocketAddress {
  IpAddress ip;
  std::uint16_t port = 0;
  bool operator==(const SocketAddress&) const = default;
};

std::optional<IpAddress> parse_ipv4(std::string_view text);  // Snum 3("." Snum), each 0..255; leading zeros allowed
std::optional<IpAddress> parse_ipv6(std::string_view text);  // no zone
std::optional<IpAddress> parse_ip(std::string_view text);    // one of the two
std::string to_text(const IpAddress& address);               // "192.0.2.1", "2001:db8::1", "::ffff:192.0.2.1"
std::string to_text(const SocketAddress& address);           // "192.0.2.1:25", "[2001:db8::1]:25"

// ::ffff:192.0.2.1 becomes 192.0.2.1 (RFC 4291 2.5.5.2), so that a client has one name whatever socket it came by.
IpAddress unmapped(const IpAddress& address);
// The other way; an IPv6 address stays as it is.
IpAddress mapped(const IpAddress& address);

}  // namespace protocol
