// Connects to the first server of a list that answers (RFC 5321 5.1: try each address).
#pragma once

#include <expected>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/stream.h"

namespace io {

struct ConnectError {
  explicit ConnectError(std::string why) : text(std::move(why)) {}
  std::string text;  // "127.0.0.1:25: Connection refused; 127.0.0.2:25: timed out"
};
using Connected = std::expected<std::unique_ptr<Stream>, ConnectError>;

// How sessions get their downstream leg; tests give in-memory streams instead.
class Connector {
 public:
  virtual ~Connector() = default;
  // Tries `servers` in order, each for at most `per_server`, all together until `until`.
  virtual Task<Connected> connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                                  TimePoint until) = 0;
};

class TcpConnector final : public Connector {
 public:
  explicit TcpConnector(EventLoop& loop) : loop_(loop) {}
  Task<Connected> connect(const std::vector<config::Endpoint>& servers, Scope& scope, Duration per_server,
                          TimePoint until) override;

 private:
  Task<Connected> connect_one(const config::Endpoint& server, Scope& scope, TimePoint until);
  EventLoop& loop_;
};

}  // namespace io
