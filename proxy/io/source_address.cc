#include "proxy/io/source_address.h"

#include <sys/socket.h>

#include "proxy/io/tcp_stream.h"

namespace io {

std::string source_towards(const config::Endpoint& server) {
  if (server.get()->sa_family == AF_UNIX) return "127.0.0.1";  // so Postfix and others call those who come by a socket
  // Connecting a datagram socket only looks the route up.
  const OwnedFd socket(::socket(server.get()->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket || ::connect(socket.get(), server.get(), server.length) != 0) return {};
  sockaddr_storage ours{};
  socklen_t length = sizeof ours;
  auto* const address = reinterpret_cast<sockaddr*>(&ours);
  return ::getsockname(socket.get(), address, &length) == 0 ? format_ip(address) : std::string();
}

}  // namespace io
