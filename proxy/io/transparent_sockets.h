// Sockets that may take any source address (firewall/transparent_socket.h), for the connections of one loop. Only root
// can make them: the supervisor sends them, before they are needed.
#pragma once

#include <sys/socket.h>

#include <cstdint>
#include <functional>
#include <vector>

#include "proxy/io/waiters.h"
#include "scanner/packet_socket.h"

namespace io {

// The ports from which we speak for a client, below those that Linux and Windows pick for connections of their own. On
// a server's own host a client that comes to have the same port as we have for it waits until we are through.
inline constexpr std::uint16_t first_spoofed_port = 5001, last_spoofed_port = 32767;
struct PortRange {
  std::uint16_t first = first_spoofed_port, last = last_spoofed_port;
};
// Binds to the client's address and to one of these ports, whichever port `client` has, but none from which the client
// itself speaks with a `server` on this host, or with us in its stead; to any other when they are in use. 0, or an
// errno.
int bind_as(int socket, sockaddr_storage client, const sockaddr* server, PortRange ports = PortRange());

class TransparentSockets {
 public:
  static constexpr std::size_t batch = 32;  // sent at each request, of one family

  // `request` asks for a batch; it must not block, and may come to nothing.
  explicit TransparentSockets(std::function<void(int family)> request) : request_(std::move(request)) {}

  void add(int family, std::vector<scanner::OwnedFd> sockets);  // the answer to one request
  // AF_INET or AF_INET6. None: none has come in time.
  Task<scanner::OwnedFd> take(int family, Scope& scope, TimePoint until);

 private:
  struct Shelf {
    std::vector<scanner::OwnedFd> sockets;
    std::size_t asked = 0;  // of them that are on their way
    TimePoint asked_at{};
    Waiters waiters;
  };
  Shelf& shelf(int family);
  void refill(int family, TimePoint now);
  std::function<void(int family)> request_;
  Shelf four_, six_;
};

}  // namespace io
