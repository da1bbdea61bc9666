// The first lines of the log: what this gatepost listens on, relays to, scans with and runs as.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/admin/log.h"

namespace supervisor {

// `addresses` per listener, with the real ports.
void announce(const config::Config& config, const std::vector<std::string>& warnings,
              const std::vector<std::string>& addresses, admin::Log& log);

}  // namespace supervisor
