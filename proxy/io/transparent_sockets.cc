#include "proxy/io/transparent_sockets.h"

#include <sys/socket.h>

#include <algorithm>

namespace io {
namespace {

constexpr Duration patience = std::chrono::seconds(1);  // then a request counts as lost

}  // namespace

TransparentSockets::Shelf& TransparentSockets::shelf(int family) { return family == AF_INET6 ? six_ : four_; }

void TransparentSockets::add(int family, scanner::OwnedFd socket) {
  Shelf& where = shelf(family);
  where.sockets.push_back(std::move(socket));
  if (where.asked > 0) --where.asked;
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
