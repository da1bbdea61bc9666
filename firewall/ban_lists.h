// The kernel's sets of banned clients, and of those who never are, as ipset and nft write them. Pure.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "firewall/bans.h"

namespace firewall {

// Both ends are in it; IPv4 mapped, as in a Netmask.
struct AddressRange {
  std::array<std::uint8_t, 16> first{}, last{};
  bool operator==(const AddressRange&) const = default;
};
AddressRange range_of(const config::Netmask& network);
bool touch(const AddressRange& one, const AddressRange& other);

// Of what is left of two bans; 0 = until it is removed.
bool ends_sooner(std::chrono::seconds one, std::chrono::seconds other);

// Where a ban for an offence belongs among those that are in force (ban_for_offence); `nested`: one network may be
// banned inside another one.
struct Place {
  std::optional<Ban> before{};  // nothing is to be done: this one is in force
  config::Netmask network{};    // else: to be banned
};
Place place_of_offence(const config::Netmask& network, const config::Netmask& client, std::chrono::seconds time,
                       const std::vector<Ban>& banned, bool nested);

// The lines `add SET NETWORK timeout SECONDS comment "WHY"` among `text`, as `ipset save` writes them; others are
// passed over.
std::vector<Ban> bans_in(const std::string& text, const std::string& set);
// What `nft -j list set` says; elements that are no address or network are passed over.
std::vector<Ban> bans_in_nft(const std::string& json);
// Elements of a set whose neighbours nft has merged are ranges, too.
std::vector<AddressRange> ranges_in_nft(const std::string& json);

// Octets that mean something to ipset or nft are underscores, and what is too long for them is cut.
std::string as_comment(std::string text);

}  // namespace firewall
