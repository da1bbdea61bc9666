// Banned clients: sets of the kernel (of nft or ipset, as the rules in force are), in which an entry goes away by
// itself. Rules look at them when firewall.bans is on; no process of ours has to live for it. Each function runs
// programs and blocks.
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
  std::string reason{};          // empty: nobody has said why
  bool operator==(const Ban&) const = default;
};

// The error is a sentence: not root, no ipset, or no rules with bans in force.
std::expected<std::vector<Ban>, std::string> list_bans();
// By hand: for `time` from now on, whatever was said of this network before; 0 = until it is removed. Not a network
// that touches the allow-list in force, and not all addresses at once. With nft no banned network lies inside another
// one: a wider one takes the place of those inside that end sooner; inside a wider one that lasts as long there is
// nothing to do; the rest are errors.
std::expected<void, std::string> ban(const config::Netmask& network, std::chrono::seconds time, std::string reason);
// Of a client that has offended: `network` for `time`, unless that, or a wider one, is banned for as long already. With
// nft also unless a wider one is banned at all; and where `network` holds somebody who is banned for longer the
// client's address alone. What comes back bans the client now, and is the network to lift.
struct Standing {
  Ban ban;
  bool before = false;  // it was there already
  bool operator==(const Standing&) const = default;
};
std::expected<Standing, std::string> ban_for_offence(const config::Netmask& network, const config::Netmask& client,
                                                     std::chrono::seconds time, std::string reason);
// False: that network was not banned, though a larger or smaller one may be.
std::expected<bool, std::string> unban(const config::Netmask& network);

}  // namespace firewall
