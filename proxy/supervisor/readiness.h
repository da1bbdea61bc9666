// Telling the outside that gatepost serves, or stops: the service manager (sd_notify(3)) and whoever gave --ready-fd.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace supervisor {

// One datagram to $NOTIFY_SOCKET, when there is one: "READY=1", "STOPPING=1".
void notify_service_manager(std::string_view state);

// {"listeners":[{"name":...,"address":"127.0.0.1:34567"}],"pid":...} and a line feed.
std::string ready_line(const std::vector<config::Listener>& listeners, const std::vector<std::string>& addresses,
                       int pid);

}  // namespace supervisor
