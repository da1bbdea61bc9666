// `gatepost serve`: root where it must be, single-threaded, never parses a byte of mail. Binds the ports, starts the
// children, starts them again, and ends them in order.
//
// Signals: TERM drains (with firewall.manage new connections go by first; clients in a transaction may finish, for
// limits.drain; then keeper and scanner end, and the rules go); a second TERM, or INT, cuts, and waits for the rules no
// longer than a few seconds; HUP reads certificates and keys again, and examines servers again; USR1 opens the log file
// anew; USR2 says that signatures cannot be reloaded yet.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"

struct ProxyStart;

namespace supervisor {

struct ServeOptions {
  std::shared_ptr<const config::Config> config;
  std::vector<std::string> warnings;  // of the config, and of whoever chose it: logged at start
  int ready_fd = -1;                  // gets one JSON line when all children are ready, then is closed
};

// Returns the exit status (sysexits.h): 0 after an end without loss, 75 when transactions had to be cut, 78 when it
// cannot start, after one sentence on standard error.
int serve(ServeOptions options, std::function<int(ProxyStart)> run_proxy);

}  // namespace supervisor
