// Connections that depend on our rules, as the kernel lists sockets (sock_diag(7)).
#pragma once

#include <cstddef>

#include "firewall/plan.h"

namespace firewall {

// Sockets of this host to which our rules bring packets: of connections that were redirected to a listener of the plan,
// and those with addresses of others (TPROXY, and spoofed sources) to a port that the plan diverts. Counted until the
// other end has all that was written to it, even when whoever wrote it has ended. 0 where the kernel does not say.
std::size_t diverted_connections(const Plan& plan);

}  // namespace firewall
