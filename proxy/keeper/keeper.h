// The keeper process: own uid, no network, the only process that writes what must survive. Group commit: all jobs that
// wait when it wakes are written, fsynced, renamed and answered together.
#pragma once

#include <memory>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "scanner/packet_socket.h"

namespace keeper {

// Runs until the control socket closes or says drain; returns the exit status. Privileges are already dropped.
int run(std::shared_ptr<const config::Config> config, scanner::OwnedFd control, admin::Log& log);

}  // namespace keeper
