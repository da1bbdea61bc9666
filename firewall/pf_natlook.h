// pf: where a connection that an rdr rule has taken was going (pf(4), DIOCNATLOOK on /dev/pf). The layout of the question
// differs between the systems, so it is a parameter: struct pfioc_natlook of net/pfvar.h there, a copy of it in the tests.
// Not run on a BSD kernel.
#pragma once

#include <netinet/in.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <expected>

namespace firewall {

namespace pf {

inline constexpr std::uint8_t direction_out = 2;  // PF_OUT: how the state was made that replies go by

// `address` is a struct pf_addr: the octets of either family at its beginning.
template <class Address>
std::uint16_t put(const sockaddr_storage& from, Address& address) {
  if (from.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(from);
    std::memcpy(&address, &six.sin6_addr, sizeof six.sin6_addr);
    return six.sin6_port;
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(from);
  std::memcpy(&address, &four.sin_addr, sizeof four.sin_addr);
  return four.sin_port;
}

template <class Address>
sockaddr_storage taken(sa_family_t family, const Address& address, std::uint16_t port) {
  sockaddr_storage to{};
  to.ss_family = family;
  if (family == AF_INET6) {
    auto& six = reinterpret_cast<sockaddr_in6&>(to);
    std::memcpy(&six.sin6_addr, &address, sizeof six.sin6_addr);
    six.sin6_port = port;
  } else {
    auto& four = reinterpret_cast<sockaddr_in&>(to);
    std::memcpy(&four.sin_addr, &address, sizeof four.sin_addr);
    four.sin_port = port;
  }
  return to;
}

}  // namespace pf

// `ask(question)` is ioctl(pf, DIOCNATLOOK, &question): 0, or -1 with errno. `peer` and `local` are the two ends of the
// accepted connection, of one family. The error is an errno: ENOENT when pf knows no such state (a direct connection).
template <class Natlook, class Ask>
std::expected<sockaddr_storage, int> pf_original_destination(const sockaddr_storage& peer, const sockaddr_storage& local,
                                                             Ask ask) {
  if (peer.ss_family != local.ss_family || (peer.ss_family != AF_INET && peer.ss_family != AF_INET6))
    return std::unexpected(EAFNOSUPPORT);
  Natlook question{};
  question.sport = pf::put(peer, question.saddr);
  question.dport = pf::put(local, question.daddr);
  question.af = static_cast<decltype(question.af)>(peer.ss_family);
  question.proto = IPPROTO_TCP;
  question.direction = pf::direction_out;
  if (ask(question) != 0) return std::unexpected(errno);
  return pf::taken(peer.ss_family, question.rdaddr, question.rdport);
}

}  // namespace firewall
