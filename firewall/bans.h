// Banned clients: sets of the kernel (ipset), in which an entry goes away by itself. Rules look at them when
// firewall.bans is on; no process of ours has to live for it. Each function runs programs and blocks.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>
#include <vector>

#include "config/netmask.h"

namespace firewall {

inline constexpr std::chrono::seconds longest_ban{2'147'483};  // as the kernel counts: 24 days

struct Ban {
  std::string network;           // "192.0.2.1", "2001:db8::/32"
  std::chrono::seconds left{0};  // 0 = until it is removed
  bool operator==(const Ban&) const = default;
};

// The error is a sentence: not root, no ipset, or no rules with bans in force.
std::expected<std::vector<Ban>, std::string> list_bans();
// For `time` from now on, whatever was said of this network before; 0 = until it is removed. Not a network that touches
// the allow-list in force, and not all addresses at once.
std::expected<void, std::string> ban(const config::Netmask& network, std::chrono::seconds time);
// False: that network was not banned, though a larger or smaller one may be.
std::expected<bool, std::string> unban(const config::Netmask& network);

// The lines "add SET NETWORK timeout SECONDS" among `text`, as `ipset save` writes them; others are passed over.
std::vector<Ban> bans_in(const std::string& text, const std::string& set);

}  // namespace firewall
