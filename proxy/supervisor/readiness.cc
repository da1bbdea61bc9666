#include "proxy/supervisor/readiness.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>

#include "proxy/admin/escape.h"
#include "scanner/packet_socket.h"

namespace supervisor {

void notify_service_manager(std::string_view state) {
  const char* const path = std::getenv("NOTIFY_SOCKET");
  if (path == nullptr || (*path != '/' && *path != '@')) return;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const std::size_t length = std::strlen(path);
  if (length >= sizeof address.sun_path) return;
  std::memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0';  // the abstract namespace
  const scanner::OwnedFd fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) return;
  // Nothing depends on it: a manager that does not listen is not ours to wait for.
  ::sendto(fd.get(), state.data(), state.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
           reinterpret_cast<const sockaddr*>(&address),
           static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length));
}

std::string ready_line(const std::vector<config::Listener>& listeners, const std::vector<std::string>& addresses,
                       int pid) {
  std::string line = "{\"listeners\":[";
  for (std::size_t i = 0; i < listeners.size() && i < addresses.size(); ++i) {
    line += i == 0 ? "{\"name\":\"" : ",{\"name\":\"";
    admin::append_json(line, listeners[i].name, 1024);
    line += "\",\"address\":\"";
    admin::append_json(line, addresses[i], 1024);
    line += "\"}";
  }
  return line + fmt::format("],\"pid\":{}}}\n", pid);
}

}  // namespace supervisor
