// The gate's parser, octet by octet: every length, every flag, every header that may stand before TCP.
#include <doctest/doctest.h>

#include <vector>

#include "firewall/gate/packet.h"

namespace {

using gate::Fault;
using gate::parse_syn;
using gate::Syn;
using Octets = std::vector<std::uint8_t>;

Octets operator+(Octets one, const Octets& other) {
  one.insert(one.end(), other.begin(), other.end());
  return one;
}

// From port 40000 to port 25.
Octets tcp(std::uint8_t flags = 0x02, std::uint8_t words = 5) {
  Octets out{0x9C, 0x40, 0, 25, 0, 0, 0, 1, 0, 0, 0, 0, static_cast<std::uint8_t>(words << 4), flags, 4, 0, 0, 0, 0, 0};
  return out;
}
// From 203.0.113.9 to 192.0.2.25.
Octets ipv4(const Octets& payload, unsigned options = 0, std::uint8_t protocol = 6, unsigned fragment = 0) {
  const std::size_t length = 20 + options * 4 + payload.size();
  Octets out{static_cast<std::uint8_t>(0x45 + options),
             0,
             static_cast<std::uint8_t>(length >> 8),
             static_cast<std::uint8_t>(length),
             0,
             0,
             static_cast<std::uint8_t>(fragment >> 8),
             static_cast<std::uint8_t>(fragment),
             64,
             protocol,
             0,
             0,
             203,
             0,
             113,
             9,
             192,
             0,
             2,
             25};
  return out + Octets(options * 4, 1) + payload;
}
// From 2001:db8::9 to 2001:db8::25.
Octets ipv6(const Octets& payload, std::uint8_t next = 6) {
  Octets out{0x60, 0, 0, 0, static_cast<std::uint8_t>(payload.size() >> 8), static_cast<std::uint8_t>(payload.size()),
             next, 64};
  const Octets source{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
  Octets destination = source;
  destination[15] = 0x25;
  return out + source + destination + payload;
}
// Hop-by-hop options, routing, destination options: `units` times 8 octets.
Octets extension(std::uint8_t next, unsigned units = 1) {
  Octets out(units * 8, 0);
  out[0] = next;
  out[1] = static_cast<std::uint8_t>(units - 1);
  return out;
}

Fault fault_of(const Octets& packet) {
  const auto parsed = parse_syn(packet);
  REQUIRE_FALSE(parsed);
  return parsed.error();
}
Syn syn_of(const Octets& packet) {
  const auto parsed = parse_syn(packet);
  REQUIRE(parsed);
  return *parsed;
}

const Syn four{{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 203, 0, 113, 9},
               {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 192, 0, 2, 25},
               40000,
               25};
const Syn six{{0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9},
              {0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x25},
              40000,
              25};

TEST_CASE("gate packet: a SYN of either family") {
  CHECK(syn_of(ipv4(tcp())) == four);
  CHECK(syn_of(ipv6(tcp())) == six);
  for (unsigned options = 0; options <= 10; ++options) CHECK(syn_of(ipv4(tcp(), options)) == four);
  // What the link adds, and what the client sends along (TCP Fast Open).
  CHECK(syn_of(ipv4(tcp()) + Octets(6, 0xAA)) == four);
  CHECK(syn_of(ipv4(tcp() + Octets(1000, 0xAA))) == four);
  CHECK(syn_of(ipv6(tcp() + Octets(1000, 0xAA))) == six);
  // Its TCP options are not looked at, and need not have been copied.
  CHECK(syn_of(ipv4(tcp(0x02, 15))) == four);
}

TEST_CASE("gate packet: cut at every octet") {
  const std::vector<Octets> whole{ipv4(tcp()), ipv4(tcp(), 10), ipv6(tcp()), ipv6(extension(6, 3) + tcp(), 0)};
  for (const Octets& packet : whole)
    for (std::size_t length = 0; length < packet.size(); ++length) {
      CAPTURE(length);
      // A copy of its own: what is behind the end belongs to nobody.
      CHECK(fault_of(Octets(packet.begin(), packet.begin() + static_cast<std::ptrdiff_t>(length))) == Fault::truncated);
    }
}

TEST_CASE("gate packet: what its own length leaves out does not count") {
  Octets packet = ipv4(tcp());
  for (unsigned total = 0; total < 256; ++total) {
    packet[3] = static_cast<std::uint8_t>(total);
    CAPTURE(total);
    if (total < 20) CHECK(fault_of(packet) == Fault::bad_header);
    else if (total < 40) CHECK(fault_of(packet) == Fault::truncated);
    else CHECK(syn_of(packet) == four);
  }
  packet = ipv6(tcp());
  for (unsigned payload = 0; payload < 256; ++payload) {
    packet[5] = static_cast<std::uint8_t>(payload);
    CAPTURE(payload);
    if (payload > 0 && payload < 20) CHECK(fault_of(packet) == Fault::truncated);
    else CHECK(syn_of(packet) == six);  // 0: a jumbogram
  }
}

TEST_CASE("gate packet: every version and header length") {
  for (unsigned first = 0; first < 256; ++first) {
    Octets packet = ipv4(tcp(), 10);
    packet[0] = static_cast<std::uint8_t>(first);
    CAPTURE(first);
    const auto parsed = parse_syn(packet);
    if (first >> 4 == 4 && (first & 0xF) < 5) CHECK(parsed.error() == Fault::bad_header);
    else if (first == 0x4F) CHECK(parsed == four);
    else if (first >> 4 != 4 && first >> 4 != 6) CHECK(parsed.error() == Fault::not_ip);
  }
}

TEST_CASE("gate packet: every set of TCP flags") {
  for (unsigned flags = 0; flags < 256; ++flags) {
    CAPTURE(flags);
    const bool is_syn = (flags & 0x17) == 0x02;  // whatever PSH, URG and the bits of ECN are
    CHECK(parse_syn(ipv4(tcp(static_cast<std::uint8_t>(flags)))).has_value() == is_syn);
    if (!is_syn) CHECK(fault_of(ipv6(tcp(static_cast<std::uint8_t>(flags)))) == Fault::not_syn);
  }
}

TEST_CASE("gate packet: TCP headers too short for themselves") {
  for (std::uint8_t words = 0; words < 16; ++words) {
    CAPTURE(words);
    const auto parsed = parse_syn(ipv4(tcp(0x02, words)));
    if (words < 5) CHECK(parsed.error() == Fault::bad_header);
    else CHECK(parsed == four);
  }
}

TEST_CASE("gate packet: every protocol") {
  for (unsigned protocol = 0; protocol < 256; ++protocol) {
    if (protocol == 6) continue;
    CAPTURE(protocol);
    const auto number = static_cast<std::uint8_t>(protocol);
    CHECK(fault_of(ipv4(tcp(), 0, number)) == Fault::not_tcp);
    const bool goes_on = protocol == 0 || protocol == 43 || protocol == 44 || protocol == 51 || protocol == 60;
    if (!goes_on) CHECK(fault_of(ipv6(tcp(), number)) == Fault::not_tcp);
  }
}

TEST_CASE("gate packet: fragments") {
  for (unsigned bit = 0; bit < 13; ++bit) CHECK(fault_of(ipv4(tcp(), 0, 6, 1U << bit)) == Fault::fragment);
  for (const unsigned flags : {0x2000U, 0x4000U, 0x8000U}) CHECK(syn_of(ipv4(tcp(), 0, 6, flags)) == four);
  for (unsigned offset = 0; offset < 0x10000; ++offset) {
    const Octets header{6, 0, static_cast<std::uint8_t>(offset >> 8), static_cast<std::uint8_t>(offset), 0, 0, 0, 7};
    const auto parsed = parse_syn(ipv6(header + tcp(), 44));
    if (offset < 8) CHECK_MESSAGE(parsed == six, offset);
    else CHECK_MESSAGE(parsed.error() == Fault::fragment, offset);
  }
}

TEST_CASE("gate packet: extension headers") {
  CHECK(syn_of(ipv6(extension(60) + extension(43) + extension(6, 4) + tcp(), 0)) == six);
  Octets authentication(16, 0);  // counts in units of four octets
  authentication[0] = 6;
  authentication[1] = 2;
  CHECK(syn_of(ipv6(authentication + tcp(), 51)) == six);
  // The longest that is copied whole, and one that claims more than there is.
  CHECK(syn_of(ipv6(extension(6, 50) + tcp(), 60)) == six);
  Octets greedy = extension(6);
  greedy[1] = 255;
  CHECK(fault_of(ipv6(greedy + tcp(), 60)) == Fault::truncated);
  for (unsigned count = 1; count <= gate::most_extensions + 1; ++count) {
    Octets chain;
    for (unsigned i = 1; i < count; ++i) chain = chain + extension(60);
    const auto parsed = parse_syn(ipv6(chain + extension(6) + tcp(), 60));
    CAPTURE(count);
    if (count <= gate::most_extensions) CHECK(parsed == six);
    else CHECK(parsed.error() == Fault::too_deep);
  }
}

TEST_CASE("gate packet: any one octet changed is a SYN or a fault, never more") {
  for (const Octets& packet : {ipv4(tcp(), 2), ipv6(extension(6, 2) + tcp(), 0)})
    for (std::size_t at = 0; at < packet.size(); ++at)
      for (unsigned value = 0; value < 256; ++value) {
        Octets changed = packet;
        changed[at] = static_cast<std::uint8_t>(value);
        const auto parsed = parse_syn(changed);  // ASan watches
        if (!parsed) CHECK_FALSE(to_string(parsed.error()).empty());
      }
}

}  // namespace
