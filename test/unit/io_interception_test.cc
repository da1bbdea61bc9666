// What connections need that are made in somebody else's name, and known again when they come back.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <set>
#include <thread>
#include <vector>

#include "config/endpoint.h"
#include "proxy/io/connected_here.h"
#include "proxy/io/own_connections.h"
#include "proxy/io/transparent_sockets.h"
#include "test/playbooks/test_loop.h"

namespace {

using io::TransparentSockets;
using scanner::OwnedFd;

std::vector<OwnedFd> sockets(std::size_t count) {
  std::vector<OwnedFd> made;
  for (std::size_t i = 0; i < count; ++i) made.emplace_back(::dup(STDERR_FILENO));
  return made;
}

struct World {
  World() : sockets([this](int family) { asked.push_back(family); }) {}
  ~World() { loop.destroy_roots(); }
  io::Task<> take(int family, io::Duration patience) {
    io::Scope scope(loop);
    const OwnedFd taken = co_await sockets.take(family, scope, scope.now() + patience);
    taken ? ++got : ++missed;
  }
  playbook::TestLoop loop;
  std::vector<int> asked;
  TransparentSockets sockets;
  int got = 0, missed = 0;
};

sockaddr_in loopback(std::uint16_t port = 0) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = port;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}
template <class Address>
const sockaddr* any(const Address& address) {
  return reinterpret_cast<const sockaddr*>(&address);
}

in_port_t port_of(const sockaddr_storage& address) {
  return address.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(address).sin6_port
                                       : reinterpret_cast<const sockaddr_in&>(address).sin_port;
}
void set_port(sockaddr_storage& address, in_port_t port) {
  if (address.ss_family == AF_INET6) reinterpret_cast<sockaddr_in6&>(address).sin6_port = port;
  else reinterpret_cast<sockaddr_in&>(address).sin_port = port;
}

// given: a connection over loopback, which nobody has accepted yet.
struct Connected {
  explicit Connected(int family) {
    socklen_t length = family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in), size = length;
    if (family == AF_INET6) reinterpret_cast<sockaddr_in6&>(where).sin6_addr = in6addr_loopback;
    else reinterpret_cast<sockaddr_in&>(where) = loopback();
    where.ss_family = static_cast<sa_family_t>(family);
    listener = OwnedFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::bind(listener.get(), any(where), length) == 0);
    REQUIRE(::listen(listener.get(), 1) == 0);
    REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &length) == 0);
    client = OwnedFd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    REQUIRE(::connect(client.get(), any(where), length) == 0);
    REQUIRE(::getsockname(client.get(), reinterpret_cast<sockaddr*>(&from), &size) == 0);
  }
  sockaddr_storage where{}, from{};
  OwnedFd listener, client;
};

}  // namespace

TEST_CASE("sockets are asked for in batches, and those who wait get them in any case") {
  World world;
  for (int i = 0; i < 3; ++i) world.loop.spawn(world.take(AF_INET, std::chrono::seconds(5)));
  world.loop.spawn(world.take(AF_INET6, std::chrono::seconds(5)));
  world.loop.settle();
  CHECK(world.asked == std::vector<int>{AF_INET, AF_INET6});
  CHECK(world.got == 0);
  world.sockets.add(AF_INET, sockets(TransparentSockets::batch));
  world.loop.settle();
  CHECK(world.got == 3);
  // Nobody asks before half of them are gone.
  constexpr int half = TransparentSockets::batch / 2;
  for (int i = 3; i < half; ++i) world.loop.spawn(world.take(AF_INET, std::chrono::seconds(5)));
  world.loop.settle();
  CHECK(world.got == half);
  CHECK(world.asked.size() == 2);
  world.loop.spawn(world.take(AF_INET, std::chrono::seconds(5)));
  world.loop.settle();
  CHECK(world.asked == std::vector<int>{AF_INET, AF_INET6, AF_INET});
}

TEST_CASE("a request that comes to nothing is repeated, and nobody waits longer than he will") {
  World world;
  world.loop.spawn(world.take(AF_INET, std::chrono::milliseconds(2500)));
  world.loop.settle();
  CHECK(world.asked.size() == 1);
  world.sockets.add(AF_INET, {});  // lost on the way: no reason to ask at once, and again, and again
  world.loop.settle();
  CHECK(world.asked.size() == 1);
  world.loop.advance(std::chrono::milliseconds(1100));
  CHECK(world.asked.size() == 2);
  world.loop.advance(std::chrono::milliseconds(1500));
  CHECK(world.missed == 1);
  world.sockets.add(AF_INET, sockets(1));
  world.loop.spawn(world.take(AF_INET, std::chrono::seconds(0)));
  world.loop.settle();
  CHECK(world.got == 1);
}

TEST_CASE("our own connections are known by their local end, as long as they live") {
  io::OwnConnections own;
  const OwnedFd listener(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in where = loopback();
  socklen_t length = sizeof where;
  REQUIRE(::bind(listener.get(), any(where), length) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  REQUIRE(::getsockname(listener.get(), reinterpret_cast<sockaddr*>(&where), &length) == 0);
  const OwnedFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  std::shared_ptr<const void> held;
  REQUIRE(own.connect(socket.get(), any(where), length, held) == 0);
  sockaddr_in local{};
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&local), &length) == 0);
  CHECK(own.holds(any(local)));
  CHECK(!own.holds(any(where)));
  held.reset();
  CHECK(!own.holds(any(local)));
  const OwnedFd other(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sockaddr_in nobody = loopback(htons(1));
  CHECK(own.connect(other.get(), any(nobody), length, held) == ECONNREFUSED);
  CHECK(held == nullptr);
}

TEST_CASE("the kernel tells which connections this host has") {
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    Connected pair(family);
    const sockaddr_storage where = pair.where, from = pair.from;
    CHECK(io::is_connected_here(any(where), any(from)));  // nobody has accepted it yet
    CHECK(io::is_connected_here(any(from), any(where)));
    OwnedFd server(::accept(pair.listener.get(), nullptr, nullptr));
    CHECK(io::is_connected_here(any(where), any(from)));
    pair.client.reset();
    server.reset();
    CHECK(!io::is_connected_here(any(where), any(from)));  // the listener remains
    CHECK(!io::is_connected_here(any(from), any(where)));  // its last packets may still be waited for
  }
}

TEST_CASE("the kernel is asked again when there was no descriptor for it the first time") {
  const Connected pair(AF_INET);
  // A thread of its own: each has its own socket to the kernel.
  bool starved = true, later = false;
  std::thread([&] {
    rlimit former{};
    ::getrlimit(RLIMIT_NOFILE, &former);
    const rlimit none{0, former.rlim_max};
    ::setrlimit(RLIMIT_NOFILE, &none);
    starved = !io::is_connected_here(any(pair.where), any(pair.from));
    ::setrlimit(RLIMIT_NOFILE, &former);
    later = io::is_connected_here(any(pair.where), any(pair.from));
  }).join();
  CHECK(starved);
  CHECK(later);
}

TEST_CASE("whoever speaks for a client does not take the port from which it speaks with that server") {
  for (const int family : {AF_INET, AF_INET6}) {
    CAPTURE(family);
    bool taken_elsewhere = false;  // not where another program has the port as well
    for (int tries = 0; tries < 10 && !taken_elsewhere; ++tries) {
      Connected pair(family);
      const std::uint16_t taken = ntohs(port_of(pair.from));
      // The kernel would give the port away: what is bound so shares it.
      const int on = 1;
      const auto bind = [&](const sockaddr_storage& server) {
        const OwnedFd socket(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0));
        REQUIRE(::setsockopt(socket.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
        REQUIRE(io::bind_as(socket.get(), pair.from, any(server), io::PortRange(taken, taken)) == 0);
        sockaddr_storage bound{};
        socklen_t length = sizeof bound;
        REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&bound), &length) == 0);
        return ntohs(port_of(bound));
      };
      REQUIRE(::setsockopt(pair.client.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0);
      CHECK(bind(pair.where) != taken);
      sockaddr_storage elsewhere = pair.where;
      set_port(elsewhere, htons(1));
      taken_elsewhere = bind(elsewhere) == taken;
    }
    CHECK(taken_elsewhere);
  }
}

TEST_CASE("whoever speaks for a client has ports that clients do not pick") {
  const sockaddr_in server = loopback(htons(25));
  std::set<std::uint16_t> ports;
  std::vector<OwnedFd> sockets;
  for (int i = 0; i < 300; ++i) {
    OwnedFd& made = sockets.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_storage client{};
    reinterpret_cast<sockaddr_in&>(client) = loopback(htons(40'000));
    REQUIRE(io::bind_as(made.get(), client, any(server)) == 0);
    sockaddr_in bound{};
    socklen_t length = sizeof bound;
    REQUIRE(::getsockname(made.get(), reinterpret_cast<sockaddr*>(&bound), &length) == 0);
    CHECK(bound.sin_addr.s_addr == htonl(INADDR_LOOPBACK));
    CHECK(ntohs(bound.sin_port) >= io::first_spoofed_port);
    CHECK(ntohs(bound.sin_port) <= io::last_spoofed_port);
    ports.insert(bound.sin_port);
  }
  CHECK(ports.size() == 300);
  const OwnedFd another(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_storage foreign{};
  reinterpret_cast<sockaddr_in&>(foreign) = loopback();
  reinterpret_cast<sockaddr_in&>(foreign).sin_addr.s_addr = htonl(0xCB007107);  // 203.0.113.7
  CHECK(io::bind_as(another.get(), foreign, any(server)) == EADDRNOTAVAIL);
}
