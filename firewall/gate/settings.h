// What gatepost-gate is told: JSON on a descriptor, written by the supervisor from the configuration, or by hand.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace gate {

// One listener whose connections are intercepted; it has a queue of its own, which says whose a packet is.
struct Listener {
  std::string name;
  std::uint16_t queue = 0;
  std::uint32_t connections = 0;  // per client network and minute; more are reset; 0 = any number
  std::uint32_t prefix_v4 = 32, prefix_v6 = 64;
  bool operator==(const Listener&) const = default;
};

struct Settings {
  // What the kernel does with a connection when there is no answer from us (a full queue), and we with one while the
  // proxy is not ready: let it by (true) or not.
  bool open = false;
  std::uint32_t length = 0;        // packets that may wait in one queue
  std::uint32_t uid = 0, gid = 0;  // to become, with CAP_NET_ADMIN alone; 0 = stay who we are
  std::vector<Listener> listeners{};
  bool operator==(const Settings&) const = default;
};

// Without account. No listeners: the configuration has no gate.
Settings settings_of(const config::Config& config);

std::string to_json(const Settings& settings);
// The error is one sentence.
std::expected<Settings, std::string> settings_from_json(std::string_view text);

}  // namespace gate
