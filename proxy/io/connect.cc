#include "proxy/io/connect.h"

#include <sys/socket.h>
#include <algorithm>
#include <cerrno>
#include <cstring>

#include "proxy/io/tcp_stream.h"

namespace io {
namespace {

constexpr Duration pause_when_busy = std::chrono::milliseconds(50);

Connected refused(const config::Endpoint& server, std::string_view why) {
  return std::unexpected(ConnectError(server.text + ": " + std::string(why)));
}

}  // namespace

// A UNIX socket whose queue is full says EAGAIN at once, where TCP would send its SYN again.
Task<int> TcpConnector::begin(int socket, const config::Endpoint& server, Scope& scope, TimePoint until) {
  while (true) {
    if (::connect(socket, server.get(), server.length) == 0) co_return 0;
    const int error = errno;
    if (error != EAGAIN || !server.is_unix() || scope.now() >= until) co_return error;
    co_await Wait(scope, std::min(until, scope.now() + pause_when_busy));
  }
}

Task<Connected> TcpConnector::connect_one(const config::Endpoint& server, Scope& scope, TimePoint until) {
  OwnedFd socket(::socket(server.get()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket) co_return refused(server, std::strerror(errno));
  const int begun = co_await begin(socket.get(), server, scope, until);
  if (begun == EAGAIN && server.is_unix()) co_return refused(server, "busy");
  if (begun != 0 && begun != EINPROGRESS) co_return refused(server, std::strerror(begun));
  auto stream = std::make_unique<TcpStream>(loop_, std::move(socket), server.get(), server.length, begun != 0);
  if (begun != 0) {
    const Woken woken = co_await Wait(scope, until, stream->writable);
    if (woken == Woken::deadline) co_return refused(server, "timed out");
    const int error = stream->take_error();
    if (error != 0) co_return refused(server, std::strerror(error));
  }
  co_return Connection(std::move(stream), format_ip(server.get()));
}

Task<AddressCache::Addresses> TcpConnector::addresses_of(const config::Endpoint& server, Scope& scope,
                                                         TimePoint until) {
  if (!server.is_name()) co_return std::vector(1, server);
  if (names_ == nullptr) co_return std::unexpected(std::string("names are not resolved here"));
  AddressCache::Addresses found = co_await names_->addresses(server, scope, until);
  co_return found;
}

Task<Connected> TcpConnector::connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                                      TimePoint until) {
  std::string failures;
  const auto note = [&failures](const std::string& failure) { failures += (failures.empty() ? "" : "; ") + failure; };
  for (const config::Endpoint& server : servers) {
    const AddressCache::Addresses addresses = co_await addresses_of(server, scope, until);
    if (!addresses) note(server.text + ": " + addresses.error());
    const std::size_t count = addresses ? addresses->size() : 0;
    for (std::size_t i = 0; i < count; ++i) {
      const config::Endpoint& address = addresses->at(i);
      Connected connected = co_await connect_one(address, scope, std::min(until, scope.now() + per_server));
      if (connected && server.is_name()) connected->host = server.host;
      if (connected) co_return connected;
      note(connected.error().text);
      if (scope.now() >= until) break;
    }
    if (scope.now() >= until) break;
  }
  co_return std::unexpected(ConnectError(failures));
}

}  // namespace io
