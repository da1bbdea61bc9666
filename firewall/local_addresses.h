// The addresses of this host, as they are now: interfaces come and go.
#pragma once

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <cstdint>
#include <set>
#include <vector>

#include "config/netmask.h"

namespace firewall {

class LocalAddresses {
 public:
  // AF_INET or AF_INET6. All of 127/8 and ::1 are local. Reads the interfaces again when the address is not among those
  // known, at most once a second, and after a minute in any case.
  bool holds(const sockaddr* address, std::chrono::steady_clock::time_point now);

 private:
  void read(std::chrono::steady_clock::time_point now);
  std::set<std::array<std::uint8_t, 16>> known_;  // IPv4 mapped
  std::chrono::steady_clock::time_point read_at_{};
};

// All of them now; empty when the system does not say.
std::vector<config::Netmask> own_addresses();

}  // namespace firewall
