#include "proxy/io/transparent_sockets.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <iterator>

#include "proxy/io/connected_here.h"

namespace io {
namespace {

constexpr Duration patience = std::chrono::seconds(1);  // then a request counts as lost

}  // namespace

int bind_as(int socket, sockaddr_storage client, const sockaddr* server, PortRange ports) {
  constexpr int tries = 32;
  const bool six = client.ss_family == AF_INET6;
  const socklen_t length = six ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  in_port_t& port =
      six ? reinterpret_cast<sockaddr_in6&>(client).sin6_port : reinterpret_cast<sockaddr_in&>(client).sin_port;
  for (int left = tries; left >= 0; --left) {
    const std::uint32_t chosen = ports.first + ::arc4random_uniform(ports.last - ports.first + 1U);
    port = left > 0 ? htons(static_cast<std::uint16_t>(chosen)) : in_port_t{0};
    if (left > 0 && is_connected_here(server, reinterpret_cast<const sockaddr*>(&client))) continue;
    if (::bind(socket, reinterpret_cast<const sockaddr*>(&client), length) == 0) return 0;
    if (errno != EADDRINUSE) break;
  }
  return errno;
}

TransparentSockets::Shelf& TransparentSockets::shelf(int family) { return family == AF_INET6 ? six_ : four_; }

void TransparentSockets::add(int family, std::vector<scanner::OwnedFd> sockets) {
  if (sockets.empty()) return;  // lost for want of descriptors: asked for again when patience has ended
  Shelf& where = shelf(family);
  where.asked -= std::min(where.asked, batch);
  std::ranges::move(sockets, std::back_inserter(where.sockets));
  where.waiters.wake_all();
}

// Half a batch is left while the next one comes.
void TransparentSockets::refill(int family, TimePoint now) {
  Shelf& where = shelf(family);
  if (now - where.asked_at >= patience) where.asked = 0;
  if (where.sockets.size() + where.asked > batch / 2) return;
  where.asked += batch;
  where.asked_at = now;
  request_(family);
}

Task<scanner::OwnedFd> TransparentSockets::take(int family, Scope& scope, TimePoint until) {
  Shelf& where = shelf(family);
  refill(family, scope.now());
  Waiter waiter(where.waiters);
  while (where.sockets.empty()) {
    if (scope.now() >= until) co_return scanner::OwnedFd();
    co_await Wait(scope, std::min(until, scope.now() + patience), waiter.woken);
    refill(family, scope.now());
  }
  scanner::OwnedFd taken = std::move(where.sockets.back());
  where.sockets.pop_back();
  co_return std::move(taken);
}

}  // namespace io
