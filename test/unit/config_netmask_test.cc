#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <netinet/in.h>

#include <cstring>

#include "config/netmask.h"

namespace config {
namespace {

sockaddr_storage address_of(const char* text) {
  sockaddr_storage storage{};
  auto* four = reinterpret_cast<sockaddr_in*>(&storage);
  auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
  if (inet_pton(AF_INET, text, &four->sin_addr) == 1) storage.ss_family = AF_INET;
  else if (inet_pton(AF_INET6, text, &six->sin6_addr) == 1) storage.ss_family = AF_INET6;
  REQUIRE(storage.ss_family != 0);
  return storage;
}

bool holds(const char* network, const char* address) {
  const auto netmask = parse_netmask(network);
  REQUIRE_MESSAGE(netmask.has_value(), network);
  const sockaddr_storage storage = address_of(address);
  return contains(*netmask, reinterpret_cast<const sockaddr*>(&storage));
}

}  // namespace

TEST_CASE("a network holds the addresses that share its leading bits") {
  CHECK(holds("192.0.2.0/24", "192.0.2.255"));
  CHECK_FALSE(holds("192.0.2.0/24", "192.0.3.0"));
  CHECK(holds("192.0.2.128/25", "192.0.2.128"));
  CHECK_FALSE(holds("192.0.2.128/25", "192.0.2.127"));
  CHECK(holds("192.0.2.7", "192.0.2.7"));
  CHECK_FALSE(holds("192.0.2.7", "192.0.2.6"));
  CHECK(holds("0.0.0.0/0", "255.255.255.255"));
  CHECK_FALSE(holds("0.0.0.0/0", "2001:db8::1"));
  CHECK(holds("2001:db8::/33", "2001:db8:7fff::1"));
  CHECK_FALSE(holds("2001:db8::/33", "2001:db8:8000::1"));
  CHECK(holds("::1", "::1"));
  CHECK(holds("::/0", "192.0.2.1"));
}

TEST_CASE("an IPv4 address is the same through an IPv6 socket") {
  CHECK(holds("192.0.2.0/24", "::ffff:192.0.2.9"));
  CHECK(holds("::ffff:192.0.2.0/120", "192.0.2.9"));
}

TEST_CASE("what is no network is refused with a sentence") {
  for (const char* text : {"", "/", "/8", "192.0.2", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/8x",
                           "192.0.2.1/24", "2001:db8::1/64", "::/129", "example.net", "192.0.2.0/24/24"}) {
    const auto netmask = parse_netmask(text);
    REQUIRE_MESSAGE(!netmask.has_value(), text);
    CHECK_FALSE(netmask.error().empty());
  }
}

TEST_CASE("a UNIX socket's peer is in no network") {
  sockaddr local{};
  local.sa_family = AF_UNIX;
  CHECK_FALSE(contains(*parse_netmask("0.0.0.0/0"), &local));
  CHECK_FALSE(contains(*parse_netmask("::/0"), &local));
}

}  // namespace config
