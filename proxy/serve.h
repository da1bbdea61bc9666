// The proxy process: wiring of loops, listeners, channels and sessions. Forked by the supervisor with its privileges
// already dropped.
#pragma once

#include <memory>
#include <vector>

#include "config/config.h"
#include "firewall/passed_on.h"
#include "proxy/admin/log.h"
#include "proxy/supervisor/window.h"
#include "scanner/packet_socket.h"

struct ProxyStart {
  std::shared_ptr<const config::Config> config;
  std::vector<std::vector<scanner::OwnedFd>> listeners;  // [loop][listener in config order], bound and listening, non-blocking
  scanner::OwnedFd control;                              // supervisor/control.h
  supervisor::Window* window = nullptr;
  firewall::PassedOn* passed_on = nullptr;  // null: nothing is passed on unscanned, or it cannot be counted
  scanner::OwnedFd pf;  // its device, where a listener needs it (firewall/pf_device.h)
  int log_file = -1;
  scanner::OwnedFd tls_files;  // io/tls_files.h; none where the config names no TLS
};

// Runs until drained or cut; returns the exit status: 75 (EX_TEMPFAIL) when a transaction was cut.
int run_proxy(ProxyStart start);
