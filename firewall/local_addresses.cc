#include "firewall/local_addresses.h"

#include <ifaddrs.h>

#include <memory>
#include <optional>

#include "config/endpoint.h"

namespace firewall {
namespace {

using Octets = std::set<std::array<std::uint8_t, 16>>;

constexpr std::chrono::seconds oldest{60}, soonest{1};

std::optional<Octets> of_interfaces() {
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return std::nullopt;
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(first, ::freeifaddrs);
  Octets found;
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next)
    if (each->ifa_addr != nullptr && (each->ifa_addr->sa_family == AF_INET || each->ifa_addr->sa_family == AF_INET6))
      found.insert(config::octets_of(each->ifa_addr));
  return found;
}

}  // namespace

bool LocalAddresses::holds(const sockaddr* address, std::chrono::steady_clock::time_point now) {
  const std::array<std::uint8_t, 16> octets = config::octets_of(address);
  const bool mapped = octets[10] == 0xFF && octets[11] == 0xFF;
  if (mapped && octets[12] == 127) return true;
  if (now - read_at_ > oldest) read(now);
  if (known_.contains(octets)) return true;
  if (now - read_at_ <= soonest) return false;
  read(now);
  return known_.contains(octets);
}

void LocalAddresses::read(std::chrono::steady_clock::time_point now) {
  std::optional<Octets> all = of_interfaces();
  if (!all) return;  // what was known stays known
  read_at_ = now;
  known_ = std::move(*all);
}

std::vector<config::Netmask> own_addresses() {
  std::vector<config::Netmask> all;
  for (const auto& octets : of_interfaces().value_or(Octets())) all.push_back(config::network_around(octets, 128));
  return all;
}

}  // namespace firewall
