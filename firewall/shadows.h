// Rules of others that could take a connection before ours see it, read from the kernel's own list. What a rule asks
// for besides the port and the interface is not looked at: each of them may be the one.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "firewall/plan.h"

namespace firewall {

struct Shadow {
  std::string where;   // "table ip nat, chain PREROUTING"
  std::string what;    // "redirect", "drop", ...
  bool after = false;  // it drops what ours have diverted
  bool bound = false;  // to interfaces, the one that was asked about among them
  bool operator==(const Shadow&) const = default;
};

// `ruleset`: what `nft -j list ruleset` says. `interface`: of what comes by it; "" = by whichever.
std::vector<Shadow> find_shadows(const Node& ruleset, const Diversion& diversion, config::Backend backend,
                                 const std::string& interface = "");
// Of this host, by nft and by the old iptables, as far as these are there.
std::vector<Shadow> read_shadows(const Diversion& diversion, config::Backend backend, const std::string& interface = "");

}  // namespace firewall
