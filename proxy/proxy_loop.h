// One event loop of the proxy with everything that lives and dies on it: listeners, sessions, channels.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "proxy/admission.h"
#include "proxy/interception.h"
#include "proxy/io/address_cache.h"
#include "proxy/io/channel.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/hosts_file.h"
#include "proxy/io/listener.h"
#include "proxy/io/tls_contexts.h"
#include "proxy/judge/keeper_client.h"
#include "proxy/judge/scan_client.h"
#include "proxy/serve.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/connection_pool.h"
#include "proxy/session/identity.h"
#include "proxy/session/services.h"
#include "proxy/session/withheld_log.h"
#include "proxy/supervisor/control.h"

// Shared by the loops of the process.
struct ProxyShared {
  ProxyShared(const ProxyStart& start, std::size_t loops);
  std::shared_ptr<const config::Config> config;
  int control;                      // for `silent`
  supervisor::Window* window;
  firewall::PassedOn* passed_on;
  admin::Log log;
  io::SpoolSpace spool;
  session::WithheldSets withheld;
  session::Complaints complaints;
  // For sessions that begin from now on. False: `files` are not what they should be, and nothing has changed.
  bool use_tls_files(int files);
  std::shared_ptr<const io::TlsContexts> tls();
  std::shared_ptr<const io::HostsFile> hosts;  // null: none
  Admission admission;
  Refusals refusals;
  Interception interception;
  std::atomic<bool> has_cut = false;  // a transaction, for the exit status
  int to_main_thread = -1;  // packets of the loops for the thread that started them

 private:
  std::mutex tls_mutex_;  // a loop takes it at its start and after a reload
  std::shared_ptr<const io::TlsContexts> tls_;
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
  bool is_stray(std::size_t listener, session::Arrival& arrival, int socket);
  void note_refusal(Refusal reason, std::size_t listener, const sockaddr* client);
  void note_offence(std::size_t listener, config::Offence what, const std::string& ip, bool told);
  io::Task<> serve_client(Admission::Seat place, std::unique_ptr<io::Stream> client, session::Arrival arrival);
  void obey(std::string_view packet, scanner::OwnedFd fd);
  void tell(supervisor::Message::Kind kind, std::string about);
  void drain(bool cut);
  std::string new_trace_id();
  void* open(const session::Parcel& parcel, std::string_view downstream) override;
  void close(void* slot) override;

  ProxyShared& shared_;
  unsigned index_;
  io::EventLoop loop_;
  io::UnboundResolver resolver_;
  io::AddressCache names_;
  io::TransparentSockets transparent_;
  io::TcpConnector connector_;
  std::optional<judge::ChannelScanClient> scanner_;
  judge::ChannelKeeperClient keeper_;
  session::ConnectionPool pool_;
  session::Identities identities_;
  session::WithheldLog withheld_;
  session::Services services_;
  std::vector<std::unique_ptr<io::Listener>> listeners_;
  std::vector<sockaddr_storage> locals_;  // their addresses; AF_UNSPEC where each connection has its own
  std::unique_ptr<Inbox> inbox_;
  std::size_t sessions_ = 0;
  std::uint64_t random_;
};
