// A network of our own (network_namespaces(7)) for trying things out: nothing done inside is seen outside, and it goes
// away, with its interfaces and both ends of their cables, when its last descriptor is closed, however this process
// ends.
#pragma once

#include <expected>
#include <functional>
#include <string>

#include "firewall/descriptor.h"

namespace firewall {

class NetworkNamespace {
 public:
  // Needs CAP_SYS_ADMIN; the error says so.
  static std::expected<NetworkNamespace, std::string> create();

  // Runs `what` in a thread of its own that has entered the namespace; the caller stays where it is. A socket belongs
  // to the network where it was made. False when it could not be entered.
  bool inside(const std::function<void()>& what) const;

  int descriptor() const { return fd_.get(); }

 private:
  explicit NetworkNamespace(Descriptor fd) : fd_(std::move(fd)) {}
  Descriptor fd_;
};

}  // namespace firewall
