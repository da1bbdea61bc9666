// One event loop of the proxy with everything that lives and dies on it: listeners, sessions, channels.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <optional>
#include <vector>

#include "proxy/io/channel.h"
#include "proxy/io/listener.h"
#include "proxy/judge/keeper_client.h"
#include "proxy/judge/scan_client.h"
#include "proxy/serve.h"
#include "proxy/session/services.h"
#include "proxy/supervisor/control.h"

// Shared by the loops of the process.
struct ProxyShared {
  ProxyShared(const ProxyStart& start, std::size_t loops);
  std::shared_ptr<const config::Config> config;
  int control;                      // for `silent`
  supervisor::Window* window;
  admin::Log log;
  io::SpoolSpace spool;
  std::deque<std::atomic<std::uint32_t>> sessions;  // per listener, all loops together
};

class ProxyLoop final : private session::InFlight {
 public:
  // `inbox` brings control messages that are for this loop (supervisor/control.h).
  ProxyLoop(ProxyShared& shared, unsigned index, std::vector<scanner::OwnedFd> listeners, scanner::OwnedFd inbox);
  ~ProxyLoop();
  void run();  // until drained or cut

 private:
  class Inbox;
  class Seat;
  void welcome(std::size_t listener, io::Accepted accepted);
  io::Task<> serve_client(std::size_t listener, std::unique_ptr<io::Stream> client, std::string client_ip);
  void obey(std::string_view packet, scanner::OwnedFd fd);
  void tell(supervisor::Message::Kind kind, std::string about);
  void drain(bool cut);
  std::string new_trace_id();
  void* open(std::string_view trace_id, std::uint64_t size, std::array<std::uint64_t, 2> hash, std::string_view client,
             std::string_view downstream) override;
  void close(void* slot) override;

  ProxyShared& shared_;
  unsigned index_;
  io::EventLoop loop_;
  io::TcpConnector connector_;
  std::optional<judge::ChannelScanClient> scanner_;
  judge::ChannelKeeperClient keeper_;
  session::Services services_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::unique_ptr<Inbox> inbox_;
  std::size_t sessions_ = 0;
  std::uint64_t random_;
};
