#include "firewall/gate/packet.h"

#include <netinet/in.h>

#include <algorithm>

namespace gate {
namespace {

using Octets = std::span<const std::uint8_t>;
template <class Value>
using Result = std::expected<Value, Fault>;

constexpr std::size_t least_tcp = 20, least_ipv4 = 20, ipv6_header = 40, fragment_header = 8;
constexpr std::uint8_t fin = 0x01, syn = 0x02, rst = 0x04, ack = 0x10;

std::uint16_t u16(Octets octets, std::size_t at) {
  return static_cast<std::uint16_t>(octets[at] << 8 | octets[at + 1]);
}

// Adds the ports; the addresses are there.
Result<Syn> with_tcp(Syn found, Octets segment) {
  if (segment.size() < least_tcp) return std::unexpected(Fault::truncated);
  if ((segment[12] >> 4) * 4U < least_tcp) return std::unexpected(Fault::bad_header);
  if ((segment[13] & (fin | syn | rst | ack)) != syn) return std::unexpected(Fault::not_syn);
  found.source_port = u16(segment, 0);
  found.destination_port = u16(segment, 2);
  return found;
}

Result<Syn> parse_ipv4(Octets packet) {
  if (packet.size() < least_ipv4) return std::unexpected(Fault::truncated);
  const std::size_t header = (packet[0] & 0x0FU) * 4U, total = u16(packet, 2);
  if (header < least_ipv4 || total < header) return std::unexpected(Fault::bad_header);
  if ((u16(packet, 6) & 0x1FFFU) != 0) return std::unexpected(Fault::fragment);
  if (packet[9] != IPPROTO_TCP) return std::unexpected(Fault::not_tcp);
  packet = packet.first(std::min(packet.size(), total));  // what follows is padding of the link
  if (packet.size() < header) return std::unexpected(Fault::truncated);
  Syn found;
  for (Address* address : {&found.source, &found.destination}) (*address)[10] = (*address)[11] = 0xFF;
  std::copy_n(packet.begin() + 12, 4, found.source.begin() + 12);
  std::copy_n(packet.begin() + 16, 4, found.destination.begin() + 12);
  return with_tcp(found, packet.subspan(header));
}

// The length of an extension header that may stand before TCP; 0 of any other one.
std::size_t extension_length(std::uint8_t kind, Octets header) {
  switch (kind) {
    case IPPROTO_HOPOPTS:
    case IPPROTO_ROUTING:
    case IPPROTO_DSTOPTS:
      return (header[1] + 1U) * 8U;
    case IPPROTO_AH:
      return (header[1] + 2U) * 4U;
    case IPPROTO_FRAGMENT:
      return fragment_header;
    default:
      return 0;
  }
}

Result<Syn> parse_ipv6(Octets packet) {
  if (packet.size() < ipv6_header) return std::unexpected(Fault::truncated);
  Syn found;
  std::copy_n(packet.begin() + 8, 16, found.source.begin());
  std::copy_n(packet.begin() + 24, 16, found.destination.begin());
  const std::size_t payload = u16(packet, 4);  // 0 of a jumbogram, which says its length elsewhere
  std::uint8_t next = packet[6];
  packet = packet.subspan(ipv6_header);
  if (payload != 0) packet = packet.first(std::min(packet.size(), payload));
  for (unsigned count = 0; next != IPPROTO_TCP; ++count) {
    if (count == most_extensions) return std::unexpected(Fault::too_deep);
    if (packet.size() < 2) return std::unexpected(Fault::truncated);
    const std::size_t length = extension_length(next, packet);
    if (length == 0) return std::unexpected(Fault::not_tcp);
    if (packet.size() < length) return std::unexpected(Fault::truncated);
    if (next == IPPROTO_FRAGMENT && (u16(packet, 2) & 0xFFF8U) != 0) return std::unexpected(Fault::fragment);
    next = packet[0];
    packet = packet.subspan(length);
  }
  return with_tcp(found, packet);
}

}  // namespace

std::string_view to_string(Fault fault) {
  constexpr std::array<std::string_view, 7> words{"truncated", "not_ip",  "bad_header", "fragment",
                                                  "too_deep",  "not_tcp", "not_syn"};
  return words.at(static_cast<std::size_t>(fault));
}

std::expected<Syn, Fault> parse_syn(Octets packet) {
  if (packet.empty()) return std::unexpected(Fault::truncated);
  switch (packet[0] >> 4) {
    case 4:
      return parse_ipv4(packet);
    case 6:
      return parse_ipv6(packet);
    default:
      return std::unexpected(Fault::not_ip);
  }
}

}  // namespace gate
