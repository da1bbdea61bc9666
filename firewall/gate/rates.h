// Connections per client network over the last minute, for any number of networks in an amount of memory that is fixed.
// Whoever connects most is remembered longest: a flood from many networks pushes out those with the fewest connections.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <vector>

#include "firewall/gate/packet.h"

namespace gate {

using Clock = std::chrono::steady_clock;

class ConnectionRates {
 public:
  // `seed`: nobody outside may know it, or clients could choose networks that push out each other.
  explicit ConnectionRates(std::uint64_t seed);

  // Counts one more of that network (an address whose last bits are zero) at that listener; the result: how many came
  // in the minute before `now`, this one among them. Those of the minute of the clock before are taken as spread
  // evenly.
  std::uint32_t count(std::uint32_t listener, const Address& network, Clock::time_point now);

  static constexpr std::size_t sets = 8192, ways = 8;  // 2 MiB

 private:
  struct Entry {
    Address network{};
    std::uint32_t listener = 0;
    std::uint32_t minute = 0;  // of the clock, that `current` counts
    std::uint32_t current = 0, previous = 0;
    void move_to(std::uint32_t now);
    std::uint32_t weight() const { return current + previous; }
  };
  Entry& entry_of(std::uint32_t listener, const Address& network, std::uint32_t minute);

  std::uint64_t seed_;
  std::vector<std::array<Entry, ways>> entries_;
};

// `address` with nothing but its first `prefix` bits; of an IPv4 address 96 more.
Address network_of(const Address& address, unsigned prefix_v4, unsigned prefix_v6);
bool is_v4(const Address& address);

}  // namespace gate
