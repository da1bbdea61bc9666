// What the files plan_nft*.cc share. For them alone.
#pragma once

#include <string>
#include <vector>

#include "firewall/rules.h"

namespace firewall::nft {

std::string list(const std::vector<std::string>& words);  // "a, b"
// Which connections a diversion means, but for its skip lists; `destinations` is a set, unused where nothing is
// protected. By these interfaces, or those where they are diverted.
std::string match(const Diversion& each, const std::string& destinations, const std::vector<std::string>& interfaces);
std::string match(const Diversion& each, const std::string& destinations);
// Connections that this host makes, apart from the proxy's own: two rules in front of others.
std::string not_our_own(const Rules& rules);

// The table of bans: made, or with new rules; who is banned stays so.
std::string bans(const Rules& rules);
// Nobody is looked up in them any more.
std::string no_bans(const Rules& rules);

}  // namespace firewall::nft
