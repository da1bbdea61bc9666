#include "proxy/io/connected_here.h"

#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <unistd.h>

#include <cstring>

#include "scanner/packet_socket.h"

namespace io {
namespace {

struct Question {
  nlmsghdr header{};
  inet_diag_req_v2 request{};
};

template <std::size_t size>
std::uint16_t take_end(const sockaddr* from, std::uint32_t (&address)[size]) {
  if (from->sa_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(*from);
    std::memcpy(address, &six.sin6_addr, sizeof six.sin6_addr);
    return six.sin6_port;
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(*from);
  std::memcpy(address, &four.sin_addr, sizeof four.sin_addr);
  return four.sin_port;
}

Question ask_for(const sockaddr* local, const sockaddr* remote, std::uint32_t number) {
  Question question;
  question.header.nlmsg_seq = number;
  question.header.nlmsg_len = sizeof question;
  question.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
  question.header.nlmsg_flags = NLM_F_REQUEST;
  inet_diag_req_v2& request = question.request;
  request.sdiag_family = static_cast<std::uint8_t>(local->sa_family);
  request.sdiag_protocol = IPPROTO_TCP;
  request.idiag_states = ~0U;
  request.id.idiag_sport = take_end(local, request.id.idiag_src);
  request.id.idiag_dport = take_end(remote, request.id.idiag_dst);
  request.id.idiag_cookie[0] = request.id.idiag_cookie[1] = INET_DIAG_NOCOOKIE;
  return question;
}

}  // namespace

// The kernel answers within send(): nobody waits.
bool is_connected_here(const sockaddr* local, const sockaddr* remote) {
  thread_local scanner::OwnedFd kernel;
  // Descriptors may have been short the last time.
  if (!kernel) kernel = scanner::OwnedFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG));
  thread_local std::uint32_t number = 0;
  const Question question = ask_for(local, remote, ++number);
  if (!kernel || ::send(kernel.get(), &question, sizeof question, 0) < 0) return false;
  struct {
    nlmsghdr header;
    inet_diag_msg found;
    char more[1024];
  } answer{};
  ssize_t length = 0;
  do length = ::recv(kernel.get(), &answer, sizeof answer, MSG_DONTWAIT);  // one that nobody took may come first
  while (length >= static_cast<ssize_t>(sizeof answer.header) && answer.header.nlmsg_seq != number);
  if (length < static_cast<ssize_t>(sizeof answer.header + sizeof answer.found)) return false;
  if (answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY) return false;
  const unsigned state = answer.found.idiag_state;
  return state != TCP_LISTEN && state != TCP_TIME_WAIT && state != TCP_CLOSE;
}

}  // namespace io
