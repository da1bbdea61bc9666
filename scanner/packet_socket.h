// Messages with 0 or 1 file descriptor over a SOCK_SEQPACKET socket (SCM_RIGHTS): the one place that knows how.
// Every process of gatepost talks to its neighbours through these functions; none of them blocks unless the socket
// does.
#pragma once

#include <cstddef>
#include <expected>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace scanner {

// Owns a file descriptor; -1 = none.
class OwnedFd {
 public:
  OwnedFd() = default;
  explicit OwnedFd(int fd) : fd_(fd) {}
  OwnedFd(OwnedFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  OwnedFd& operator=(OwnedFd&& other) noexcept {
    if (this != &other) reset(std::exchange(other.fd_, -1));
    return *this;
  }
  OwnedFd(const OwnedFd&) = delete;
  OwnedFd& operator=(const OwnedFd&) = delete;
  ~OwnedFd() { reset(); }
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1);  // closes what it held

 private:
  int fd_ = -1;
};

enum class PacketStatus { ok, would_block, closed, malformed, failed };

// Both ends non-blocking and close-on-exec. The error is an errno.
std::expected<std::pair<OwnedFd, OwnedFd>, int> try_packet_pair();
// Throws std::system_error instead.
std::pair<OwnedFd, OwnedFd> make_packet_pair();

// Sends `bytes` (1..65536 octets) and, where fd >= 0, a duplicate of fd. closed = the peer is gone.
PacketStatus send_packet(int socket, std::string_view bytes, int fd = -1);

// `bytes` is resized to what came (0 octets = closed). A second descriptor, a truncated message or an oversized one is
// `malformed`; every descriptor that came with it is closed. Received descriptors are close-on-exec.
PacketStatus receive_packet(int socket, std::string& bytes, OwnedFd& fd);

// Many descriptors as one, which can be sent like any other: a socket that holds duplicates of 1..most_bundled of them
// until unbundle() takes them out. The error is an errno.
inline constexpr std::size_t most_bundled = 64;
std::expected<OwnedFd, int> bundle(std::span<const OwnedFd> descriptors);
// Those that are in it; none of what is no bundle. Close-on-exec.
std::vector<OwnedFd> unbundle(const OwnedFd& bundle);

}  // namespace scanner
