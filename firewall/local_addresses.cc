#include "firewall/local_addresses.h"

#include <ifaddrs.h>

#include <memory>

#include "config/endpoint.h"

namespace firewall {
namespace {

constexpr std::chrono::seconds oldest{60}, soonest{1};

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
  ifaddrs* first = nullptr;
  if (::getifaddrs(&first) != 0) return;  // what was known stays known
  const std::unique_ptr<ifaddrs, void (*)(ifaddrs*)> all(first, ::freeifaddrs);
  read_at_ = now;
  known_.clear();
  for (const ifaddrs* each = first; each != nullptr; each = each->ifa_next)
    if (each->ifa_addr != nullptr && (each->ifa_addr->sa_family == AF_INET || each->ifa_addr->sa_family == AF_INET6))
      known_.insert(config::octets_of(each->ifa_addr));
}

}  // namespace firewall
