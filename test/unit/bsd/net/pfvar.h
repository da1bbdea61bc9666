// What firewall/pf_device.cc takes from this header on FreeBSD, for a test of it elsewhere.
#pragma once

#include <cstdint>

struct pf_addr {
  std::uint8_t octets[16];
};
struct pfioc_natlook {
  pf_addr saddr, daddr, rsaddr, rdaddr;
  std::uint16_t sport, dport, rsport, rdport;
  std::uint8_t af, proto, proto_variant, direction;
};
constexpr unsigned long DIOCNATLOOK = 0xC0104417;  // any number: a pf of the test's own answers
