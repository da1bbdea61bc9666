// A network beside this host, for as long as this object lives: one machine behind a cable, whose end here is the
// interface gp-verify0 that all rules intercept. Nothing else of this host changes, and all of it goes away with this
// process, however that ends.
#pragma once

#include <chrono>
#include <cstdint>
#include <expected>
#include <string>

#include "firewall/facts.h"
#include "firewall/network_namespace.h"
#include "firewall/rules.h"

namespace firewall {

enum class Reached { connected, refused, silence, unreachable };

// One try to connect.
struct Attempt {
  Reached reached = Reached::silence;
  Descriptor socket{};
  std::string source{};  // address and port of our end
  std::uint16_t source_port = 0;
};

inline constexpr std::chrono::seconds attempt_patience{3};  // a SYN is sent twice in this time

class TestNetwork {
 public:
  // In ranges for tests of networks (RFC 2544, RFC 5180) that none of `facts.interfaces` is in.
  static std::expected<TestNetwork, std::string> create(const Facts& facts);
  ~TestNetwork();
  TestNetwork(TestNetwork&&) = default;
  TestNetwork(const TestNetwork&) = delete;

  std::string address(Version version) const;  // of the machine behind the cable
  std::string here(Version version) const;     // of this host's end
  Attempt connect(Version version, const std::string& address, std::uint16_t port) const;  // from that machine

  // From now on that machine's TCP packets of this family are received as if they had come by this interface of the
  // host. Only our end of the cable is told so (tc(8)): what really comes by the interface, and all that leaves by it,
  // is left alone. `verify_interface`: as they come. The error, or ""; after one they come as they are.
  std::string arrive_by(const std::string& interface, Version version) const;

 private:
  TestNetwork(Descriptor alone, NetworkNamespace there, std::string four, std::string six)
      : alone_(std::move(alone)), there_(std::move(there)), four_(std::move(four)), six_(std::move(six)) {}
  std::string lay_cable() const;  // the error, or ""
  Descriptor alone_;  // one at a time
  NetworkNamespace there_;
  std::string four_, six_;  // the networks, up to the last part of an address
};

// Says goodbye, and waits a moment for the other end's: what is left of a connection whose network has gone stays in
// this host's kernel for minutes.
void hang_up(const Attempt& made);

// From this host; `socket` is not connected yet.
Attempt connect_from(Descriptor socket, Version version, const std::string& address, std::uint16_t port);

}  // namespace firewall
