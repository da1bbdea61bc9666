// What no single key can say: how the parts of a config fit together, and with the machine.
#pragma once

#include "config/config.h"
#include "config/problems.h"
#include "config/surroundings.h"

namespace config {

// Fills in what follows from other keys or from the machine: hostname, scan_limit, the accounts.
void complete(Config& config, const Surroundings& machine, Problems& problems);
// Reports; changes nothing.
void check(const Config& config, const Surroundings& machine, Problems& problems);
// The part of it about the client's identity.
void check_identity(const Config& config, Problems& problems);
// The part of it about intercepted connections.
void check_interception(const Config& config, const Surroundings& machine, Problems& problems);
// The part of it about what is decided before a connection exists.
void check_gate(const Config& config, Problems& problems);
// The part of it about bans.
void check_bans(const Config& config, Problems& problems);
// Connections are handed to it by a packet filter of Linux; the backend is one, or may become one.
bool goes_by_linux(const Listener& listener);
bool has_linux_filter(Backend backend);
// The part of it about TLS; comes last, for it reads certificates and keys.
void check_tls(const Config& config, const Surroundings& machine, Problems& problems);

}  // namespace config
