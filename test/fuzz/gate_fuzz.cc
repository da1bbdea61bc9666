// The first packet of a connection: whatever comes, a SYN or a fault; what is not read changes nothing.
#include <algorithm>
#include <vector>

#include "firewall/gate/packet.h"
#include "split.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::vector<std::uint8_t> packet(octets, octets + size);
  const auto parsed = gate::parse_syn(packet);
  if (!parsed) {
    PROPERTY(!to_string(parsed.error()).empty());
    return 0;
  }
  // Addresses and ports stand in the packet, in the right family.
  const bool four = packet[0] >> 4 == 4;
  PROPERTY(size >= (four ? 40U : 60U));
  const std::size_t at = four ? 12 : 8, length = four ? 4 : 16;
  PROPERTY(std::equal(parsed->source.end() - static_cast<std::ptrdiff_t>(length), parsed->source.end(), octets + at));
  PROPERTY(std::equal(parsed->destination.end() - static_cast<std::ptrdiff_t>(length), parsed->destination.end(),
                      octets + at + length));
  // More behind it is padding or data: the same SYN; but then it may have been cut before.
  std::vector<std::uint8_t> longer = packet;
  longer.insert(longer.end(), 100, 0xFF);
  PROPERTY(gate::parse_syn(longer) == parsed);
  // A beginning is the same SYN, or too short.
  for (std::size_t cut = 0; cut < std::min<std::size_t>(size, 2 * gate::copied); ++cut) {
    const auto beginning = gate::parse_syn(std::span(packet).first(cut));
    PROPERTY(beginning ? *beginning == *parsed : beginning.error() == gate::Fault::truncated);
  }
  return 0;
}
