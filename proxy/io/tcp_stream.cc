#include "proxy/io/tcp_stream.h"

#include <arpa/inet.h>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstring>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/sendfile.h>
#include <sys/un.h>

namespace io {
namespace {

// Three of these a session: glibc's inet_ntop formats through vsprintf, ten times as slow.
std::string format_four(const std::uint8_t* octets) {
  char text[INET_ADDRSTRLEN];
  char* at = text;
  for (int i = 0; i < 4; ++i) {
    if (i > 0) *at++ = '.';
    at = std::to_chars(at, text + sizeof text, octets[i]).ptr;
  }
  return std::string(text, at);
}

}  // namespace

void send_without_delay(int socket) {
  const int on = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

TcpStream::TcpStream(EventLoop& loop, OwnedFd socket, const sockaddr* peer, socklen_t peer_length, bool connecting)
    : socket_(std::move(socket)), may_write_(!connecting) {
  if (peer_length <= sizeof peer_) std::memcpy(&peer_, peer, peer_length);
  watch_.emplace(loop, socket_.get(), FdWatch::Mode::stream, *this);
}

TcpStream::~TcpStream() = default;

void TcpStream::on_ready(FdWatch::Ready ready) {
  if (ready.peer_closed) peer_closed_ = true;
  if (ready.readable || ready.peer_closed) {
    may_read_ = true;
    readable.raise();
  }
  if (ready.writable) {
    may_write_ = true;
    writable.raise();
  }
}

IoResult TcpStream::from_errno(int error, bool& hint) {
  if (error == EAGAIN || error == EWOULDBLOCK) {
    hint = false;
    return {IoStatus::would_block, 0};
  }
  return {error == EPIPE ? IoStatus::closed : IoStatus::reset, 0};
}

IoResult TcpStream::read(char* into, std::size_t room) {
  if (!may_read_) return {IoStatus::would_block, 0};
  for (;;) {
    const ssize_t got = ::recv(socket_.get(), into, room, 0);
    if (got > 0) {
      companion_.reset();
      // Edge-triggered: a short read has emptied the socket, and what comes later raises a new event. A FIN or RST that
      // was reported together with the bytes would be missed. libevent tells of the FIN, not of the RST: that shows
      // itself with the next write, or by look_again().
      if (static_cast<std::size_t>(got) < room && !peer_closed_) {
        may_read_ = false;
        hidden_end_ = true;
      }
      return {IoStatus::ok, static_cast<std::size_t>(got)};
    }
    if (got == 0) return {IoStatus::closed, 0};
    if (errno == EINTR) continue;
    const IoResult end = from_errno(errno, may_read_);
    if (end.status == IoStatus::would_block) hidden_end_ = false;
    return end;
  }
}

void TcpStream::look_again() {
  if (hidden_end_) may_read_ = true;
}

// A write that the kernel takes proves that there was no RST before it.
IoResult TcpStream::sent(ssize_t count) {
  hidden_end_ = false;
  return {IoStatus::ok, static_cast<std::size_t>(count)};
}

IoResult TcpStream::write(const iovec* parts, int count) {
  if (!may_write_) return {IoStatus::would_block, 0};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = static_cast<std::size_t>(count);
  for (;;) {
    const ssize_t taken = count == 1 ? ::send(socket_.get(), parts->iov_base, parts->iov_len, flags_)
                                     : ::sendmsg(socket_.get(), &message, flags_);
    if (taken >= 0) return sent(taken);
    if (errno != EINTR) return from_errno(errno, may_write_);
  }
}

IoResult TcpStream::send_file(int fd, off_t offset, std::size_t count) {
  if (!may_write_) return {IoStatus::would_block, 0};
  for (;;) {
    const ssize_t taken = ::sendfile(socket_.get(), fd, &offset, count);
    if (taken > 0) return sent(taken);
    if (taken == 0) return {IoStatus::reset, 0};  // the file is shorter than promised
    if (errno != EINTR) return from_errno(errno, may_write_);
  }
}

void TcpStream::abort_on_close() {
  const linger now{1, 0};
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void TcpStream::shutdown_write() { ::shutdown(socket_.get(), SHUT_WR); }

int TcpStream::take_error() {
  if (!may_read_) return 0;  // errors are reported as readable and writable
  int error = 0;
  socklen_t length = sizeof error;
  if (::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length) != 0) return errno;
  return error;
}

std::string TcpStream::peer() const { return format_address(reinterpret_cast<const sockaddr*>(&peer_)); }

std::string format_ip(const sockaddr* address) {
  if (address->sa_family == AF_INET)
    return format_four(reinterpret_cast<const std::uint8_t*>(&reinterpret_cast<const sockaddr_in*>(address)->sin_addr));
  if (address->sa_family != AF_INET6) return "unix";
  const in6_addr& six = reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&six)) return format_four(six.s6_addr + 12);
  char text[INET6_ADDRSTRLEN] = "";
  ::inet_ntop(AF_INET6, &six, text, sizeof text);
  return text;
}

std::string format_address(const sockaddr* address) {
  std::string text = format_ip(address);
  if (address->sa_family == AF_INET)
    return text.append(1, ':').append(std::to_string(ntohs(reinterpret_cast<const sockaddr_in*>(address)->sin_port)));
  if (address->sa_family == AF_INET6) {
    const bool six = text.find(':') != std::string::npos;
    return (six ? "[" + text + "]" : text) + ":" +
           std::to_string(ntohs(reinterpret_cast<const sockaddr_in6*>(address)->sin6_port));
  }
  if (address->sa_family == AF_UNIX) {
    const auto& path = reinterpret_cast<const sockaddr_un*>(address)->sun_path;
    if (path[0] != '\0') text.append(":").append(path, ::strnlen(path, sizeof path));
  }
  return text;
}

}  // namespace io
