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

// Hands each descriptor that came to `take`, which owns it then.
template <class Take>
void take_descriptors(msghdr& message, Take take) {
  for (cmsghdr* c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
    if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < n; ++i) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
      take(OwnedFd(received));
    }
  }
}

// One message into `space`, descriptors into `control`; as recvmsg(2).
ssize_t receive(int socket, std::span<char> space, std::span<char> control, msghdr& message, int flags) {
  iovec part{space.data(), space.size()};
  message = {};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control.data();
  message.msg_controllen = control.size();
  ssize_t got;
  do got = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | flags);
  while (got < 0 && errno == EINTR);
  message.msg_iov = nullptr;
  return got;
}

PacketStatus send_with(int socket, std::string_view bytes, std::span<const int> fds) {
  if (bytes.empty() || bytes.size() > max_octets || fds.size() > most_bundled) return PacketStatus::malformed;
  iovec part{const_cast<char*>(bytes.data()), bytes.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_bundled)] = {};
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* c = CMSG_FIRSTHDR(&message);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(c), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0) return PacketStatus::ok;
    if (errno == EINTR) continue;
    // ETOOMANYREFS: too many descriptors of this user are on their way; they will arrive.
    if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) return PacketStatus::would_block;
    return errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN ? PacketStatus::closed : PacketStatus::failed;
  }
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
  return send_with(socket, bytes, std::span(&fd, fd >= 0 ? 1 : 0));
}

PacketStatus receive_packet(int socket, std::string& bytes, OwnedFd& fd) {
  static thread_local char space[max_octets];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * max_fds)];
  msghdr message;
  const ssize_t got = receive(socket, space, control, message, 0);
  fd.reset();
  bytes.clear();
  if (got < 0) {
    if (errno == EAGAIN) return PacketStatus::would_block;
    return errno == ECONNRESET ? PacketStatus::closed : PacketStatus::failed;
  }
  std::size_t descriptors = 0;
  take_descriptors(message, [&](OwnedFd received) {  // all but the first are closed
    if (descriptors++ == 0) fd = std::move(received);
  });
  if (got == 0) return PacketStatus::closed;
  if (descriptors > 1 || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
    fd.reset();
    return PacketStatus::malformed;
  }
  bytes.assign(space, static_cast<std::size_t>(got));
  return PacketStatus::ok;
}

std::expected<OwnedFd, int> bundle(std::span<const OwnedFd> descriptors) {
  auto pair = try_packet_pair();
  if (!pair) return std::unexpected(pair.error());
  std::vector<int> fds;
  for (const OwnedFd& each : descriptors) fds.push_back(each.get());
  errno = 0;
  if (fds.empty() || send_with(pair->first.get(), "b", fds) != PacketStatus::ok)
    return std::unexpected(errno != 0 ? errno : EINVAL);
  return std::move(pair->second);
}

std::vector<OwnedFd> unbundle(const OwnedFd& bundle) {
  char octet[1];
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * most_bundled)];
  msghdr message;
  std::vector<OwnedFd> all;
  all.reserve(most_bundled);  // from here on nothing fails while descriptors are nobody's
  const ssize_t got = receive(bundle.get(), octet, control, message, MSG_DONTWAIT);
  if (got > 0) take_descriptors(message, [&all](OwnedFd received) { all.push_back(std::move(received)); });
  return all;
}

}  // namespace scanner
