#include "config/netmask.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <charconv>
#include <cstring>
#include <optional>

namespace config {
namespace {

constexpr unsigned mapped_bits = 96;

std::array<std::uint8_t, 16> mapped(const in_addr& address) {
  std::array<std::uint8_t, 16> octets{};
  octets[10] = octets[11] = 0xFF;
  std::memcpy(octets.data() + 12, &address, 4);
  return octets;
}

std::optional<std::array<std::uint8_t, 16>> parse_address(const std::string& text, bool& ipv4) {
  in_addr four{};
  ipv4 = inet_pton(AF_INET, text.c_str(), &four) == 1;
  if (ipv4) return mapped(four);
  std::array<std::uint8_t, 16> octets{};
  if (inet_pton(AF_INET6, text.c_str(), octets.data()) != 1) return std::nullopt;
  return octets;
}

bool same_prefix(const std::array<std::uint8_t, 16>& a, const std::array<std::uint8_t, 16>& b, unsigned bits) {
  const std::size_t whole = bits / 8;
  if (!std::equal(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(whole), b.begin())) return false;
  if (bits % 8 == 0) return true;
  const unsigned mask = 0xFFU << (8 - bits % 8);
  return ((a[whole] ^ b[whole]) & mask & 0xFFU) == 0;
}

}  // namespace

std::expected<Netmask, std::string> parse_netmask(std::string_view text) {
  const std::size_t slash = text.find('/');
  Netmask netmask;
  netmask.text = text;
  bool ipv4 = false;
  const auto octets = parse_address(std::string(text.substr(0, slash)), ipv4);
  if (!octets) return std::unexpected("is no network; write 192.0.2.0/24, 2001:db8::/32 or an address");
  netmask.network = *octets;
  const unsigned most = ipv4 ? 32 : 128;
  unsigned bits = most;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, failure] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
    if (failure != std::errc{} || end != digits.data() + digits.size() || bits > most)
      return std::unexpected("has no prefix length between 0 and " + std::to_string(most) + " behind the slash");
  }
  netmask.prefix = bits + (ipv4 ? mapped_bits : 0);
  if (leading_bits(netmask.network, netmask.prefix) != netmask.network)
    return std::unexpected("has bits set behind its prefix length; write the network's own address");
  return netmask;
}

std::array<std::uint8_t, 16> octets_of(const sockaddr* address) {
  std::array<std::uint8_t, 16> octets{};
  if (address->sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, address, sizeof four);
    return mapped(four.sin_addr);
  }
  if (address->sa_family != AF_INET6) return octets;
  sockaddr_in6 six{};
  std::memcpy(&six, address, sizeof six);
  std::memcpy(octets.data(), &six.sin6_addr, octets.size());
  return octets;
}

std::array<std::uint8_t, 16> leading_bits(const std::array<std::uint8_t, 16>& address, unsigned prefix) {
  std::array<std::uint8_t, 16> network = address;
  for (unsigned octet = 0; octet < network.size(); ++octet) {
    const unsigned kept = prefix > octet * 8 ? std::min(prefix - octet * 8, 8U) : 0;
    network[octet] = static_cast<std::uint8_t>(network[octet] & (0xFF00U >> kept));
  }
  return network;
}

Netmask network_around(const std::array<std::uint8_t, 16>& address, unsigned prefix) {
  Netmask netmask;
  netmask.network = leading_bits(address, prefix);
  netmask.prefix = prefix;
  const bool four = is_ipv4(netmask);
  char text[INET6_ADDRSTRLEN] = "";
  inet_ntop(four ? AF_INET : AF_INET6, netmask.network.data() + (four ? 12 : 0), text, sizeof text);
  netmask.text = text;
  if (prefix != 128) netmask.text += "/" + std::to_string(prefix - (four ? mapped_bits : 0));
  return netmask;
}

bool is_ipv4(const Netmask& netmask) {
  constexpr std::array<std::uint8_t, 12> prefix{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  return netmask.prefix >= mapped_bits && std::equal(prefix.begin(), prefix.end(), netmask.network.begin());
}

bool overlap(const Netmask& one, const Netmask& other) {
  return same_prefix(one.network, other.network, std::min(one.prefix, other.prefix));
}

bool contains(const Netmask& netmask, const sockaddr* address) {
  if (address->sa_family != AF_INET && address->sa_family != AF_INET6) return false;
  return same_prefix(netmask.network, octets_of(address), netmask.prefix);
}

bool contains(const std::vector<Netmask>& netmasks, const sockaddr* address) {
  return std::ranges::any_of(netmasks, [address](const Netmask& each) { return contains(each, address); });
}

}  // namespace config
