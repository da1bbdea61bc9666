// The first packet of a TCP connection as it stands in the queue: IPv4 (RFC 791) or IPv6 (RFC 8200) from its first
// octet on. Every octet is the client's; nothing is believed before its length is known.
#pragma once

#include <array>
#include <cstdint>
#include <expected>
#include <span>
#include <string_view>

namespace gate {

// IPv6, or an IPv4 address mapped into it, as in config::Netmask.
using Address = std::array<std::uint8_t, 16>;

struct Syn {
  Address source{}, destination{};
  std::uint16_t source_port = 0, destination_port = 0;
  bool operator==(const Syn&) const = default;
};

// Why octets are no SYN that a client may send.
enum class Fault {
  truncated,   // shorter than its headers say, or than was copied for us
  not_ip,      // neither version 4 nor 6
  bad_header,  // a length that cannot be
  fragment,    // not the first one
  too_deep,    // more extension headers than anybody needs
  not_tcp,
  not_syn,  // TCP without SYN, or with ACK, RST or FIN
};
std::string_view to_string(Fault fault);

inline constexpr std::size_t copied = 512;       // octets of a packet that the kernel is asked for
inline constexpr unsigned most_extensions = 16;  // headers between IPv6 and TCP

std::expected<Syn, Fault> parse_syn(std::span<const std::uint8_t> packet);

}  // namespace gate
