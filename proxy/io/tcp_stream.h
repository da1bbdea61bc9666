// A connected TCP (or UNIX) socket as a Stream: edge-triggered, one registration for its whole life.
#pragma once

#include <memory>
#include <optional>
#include <sys/socket.h>

#include "proxy/io/event_loop.h"
#include "proxy/io/stream.h"
#include "scanner/packet_socket.h"

namespace io {

using scanner::OwnedFd;

// TCP_NODELAY; of a socket that listens, for all that it accepts. Sockets of other families are left as they are.
void send_without_delay(int socket);

class TcpStream final : public Stream, public FdWatch::Owner {
 public:
  // Takes the non-blocking socket, which sends without delay. `connecting`: not writable before the first event says so.
  TcpStream(EventLoop& loop, OwnedFd socket, const sockaddr* peer, socklen_t peer_length, bool connecting = false);
  ~TcpStream() override;

  IoResult read(char* into, std::size_t room) override;
  void look_again() override;
  IoResult write(const iovec* parts, int count) override;
  void last_words() override { flags_ |= MSG_MORE; }
  IoResult send_file(int fd, off_t offset, std::size_t count) override;
  // Lives until the first octet is read, or as long as this stream.
  void keep(std::shared_ptr<const void> companion) { companion_ = std::move(companion); }
  void abort_on_close() override;
  std::string peer() const override;
  void shutdown_write() override;

  int socket() const { return socket_.get(); }
  int take_error();  // SO_ERROR

 private:
  void on_ready(FdWatch::Ready ready) override;
  IoResult from_errno(int error, bool& hint);
  IoResult sent(ssize_t count);

  std::shared_ptr<const void> companion_;  // goes after the socket
  OwnedFd socket_;
  sockaddr_storage peer_{};
  int flags_ = MSG_NOSIGNAL;  // of each write
  bool may_read_ = false;     // false: wait for an event before the next recv
  bool may_write_ = true;
  bool hidden_end_ = false;   // behind a short read there may be an end that no event will tell of
  bool peer_closed_ = false;  // a FIN has been seen: read on until 0 even after a short read
  std::optional<FdWatch> watch_;
};

// "192.0.2.1:25", "[2001:db8::1]:25", "unix:/run/lmtp.sock"; "unix" for sockets without a name.
std::string format_address(const sockaddr* address);
// "192.0.2.1", "2001:db8::1" (an IPv4-mapped address as IPv4); "unix" for other families.
std::string format_ip(const sockaddr* address);

}  // namespace io
