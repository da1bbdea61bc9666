// The local ends of all connections that this process makes and whose server has not said anything yet, so that one of
// them is known when it comes back to a listener of ours: a loop (T:H3), in which nobody says anything. Later a client whose
// address we have taken may come by the same port. Used by all loops, and only where connections are intercepted.
#pragma once

#include <sys/socket.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <utility>

namespace io {

class OwnConnections {
 public:
  // connect(2); a connection that has begun stands in the list before anybody can accept it, as long as `held` is kept.
  // 0 or an errno.
  int connect(int socket, const sockaddr* server, socklen_t length, std::shared_ptr<const void>& held);
  bool holds(const sockaddr* peer) const;

 private:
  using Key = std::pair<std::array<std::uint8_t, 16>, std::uint16_t>;  // address, IPv4 mapped; port
  class Held;
  mutable std::mutex mutex_;
  std::multiset<Key> ends_;
};

}  // namespace io
