// Connections that depend on our rules, as the kernel lists sockets (sock_diag(7)).
#pragma once

#include <cstddef>
#include <optional>

#include "firewall/plan.h"

namespace firewall {

// Sockets of this host to which our rules bring packets: of connections that were redirected to a listener of the plan,
// and those with addresses of others (TPROXY, and spoofed sources) to a port that the plan diverts. A session may have one
// to its client, one to its server, or both: each number is that of the side that has more.
struct Diverted {
  std::size_t served = 0;  // somebody has them
  std::size_t left = 0;  // whoever had them has closed them, or has ended, and the other end has not taken everything yet
  bool operator==(const Diverted&) const = default;
};
// None: the kernel does not say, or (before Linux 5.10) not which have addresses of others, and the plan has TPROXY.
std::optional<Diverted> diverted_connections(const Plan& plan);

}  // namespace firewall
