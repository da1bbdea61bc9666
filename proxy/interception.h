// What becomes of a connection that the packet filter has handed to a listener: where it was going, or why it is closed.
// Used by all loops.
#pragma once

#include <sys/socket.h>

#include <expected>
#include <memory>
#include <mutex>

#include "config/config.h"
#include "firewall/local_addresses.h"
#include "proxy/io/own_connections.h"
#include "proxy/refusals.h"
#include "proxy/session/client_facts.h"

class Interception {
 public:
  // `pf` is pf's device, where a listener needs it; it stays the caller's.
  Interception(std::shared_ptr<const config::Config> config, int pf) : config_(std::move(config)), pf_(pf) {}

  bool wanted() const;  // some listener intercepts
  // Of a listener that does.
  std::expected<std::shared_ptr<const session::Intercepted>, Refusal> look(std::size_t listener, int socket,
                                                                           const sockaddr_storage& peer,
                                                                           io::TimePoint now);
  bool is_local(const sockaddr* address, io::TimePoint now);  // an address of this host
  io::OwnConnections own;  // all that this process makes

 private:
  std::shared_ptr<const config::Config> config_;
  int pf_;
  std::mutex mutex_;
  firewall::LocalAddresses local_;
};
