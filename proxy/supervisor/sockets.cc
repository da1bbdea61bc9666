#include "proxy/supervisor/sockets.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fcntl.h>
#include <netinet/in.h>

#include <cerrno>
#include <cstring>

#include "config/endpoint.h"
#include "firewall/pf_device.h"
#include "firewall/transparent_socket.h"

namespace supervisor {
namespace {

using scanner::OwnedFd;

// As many as net.core.somaxconn lets (listen(2)). When the queue is full the last packet of a handshake is dropped: the client
// believes itself connected and waits for a banner, for long, as nobody but the server speaks first in SMTP.
constexpr int backlog = 65535;

enum class Share { no, yes };

// Bound, or none with errno set.
OwnedFd bind_to(const sockaddr* address, socklen_t length, Share share) {
  OwnedFd fd(::socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd) return {};
  const int on = 1;
  // SO_REUSEADDR: connections of an earlier run in TIME_WAIT are no reason not to start; a listening socket still is.
  if (::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) return {};
  if (share == Share::yes && ::setsockopt(fd.get(), SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) return {};
  if (address->sa_family == AF_INET6 && ::setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) != 0)
    return {};
  if (::bind(fd.get(), address, length) != 0) {
    const int why = errno;
    fd.reset();
    errno = why;
  }
  return fd;
}

std::uint16_t port_of(const sockaddr_storage& address) {
  if (address.ss_family == AF_INET6) return ntohs(reinterpret_cast<const sockaddr_in6&>(address).sin6_port);
  return ntohs(reinterpret_cast<const sockaddr_in&>(address).sin_port);
}

std::string trouble(const config::Listener& listener, const sockaddr_storage& address, int error) {
  std::string_view more;
  if (error == EADDRINUSE) more = ": the port is taken by another program, or by another gatepost";
  if (error == EACCES) more = ": a port below 1024 needs root or CAP_NET_BIND_SERVICE";
  if (error == EADDRNOTAVAIL) more = ": no interface of this machine has the address";
  return fmt::format("listener \"{}\": {} (port {}): {}{}", listener.name, to_text(address), port_of(address),
                     std::strerror(error), more);
}

// The sockets of one listener, one per loop; `address` gets the real port.
std::expected<std::vector<OwnedFd>, int> open_listener(sockaddr_storage& address, socklen_t length, unsigned loops,
                                                       bool transparent) {
  auto* const where = reinterpret_cast<sockaddr*>(&address);
  if (port_of(address) != 0) {
    if (const int error = probe(where, length); error != 0) return std::unexpected(error);
  }
  std::vector<OwnedFd> sockets;
  for (unsigned loop = 0; loop < loops; ++loop) {
    OwnedFd fd = bind_to(where, length, Share::yes);
    if (fd && transparent)
      if (const auto made = firewall::make_transparent(fd.get(), address.ss_family); !made)
        return std::unexpected(made.error());
    if (!fd || ::listen(fd.get(), backlog) != 0) return std::unexpected(errno);
    // Port 0: the first socket decides.
    socklen_t size = sizeof address;
    if (::getsockname(fd.get(), where, &size) != 0) return std::unexpected(errno);
    sockets.push_back(std::move(fd));
  }
  return sockets;
}

std::expected<void, std::string> add_unix(const config::Listener& listener, Listening& out) {
  const std::string name = config::to_text(listener.address);
  const auto fail = [&](const std::string& why) {
    return std::unexpected(fmt::format("listener \"{}\": {}: {}", listener.name, name, why));
  };
  auto opened = listen_on_unix(listener.address, backlog);
  if (!opened) return fail(opened.error());
  for (auto& loop : out.sockets) {
    loop.emplace_back(::fcntl(opened->socket.get(), F_DUPFD_CLOEXEC, 0));
    if (!loop.back()) return fail(std::strerror(errno));
  }
  out.files.push_back(std::move(opened->file));
  out.addresses.push_back(name);
  return {};
}

std::expected<void, std::string> add_network(const config::Listener& listener, Listening& out) {
  sockaddr_storage address = listener.address.address;
  auto sockets = open_listener(address, listener.address.length, static_cast<unsigned>(out.sockets.size()),
                               listener.intercept == config::Intercept::tproxy);
  if (!sockets) return std::unexpected(trouble(listener, address, sockets.error()));
  for (std::size_t loop = 0; loop < out.sockets.size(); ++loop)
    out.sockets[loop].push_back(std::move((*sockets)[loop]));
  out.addresses.push_back(to_text(address));
  return {};
}

std::expected<void, std::string> add_pf(const config::Listener& listener, Listening& out) {
  if (out.pf) return {};
  const auto device = firewall::open_pf();
  if (!device)
    return std::unexpected(fmt::format(
        "listener \"{}\": intercept \"pf-rdr\" needs {}: {}", listener.name, firewall::pf_path,
        device.error() == ENOTSUP ? "this system has no pf" : std::strerror(device.error())));
  out.pf.reset(*device);
  return {};
}

}  // namespace

std::string to_text(const sockaddr_storage& address) {
  char text[INET6_ADDRSTRLEN] = "?";
  if (address.ss_family == AF_INET6) {
    ::inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(address).sin6_addr, text, sizeof text);
    return fmt::format("[{}]:{}", text, port_of(address));
  }
  ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(address).sin_addr, text, sizeof text);
  return fmt::format("{}:{}", text, port_of(address));
}

int probe(const sockaddr* address, socklen_t length) {
  const OwnedFd fd = bind_to(address, length, Share::no);
  // Two bound sockets with SO_REUSEADDR may share an address until one listens.
  return fd && ::listen(fd.get(), 1) == 0 ? 0 : errno;
}

std::expected<Listening, std::string> listen_on(const std::vector<config::Listener>& listeners, unsigned loops) {
  Listening out;
  out.sockets.resize(loops);
  for (const config::Listener& listener : listeners) {
    auto added = listener.address.is_unix() ? add_unix(listener, out) : add_network(listener, out);
    if (added && listener.intercept == config::Intercept::pf_rdr) added = add_pf(listener, out);
    if (!added) return std::unexpected(std::move(added.error()));
  }
  return out;
}

}  // namespace supervisor
