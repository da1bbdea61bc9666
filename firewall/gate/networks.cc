#include "firewall/gate/networks.h"

#include <algorithm>
#include <map>

namespace gate {

Networks::Networks(const std::vector<config::Netmask>& netmasks) {
  std::map<unsigned, std::vector<Address>> by_length;
  for (const config::Netmask& each : netmasks)
    by_length[each.prefix].push_back(config::leading_bits(each.network, each.prefix));
  for (auto& [prefix, networks] : by_length) {
    std::ranges::sort(networks);
    lengths_.push_back({prefix, std::move(networks)});
  }
}

bool Networks::contain(const Address& address) const {
  return std::ranges::any_of(lengths_, [&address](const Length& each) {
    return std::ranges::binary_search(each.networks, config::leading_bits(address, each.prefix));
  });
}

}  // namespace gate
