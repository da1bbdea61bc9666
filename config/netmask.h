// Networks: "192.0.2.0/24", "2001:db8::/32", a single address, -> a set that addresses are looked up in.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

namespace config {

// An IPv4 network is kept as its IPv4-mapped IPv6 one, so that both kinds of socket agree on it.
struct Netmask {
  std::string text;  // as in the config
  std::array<std::uint8_t, 16> network{};
  unsigned prefix = 128;  // leading bits that count
  bool operator==(const Netmask&) const = default;
};

// The error is the end of the sentence "VALUE ...". Bits behind the prefix must be zero: "192.0.2.1/24" is a slip.
std::expected<Netmask, std::string> parse_netmask(std::string_view text);

// `address` is AF_INET or AF_INET6; any other family (a UNIX socket) is in no network.
bool contains(const Netmask& netmask, const sockaddr* address);
bool contains(const std::vector<Netmask>& netmasks, const sockaddr* address);

// The 16 octets of an address, IPv4 mapped; all zero for other families.
std::array<std::uint8_t, 16> octets_of(const sockaddr* address);

// `address` with nothing but its leading `prefix` bits.
std::array<std::uint8_t, 16> leading_bits(const std::array<std::uint8_t, 16>& address, unsigned prefix);
// The network of the leading `prefix` of 128 bits that an address is in.
Netmask network_around(const std::array<std::uint8_t, 16>& address, unsigned prefix);
bool is_ipv4(const Netmask& netmask);
// They have an address in common.
bool overlap(const Netmask& one, const Netmask& other);

}  // namespace config
