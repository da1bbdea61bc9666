#include "proxy/supervisor/unix_socket.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "config/endpoint.h"

namespace supervisor {
namespace {

using scanner::OwnedFd;

std::unexpected<std::string> trouble(int error, std::string_view more = {}) {
  return std::unexpected(std::string(std::strerror(error)).append(more));
}

OwnedFd new_socket() { return OwnedFd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

// 0, or an errno; EADDRINUSE: somebody listens there. Only a refused connection proves that nobody does.
int remove_stale(const config::Endpoint& endpoint, const std::string& path) {
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(status.st_mode)) return EEXIST;
  const OwnedFd probe = new_socket();
  if (!probe) return errno;
  const bool refused = ::connect(probe.get(), endpoint.get(), endpoint.length) != 0 && errno == ECONNREFUSED;
  if (!refused) return EADDRINUSE;
  return ::unlink(path.c_str()) == 0 ? 0 : errno;
}

// By umask and not by chmod: in a directory of somebody else's, chmod may find another file under the name.
int bind_for_all(int socket, const config::Endpoint& endpoint) {
  const mode_t former = ::umask(0111);
  const int error = ::bind(socket, endpoint.get(), endpoint.length) == 0 ? 0 : errno;
  ::umask(former);
  return error;
}

}  // namespace

SocketFile::SocketFile(std::string path) : path_(std::move(path)), maker_(::getpid()) {
  struct stat status {};
  if (::lstat(path_.c_str(), &status) != 0) return;
  device_ = status.st_dev;
  inode_ = status.st_ino;
}

SocketFile::~SocketFile() {
  struct stat status {};
  if (path_.empty() || maker_ != ::getpid() || ::lstat(path_.c_str(), &status) != 0) return;
  if (status.st_dev == device_ && status.st_ino == inode_) ::unlink(path_.c_str());
}

std::expected<UnixListening, std::string> listen_on_unix(const config::Endpoint& endpoint, int backlog) {
  const std::string path(config::path_of(endpoint));
  if (const int error = remove_stale(endpoint, path); error != 0)
    return trouble(error, error == EADDRINUSE ? ": another program listens there, or another gatepost"
                          : error == EEXIST   ? ": what is there is no socket"
                                              : "");
  OwnedFd socket = new_socket();
  if (!socket) return trouble(errno);
  if (const int error = bind_for_all(socket.get(), endpoint); error != 0)
    return trouble(error, error == ENOENT ? ": the directory must exist" : "");
  SocketFile file(path);
  if (::listen(socket.get(), backlog) != 0) return trouble(errno);
  return UnixListening{std::move(socket), std::move(file)};
}

}  // namespace supervisor
