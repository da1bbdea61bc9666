#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "config/endpoint.h"
#include "firewall/local_addresses.h"
#include "firewall/original_destination.h"

namespace {

using config::Direction;
using config::Intercept;
using firewall::Stray;

config::Endpoint at(const std::string& text) { return *config::parse_address(text); }

config::Listener listener(const std::string& address, std::vector<std::uint16_t> ports = {25}) {
  config::Listener made;
  made.address = at(address);
  made.intercept = Intercept::redirect;
  made.ports = std::move(ports);
  return made;
}

config::Netmask network(const std::string& text) { return *config::parse_netmask(text); }

// This host has 192.0.2.1 and 2001:db8::1.
bool is_local(const sockaddr* address) {
  return contains(network("192.0.2.1"), address) || contains(network("2001:db8::1"), address);
}

Stray judged(const config::Listener& listener, const std::string& original,
             std::vector<config::Listener> others = {}) {
  others.push_back(listener);
  return firewall::judge_destination(listener, others, at(original).address, is_local);
}

}  // namespace

TEST_CASE("incoming mail goes to this host alone, unless networks are protected") {
  config::Listener incoming = listener("0.0.0.0:2525");
  CHECK(judged(incoming, "192.0.2.1:25") == Stray::none);
  CHECK(judged(incoming, "[2001:db8::1]:25") == Stray::none);
  CHECK(judged(incoming, "192.0.2.2:25") == Stray::network);
  incoming.protected_networks = {network("198.51.100.0/24"), network("2001:db8:5::/64")};
  CHECK(judged(incoming, "192.0.2.1:25") == Stray::network);
  CHECK(judged(incoming, "198.51.100.7:25") == Stray::none);
  CHECK(judged(incoming, "[2001:db8:5::25]:25") == Stray::none);
  CHECK(judged(incoming, "[2001:db8:6::25]:25") == Stray::network);
}

TEST_CASE("outgoing mail goes anywhere, but by the listed ports only") {
  config::Listener outgoing = listener("0.0.0.0:2525", {25, 587});
  outgoing.direction = Direction::outgoing;
  CHECK(judged(outgoing, "203.0.113.1:25") == Stray::none);
  CHECK(judged(outgoing, "203.0.113.1:587") == Stray::none);
  CHECK(judged(outgoing, "203.0.113.1:22") == Stray::port);
  CHECK(judged(outgoing, "203.0.113.1:0") == Stray::port);
}

TEST_CASE("who has come to a listener of ours itself was not intercepted, whatever the other rules would say") {
  config::Listener outgoing = listener("0.0.0.0:2525", {25, 2525});
  outgoing.direction = Direction::outgoing;
  CHECK(judged(outgoing, "192.0.2.1:2525") == Stray::direct);
  CHECK(judged(outgoing, "203.0.113.1:2525") == Stray::none);  // somebody else's port of this number
  CHECK(judged(outgoing, "192.0.2.1:25") == Stray::none);      // the MTA on this host: no loop
  CHECK(judged(outgoing, "192.0.2.1:25", {listener("192.0.2.1:25")}) == Stray::direct);
  CHECK(judged(outgoing, "192.0.2.1:587", {listener("192.0.2.9:587")}) == Stray::port);
  config::Listener unix_listener;
  unix_listener.address = *config::parse_unix("unix:/run/x.sock");
  CHECK(judged(outgoing, "192.0.2.1:25", {unix_listener}) == Stray::none);
}

TEST_CASE("a socket that nobody has redirected has no original destination") {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(socket >= 0);
  CHECK(!firewall::original_destination(socket, Intercept::redirect));
  CHECK(firewall::original_destination(socket, Intercept::tproxy)->ss_family == AF_INET);
  CHECK(!firewall::original_destination(socket, Intercept::pf_rdr));
  ::close(socket);
  CHECK(firewall::original_destination(-1, Intercept::redirect).error() == EBADF);
}

TEST_CASE("the addresses of this host") {
  firewall::LocalAddresses addresses;
  const auto now = std::chrono::steady_clock::now();
  for (const char* here : {"127.0.0.1:1", "127.9.9.9:1"}) CHECK(addresses.holds(at(here).get(), now));
  for (const char* elsewhere : {"192.0.2.77:1", "[2001:db8::77]:1"}) CHECK(!addresses.holds(at(elsewhere).get(), now));
}
