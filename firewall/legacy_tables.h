// The rules of the old iptables, which nft cannot see, in the shape of its JSON: for shadows.h.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "firewall/json.h"

namespace firewall {

// Of what iptables-save says. Tables are called "legacy-NAME". A rule becomes its port, whether it asks for anything
// else, and what it does; one that is not about TCP is left out.
std::vector<Node> legacy_tables(std::string_view text, std::string_view family);

// Of this host; empty where the old iptables has no rules in this network, or is not installed.
std::vector<Node> read_legacy_tables();

}  // namespace firewall
