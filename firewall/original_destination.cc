#include "firewall/original_destination.h"

#include <netinet/in.h>

#include <algorithm>
#include <cerrno>

#include "config/endpoint.h"
#include "firewall/pf_device.h"

namespace firewall {
namespace {

// linux/netfilter_ipv4.h and linux/netfilter_ipv6/ip6_tables.h, which do not go together with netinet/in.h.
constexpr int so_original_dst = 80;

config::Endpoint endpoint_of(const sockaddr_storage& address) {
  config::Endpoint endpoint;
  endpoint.address = address;
  endpoint.length = sizeof address;
  return endpoint;
}

std::expected<sockaddr_storage, int> local_address(int socket) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return std::unexpected(errno);
  return address;
}

std::expected<sockaddr_storage, int> taken_by_pf(int socket, int pf) {
  const auto local = local_address(socket);
  if (!local) return local;
  sockaddr_storage peer{};
  socklen_t length = sizeof peer;
  if (::getpeername(socket, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return std::unexpected(errno);
  return ask_pf(pf, peer, *local);
}

std::expected<sockaddr_storage, int> redirected(int socket) {
  const auto local = local_address(socket);
  if (!local) return local;
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  const bool six =
      local->ss_family == AF_INET6 && !IN6_IS_ADDR_V4MAPPED(&reinterpret_cast<const sockaddr_in6&>(*local).sin6_addr);
  const int level = six ? IPPROTO_IPV6 : IPPROTO_IP;
  if (::getsockopt(socket, level, so_original_dst, &address, &length) != 0) return std::unexpected(errno);
  return address;
}

bool is_ours(const config::Listener& listener, const config::Endpoint& original,
             const std::function<bool(const sockaddr*)>& is_local) {
  if (listener.address.is_unix() || port_of(listener.address) != port_of(original)) return false;
  return is_wildcard(listener.address) ? is_local(original.get())
                                       : config::octets_of(listener.address.get()) == config::octets_of(original.get());
}

}  // namespace

std::expected<sockaddr_storage, int> original_destination(int socket, config::Intercept how, int pf) {
  switch (how) {
    case config::Intercept::redirect:
      return redirected(socket);
    case config::Intercept::tproxy:
    case config::Intercept::divert:
      return local_address(socket);
    case config::Intercept::pf_rdr:
      return taken_by_pf(socket, pf);
    case config::Intercept::none:
      break;
  }
  return std::unexpected(ENOTSUP);
}

std::string_view to_string(Stray stray) {
  switch (stray) {
    case Stray::none:
      return "none";
    case Stray::direct:
      return "not_intercepted";
    case Stray::port:
      return "port_not_intercepted";
    case Stray::network:
      return "destination_not_protected";
  }
  return "";
}

Stray judge_destination(const config::Listener& listener, const std::vector<config::Listener>& all,
                        const sockaddr_storage& original, const std::function<bool(const sockaddr*)>& is_local) {
  const config::Endpoint meant = endpoint_of(original);
  const auto ours = [&](const config::Listener& each) { return is_ours(each, meant, is_local); };
  if (std::ranges::any_of(all, ours)) return Stray::direct;
  if (std::ranges::find(listener.ports, port_of(meant)) == listener.ports.end()) return Stray::port;
  if (listener.direction == config::Direction::outgoing) return Stray::none;
  const bool allowed =
      listener.protected_networks.empty() ? is_local(meant.get()) : contains(listener.protected_networks, meant.get());
  return allowed ? Stray::none : Stray::network;
}

}  // namespace firewall
