// What connections need that are made in somebody else's name, and known again when they come back.
#include <doctest/doctest.h>

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <vector>

#include "config/endpoint.h"
#include "proxy/io/own_connections.h"
#include "proxy/io/transparent_sockets.h"
#include "test/playbooks/test_loop.h"

namespace {

using io::TransparentSockets;
using scanner::OwnedFd;

OwnedFd a_socket() { return OwnedFd(::dup(STDERR_FILENO)); }

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
const sockaddr* any(const sockaddr_in& address) { return reinterpret_cast<const sockaddr*>(&address); }

}  // namespace

TEST_CASE("sockets are asked for in batches, and those who wait get them in any case") {
  World world;
  for (int i = 0; i < 3; ++i) world.loop.spawn(world.take(AF_INET, std::chrono::seconds(5)));
  world.loop.spawn(world.take(AF_INET6, std::chrono::seconds(5)));
  world.loop.settle();
  CHECK(world.asked == std::vector<int>{AF_INET, AF_INET6});
  CHECK(world.got == 0);
  for (std::size_t i = 0; i < TransparentSockets::batch; ++i) world.sockets.add(AF_INET, a_socket());
  world.loop.settle();
  CHECK(world.got == 3);
  // Thirteen are left: nobody asks before half of them are gone.
  for (int i = 0; i < 5; ++i) world.loop.spawn(world.take(AF_INET, std::chrono::seconds(5)));
  world.loop.settle();
  CHECK(world.got == 8);
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
  world.loop.advance(std::chrono::milliseconds(1100));
  CHECK(world.asked.size() == 2);
  world.loop.advance(std::chrono::milliseconds(1500));
  CHECK(world.missed == 1);
  world.sockets.add(AF_INET, a_socket());
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
