#include "proxy/io/connect.h"

#include <netinet/in.h>
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
Task<int> TcpConnector::begin(int socket, const config::Endpoint& server, Held& held, Scope& scope, TimePoint until) {
  while (true) {
    int error = 0;
    if (own_ != nullptr && !server.is_unix()) error = own_->connect(socket, server.get(), server.length, held);
    else if (::connect(socket, server.get(), server.length) != 0) error = errno;
    if (error != EAGAIN || !server.is_unix() || scope.now() >= until) co_return error;
    co_await Wait(scope, std::min(until, scope.now() + pause_when_busy));
  }
}

Task<Connected> TcpConnector::connect_one(const sockaddr_storage* source, const config::Endpoint& server, Scope& scope,
                                          TimePoint until) {
  if (source != nullptr) return connect_one_as(*source, server, scope, until);
  OwnedFd socket(::socket(server.get()->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (mark_ != 0) ::setsockopt(socket.get(), SOL_SOCKET, SO_MARK, &mark_, sizeof mark_);
  return establish(std::move(socket), server, scope, until);
}

Task<Connected> TcpConnector::connect_one_as(const sockaddr_storage& source, const config::Endpoint& server,
                                             Scope& scope, TimePoint until) {
  if (source.ss_family != server.address.ss_family) co_return refused(server, "the client has no address of this family");
  if (transparent_ == nullptr) co_return refused(server, "no socket may take the client's address here");
  OwnedFd socket = co_await transparent_->take(source.ss_family, scope, until);
  if (!socket) co_return refused(server, "no socket came in time that may take the client's address");
  if (const int error = bind_as(socket.get(), source, server.get()); error != 0)
    co_return refused(server, std::string("the client's address cannot be taken: ") + std::strerror(error));
  Connected connected = co_await establish(std::move(socket), server, scope, until);
  co_return connected;
}

Task<Connected> Connector::connect_as(const sockaddr_storage&, const std::vector<config::Endpoint>& servers, Scope&,
                                      Duration, TimePoint) {
  co_return refused(servers.front(), "no socket may take the client's address here");
}

Task<Connected> TcpConnector::establish(OwnedFd socket, const config::Endpoint& server, Scope& scope, TimePoint until) {
  if (!socket) co_return refused(server, std::strerror(errno));
  send_without_delay(socket.get());
  Held held;
  const int begun = co_await begin(socket.get(), server, held, scope, until);
  if (begun == EAGAIN && server.is_unix()) co_return refused(server, "busy");
  if (begun != 0 && begun != EINPROGRESS) co_return refused(server, std::strerror(begun));
  auto stream = std::make_unique<TcpStream>(loop_, std::move(socket), server.get(), server.length, begun != 0);
  stream->keep(std::move(held));
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
  return reach(nullptr, servers, scope, per_server, until);
}

Task<Connected> TcpConnector::connect_as(const sockaddr_storage& source, const std::vector<config::Endpoint>& servers,
                                         Scope& scope, Duration per_server, TimePoint until) {
  return reach(&source, servers, scope, per_server, until);
}

Task<Connected> TcpConnector::reach(const sockaddr_storage* source, const std::vector<config::Endpoint>& servers,
                                    Scope& scope, Duration per_server, TimePoint until) {
  std::string failures;
  const auto note = [&failures](const std::string& failure) { failures += (failures.empty() ? "" : "; ") + failure; };
  for (const config::Endpoint& server : servers) {
    const AddressCache::Addresses addresses = co_await addresses_of(server, scope, until);
    if (!addresses) note(server.text + ": " + addresses.error());
    const std::size_t count = addresses ? addresses->size() : 0;
    for (std::size_t i = 0; i < count; ++i) {
      const config::Endpoint& address = addresses->at(i);
      Connected connected = co_await connect_one(source, address, scope, std::min(until, scope.now() + per_server));
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
