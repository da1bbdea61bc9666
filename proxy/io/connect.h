// Connects to the first server of a list that answers (RFC 5321 5.1: try each address); a name is resolved now.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/io/address_cache.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/own_connections.h"
#include "proxy/io/stream.h"
#include "proxy/io/transparent_sockets.h"

namespace io {

struct ConnectError {
  explicit ConnectError(std::string why) : text(std::move(why)) {}
  std::string text;  // "mx.test[192.0.2.1]:25: Connection refused; 127.0.0.2:25: timed out; mx2.test:25: no such name"
};
struct Connection {
  Connection(std::unique_ptr<Stream> connected, std::string server) : stream(std::move(connected)), host(std::move(server)) {}
  std::unique_ptr<Stream> stream;
  std::string host;  // of the server that answered: its name, or its address without brackets
};
using Connected = std::expected<Connection, ConnectError>;

// How sessions get their downstream leg; tests give in-memory streams instead.
class Connector {
 public:
  virtual ~Connector() = default;
  // Tries `servers` in order, each address for at most `per_server`, all together until `until`.
  virtual Task<Connected> connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                                  TimePoint until) = 0;
  // The same from the address of somebody else (spoofed source), by a port of the kernel's choice; addresses of the other
  // family are passed over.
  virtual Task<Connected> connect_as(const sockaddr_storage& source, const std::vector<config::Endpoint>& servers,
                                     Scope& scope, Duration per_server, TimePoint until);
};

class TcpConnector final : public Connector {
 public:
  // Without `names` a server that is a name cannot be reached, without `transparent` nobody is connected as somebody
  // else; `own` hears of every connection.
  explicit TcpConnector(EventLoop& loop, AddressCache* names = nullptr, TransparentSockets* transparent = nullptr,
                        OwnConnections* own = nullptr)
      : loop_(loop), names_(names), transparent_(transparent), own_(own) {}
  Task<Connected> connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                          TimePoint until) override;
  Task<Connected> connect_as(const sockaddr_storage& source, const std::vector<config::Endpoint>& servers, Scope& scope,
                             Duration per_server, TimePoint until) override;
  // SO_MARK of the connections of connect(), which only root may set; without the right to it they carry none.
  void mark_connections(std::uint32_t mark) { mark_ = mark; }

 private:
  using Held = std::shared_ptr<const void>;
  Task<int> begin(int socket, const config::Endpoint& server, Held& held, Scope& scope, TimePoint until);
  Task<Connected> establish(scanner::OwnedFd socket, const config::Endpoint& server, Scope& scope, TimePoint until);
  Task<Connected> reach(const sockaddr_storage* source, const std::vector<config::Endpoint>& servers, Scope& scope,
                        Duration per_server, TimePoint until);
  Task<Connected> connect_one(const sockaddr_storage* source, const config::Endpoint& server, Scope& scope,
                              TimePoint until);
  Task<Connected> connect_one_as(const sockaddr_storage& source, const config::Endpoint& server, Scope& scope,
                                 TimePoint until);
  Task<AddressCache::Addresses> addresses_of(const config::Endpoint& server, Scope& scope, TimePoint until);
  EventLoop& loop_;
  AddressCache* names_;
  TransparentSockets* transparent_;
  OwnConnections* own_;
  std::uint32_t mark_ = 0;
};

}  // namespace io
