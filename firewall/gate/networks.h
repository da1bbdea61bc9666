// A list of networks in which an address is looked up in the time that a few of them would take, however many there
// are.
#pragma once

#include <vector>

#include "config/netmask.h"
#include "firewall/gate/packet.h"

namespace gate {

class Networks {
 public:
  Networks() = default;
  explicit Networks(const std::vector<config::Netmask>& netmasks);
  bool contain(const Address& address) const;

 private:
  struct Length {
    unsigned prefix;
    std::vector<Address> networks;  // sorted; the bits behind the prefix are zero
  };
  std::vector<Length> lengths_;
};

}  // namespace gate
