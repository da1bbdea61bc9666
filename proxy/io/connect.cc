#include "proxy/io/connect.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sys/socket.h>

#include "proxy/io/tcp_stream.h"

namespace io {
namespace {

Connected refused(const config::Endpoint& server, std::string_view why) {
  return std::unexpected(ConnectError(server.text + ": " + std::string(why)));
}

}  // namespace

Task<Connected> TcpConnector::connect_one(const config::Endpoint& server, Scope& scope, TimePoint until) {
  OwnedFd socket(::socket(server.get()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) co_return refused(server, std::strerror(errno));
  const int status = ::connect(socket.get(), server.get(), server.length);
  if (status != 0 && errno != EINPROGRESS) co_return refused(server, std::strerror(errno));
  auto stream = std::make_unique<TcpStream>(loop_, std::move(socket), server.get(), server.length, status != 0);
  if (status != 0) {
    const Woken woken = co_await Wait(scope, until, stream->writable);
    if (woken == Woken::deadline) co_return refused(server, "timed out");
    const int error = stream->take_error();
    if (error != 0) co_return refused(server, std::strerror(error));
  }
  co_return Connected(std::move(stream));
}

Task<Connected> TcpConnector::connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                                      TimePoint until) {
  std::string failures;
  for (const config::Endpoint& server : servers) {
    Connected connected = co_await connect_one(server, scope, std::min(until, scope.now() + per_server));
    if (connected) co_return connected;
    failures += (failures.empty() ? "" : "; ") + connected.error().text;
    if (scope.now() >= until) break;
  }
  co_return std::unexpected(ConnectError(failures));
}

}  // namespace io
