#include <doctest/doctest.h>

#include <string>

#include "firewall/pf_natlook.h"
#include "test/unit/firewall_pf_fixture.h"

namespace {

using pf_test::at;
using pf_test::text_of;

struct Address {
  std::uint8_t octets[16];
};
// As net/pfvar.h has it.
struct FreeBsd {
  Address saddr, daddr, rsaddr, rdaddr;
  std::uint16_t sport, dport, rsport, rdport;
  std::uint8_t af, proto, proto_variant, direction;
};
struct OpenBsd {
  Address saddr, daddr, rsaddr, rdaddr;
  std::uint16_t rdomain, rrdomain;
  std::uint16_t sport, dport, rsport, rdport;
  std::uint8_t af, proto, direction;
};

// A pf that knows one connection, and was asked rightly or says ENOENT.
template <class Natlook>
std::expected<sockaddr_storage, int> asked(const std::string& client, const std::string& us, const std::string& meant) {
  const sockaddr_storage peer = at(client).address, local = at(us).address;
  const auto pf = [&](Natlook& question) {
    Address source{}, destination{};
    const bool right = question.sport == firewall::pf::put(peer, source) &&
                       question.dport == firewall::pf::put(local, destination) &&
                       std::memcmp(&source, &question.saddr, sizeof source) == 0 &&
                       std::memcmp(&destination, &question.daddr, sizeof destination) == 0 &&
                       question.af == peer.ss_family && question.proto == IPPROTO_TCP && question.direction == 2;
    errno = ENOENT;
    if (!right || meant.empty()) return -1;
    question.rdport = firewall::pf::put(at(meant).address, question.rdaddr);
    return 0;
  };
  return firewall::pf_original_destination<Natlook>(peer, local, pf);
}

}  // namespace

TEST_CASE_TEMPLATE("pf is asked where a redirected connection was going", Natlook, FreeBsd, OpenBsd) {
  const auto four = asked<Natlook>("203.0.113.9:4711", "127.0.0.1:2525", "192.0.2.25:25");
  REQUIRE(four);
  CHECK(text_of(*four) == "192.0.2.25:25");
  const auto six = asked<Natlook>("[2001:db8::9]:4711", "[::1]:2525", "[2001:db8:5::25]:587");
  REQUIRE(six);
  CHECK(text_of(*six) == "[2001:db8:5::25]:587");
}

TEST_CASE_TEMPLATE("a connection that pf does not know, and ends of two families", Natlook, FreeBsd, OpenBsd) {
  CHECK(asked<Natlook>("203.0.113.9:4711", "127.0.0.1:2525", "").error() == ENOENT);
  CHECK(asked<Natlook>("203.0.113.9:4711", "[::1]:2525", "192.0.2.25:25").error() == EAFNOSUPPORT);
}
