#include "firewall/gate/rates.h"

#include <xxhash.h>

#include <algorithm>
#include <limits>

#include "config/netmask.h"

namespace gate {
namespace {

constexpr std::chrono::seconds window{60};
constexpr unsigned mapped_bits = 96;

}  // namespace

ConnectionRates::ConnectionRates(std::uint64_t seed) : seed_(seed), entries_(sets) {}

void ConnectionRates::Entry::move_to(std::uint32_t now) {
  if (minute == now) return;
  previous = minute + 1 == now ? current : 0;
  current = 0;
  minute = now;
}

ConnectionRates::Entry& ConnectionRates::entry_of(std::uint32_t listener, const Address& network,
                                                  std::uint32_t minute) {
  std::array<Entry, ways>& set =
      entries_[XXH3_64bits_withSeed(network.data(), network.size(), seed_ + listener) % sets];
  for (Entry& each : set) {
    each.move_to(minute);
    if (each.listener == listener && each.network == network) return each;
  }
  Entry& least = *std::ranges::min_element(set, {}, &Entry::weight);
  least = Entry{.network = network, .listener = listener, .minute = minute};
  return least;
}

std::uint32_t ConnectionRates::count(std::uint32_t listener, const Address& network, Clock::time_point now) {
  const auto since = now.time_since_epoch();
  const auto minute = static_cast<std::uint32_t>(since / window);
  Entry& entry = entry_of(listener, network, minute);
  if (entry.current < std::numeric_limits<std::uint32_t>::max() / 2) ++entry.current;
  const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(window - since % window).count();
  const auto before = std::uint64_t{entry.previous} * static_cast<std::uint64_t>(left) / 60'000U;
  return entry.current + static_cast<std::uint32_t>(before);
}

bool is_v4(const Address& address) {
  return std::all_of(address.begin(), address.begin() + 10, [](std::uint8_t octet) { return octet == 0; }) &&
         address[10] == 0xFF && address[11] == 0xFF;
}

Address network_of(const Address& address, unsigned prefix_v4, unsigned prefix_v6) {
  return config::leading_bits(address, is_v4(address) ? mapped_bits + prefix_v4 : prefix_v6);
}

}  // namespace gate
