#include "scanner/packet_socket.h"

#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <cstring>
#include <system_error>

namespace scanner {
namespace {

constexpr std::size_t max_octets = 65536;
constexpr std::size_t max_fds = 4;  // room to receive, and close, what nobody should send

// Takes the first descriptor into `fd`, closes all others; returns how many came.
std::size_t take_descriptors(msghdr& message, OwnedFd& fd) {
  std::size_t count = 0;
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      if (count++ == 0) fd.reset(received);
      else ::close(received);
    }
  }
  return count;
}

}  // namespace

void OwnedFd::reset(int fd) {
  if (fd_ >= 0 && fd_ != fd) ::close(fd_);
  fd_ = fd;
}

std::expected<std::pair<OwnedFd, OwnedFd>, int> try_packet_pair() {
  int fds[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) != 0) return std::unexpected(errno);
  return std::pair(OwnedFd(fds[0]), OwnedFd(fds[1]));
}

std::pair<OwnedFd, OwnedFd> make_packet_pair() {
  auto pair = try_packet_pair();
  if (!pair) throw std::system_error(pair.error(), std::generic_category(), "socketpair");
  return std::move(*pair);
}

PacketStatus send_packet(int socket, std::string_view bytes, int fd) {
  if (bytes.empty() || bytes.size() > max_octets) return PacketStatus::malformed;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  if (fd >= 0) {
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof(int));
    std::memcpy(CMSG_DATA(c), &fd, sizeof(int));
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return PacketStatus::ok;
    if (errno == EINTR) continue;
    // ETOOMANYREFS: too many descriptors of this user are on their way; they will arrive.
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) return PacketStatus::would_block;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? PacketStatus::closed : PacketStatus::failed;
  }
}

PacketStatus receive_packet(int socket, std::string& bytes, OwnedFd& fd) {
  static thread_local char space[max_octets];
  iovec part{space, sizeof space};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * max_fds)];
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof control;
  ssize_t got;
  do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
  while (got < 0 && errno == EINTR);
  fd.reset();
  bytes.clear();
  if (got < 0) {
    if (errno == EAGAIN) return PacketStatus::would_block;
    return errno == ECONNRESET ? PacketStatus::closed : PacketStatus::failed;
  }
  const std::size_t descriptors = take_descriptors(message, fd);
  if (got == 0) return PacketStatus::closed;
  if (descriptors > 1 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    fd.reset();
    return PacketStatus::malformed;
  }
  bytes.assign(space, static_cast<std::size_t>(got));
  return PacketStatus::ok;
}

}  // namespace scanner
