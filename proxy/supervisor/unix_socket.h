// A listening UNIX socket and its file. The file is taken away again by the process that made it.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <utility>

#include "config/config.h"
#include "scanner/packet_socket.h"

namespace supervisor {

class SocketFile {
 public:
  explicit SocketFile(std::string path);  // of a file that is there
  SocketFile(SocketFile&& other) noexcept
      : path_(std::exchange(other.path_, {})), device_(other.device_), inode_(other.inode_), maker_(other.maker_) {}
  SocketFile& operator=(SocketFile&&) = delete;
  SocketFile(const SocketFile&) = delete;
  // Not in a forked child, and not when somebody has put another file there.
  ~SocketFile();

 private:
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;
  pid_t maker_;
};

struct UnixListening {
  scanner::OwnedFd socket;  // non-blocking; mode 0666: whoever may pass through the directory may connect
  SocketFile file;
};
// A socket file that nobody listens behind any more is replaced. The error is the end of a sentence: "Address already
// in use: another program listens there".
std::expected<UnixListening, std::string> listen_on_unix(const config::Endpoint& endpoint, int backlog);

}  // namespace supervisor
