// What the DNS says now of the names in a configuration. Serving does not need it: names are resolved when they are
// used.
#pragma once

#include <string>
#include <vector>

#include "config/config.h"

namespace admin {

// A sentence for each server whose name has no address at present, in the order of the names of the downstreams. Asks
// as the proxy would, all names at once; takes no longer than one question may.
std::vector<std::string> unresolved_servers(const config::Config& config);

}  // namespace admin
