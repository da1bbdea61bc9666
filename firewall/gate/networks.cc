#include "firewall/gate/networks.h"

#include <algorithm>
#include <map>

namespace gate {

Networks::Networks(const std::vector<config::Netmask>& netmasks) {
  std::map<unsigned, std::vector<Address>> by_length;
  for (const config::Netmask& each : netmasks) by_length[each.prefix].push_back(network_of(each.network, each.prefix));
  for (auto& [prefix, networks] : by_length) {
    std::ranges::sort(networks);
    lengths_.push_back({prefix, std::move(networks)});
  }
}

bool Networks::contain(const Address& address) const {
  return std::ranges::any_of(lengths_, [&address](const Length& each) {
    return std::ranges::binary_search(each.networks, network_of(address, each.prefix));
  });
}

Address network_of(const Address& address, unsigned prefix) {
  Address network = address;
  for (unsigned octet = 0; octet < network.size(); ++octet) {
    const unsigned kept = prefix > octet * 8 ? std::min(prefix - octet * 8, 8U) : 0;
    network[octet] = static_cast<std::uint8_t>(network[octet] & (0xFF00U >> kept));
  }
  return network;
}

}  // namespace gate
