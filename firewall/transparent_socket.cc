#include "firewall/transparent_socket.h"

#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>

#include "firewall/marks.h"

namespace firewall {

std::expected<void, int> make_transparent(int socket, int family) {
  const int on = 1;
  const int level = family == AF_INET6 ? IPPROTO_IPV6 : IPPROTO_IP;
  const int name = family == AF_INET6 ? IPV6_TRANSPARENT : IP_TRANSPARENT;
  if (::setsockopt(socket, level, name, &on, sizeof on) != 0) return std::unexpected(errno);
  return {};
}

std::expected<int, int> transparent_socket(int family) {
  const int socket = ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (socket < 0) return std::unexpected(errno);
  const int on = 1;
  const std::uint32_t mark = mark_own;
  const bool made = make_transparent(socket, family) &&
                    ::setsockopt(socket, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on) == 0 &&
                    ::setsockopt(socket, SOL_SOCKET, SO_MARK, &mark, sizeof mark) == 0;
  if (made) return socket;
  const int why = errno;
  ::close(socket);
  return std::unexpected(why);
}

}  // namespace firewall
