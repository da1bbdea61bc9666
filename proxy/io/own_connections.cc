#include "proxy/io/own_connections.h"

#include <netinet/in.h>

#include <cerrno>

#include "config/config.h"

namespace io {
namespace {

std::pair<std::array<std::uint8_t, 16>, std::uint16_t> key_of(const sockaddr* address) {
  const std::uint16_t port = address->sa_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6*>(address)->sin6_port
                                                            : reinterpret_cast<const sockaddr_in*>(address)->sin_port;
  return {config::octets_of(address), port};
}

}  // namespace

class OwnConnections::Held {
 public:
  Held(OwnConnections& owner, Key key) : owner_(owner), key_(std::move(key)) {}
  Held(const Held&) = delete;
  Held& operator=(const Held&) = delete;
  ~Held() {
    const std::lock_guard lock(owner_.mutex_);
    owner_.ends_.extract(key_);
  }

 private:
  OwnConnections& owner_;
  Key key_;
};

int OwnConnections::connect(int socket, const sockaddr* server, socklen_t length, std::shared_ptr<const void>& held) {
  const std::lock_guard lock(mutex_);
  const int error = ::connect(socket, server, length) == 0 ? 0 : errno;
  if (error != 0 && error != EINPROGRESS) return error;
  sockaddr_storage local{};
  socklen_t size = sizeof local;
  ::getsockname(socket, reinterpret_cast<sockaddr*>(&local), &size);
  const Key key = key_of(reinterpret_cast<const sockaddr*>(&local));
  auto entry = ends_.insert(key);
  try {
    held = std::make_shared<const Held>(*this, key);
  } catch (...) {
    ends_.erase(entry);
    throw;
  }
  return error;
}

bool OwnConnections::holds(const sockaddr* peer) const {
  const std::lock_guard lock(mutex_);
  return ends_.contains(key_of(peer));
}

}  // namespace io
