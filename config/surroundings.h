// What a config is checked against outside of itself: names, accounts, files. Tests put their own in place.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/endpoint.h"

namespace config {

// What is wrong at a JSON pointer of the merged config, as the loader's own sentences are.
struct Finding {
  std::string pointer;
  std::string text;
  bool warning = false;
};

struct Surroundings {
  std::string hostname;  // what gethostname() says; empty = nothing usable
  bool root = false;
  Account own;  // our effective uid and gid
  // All addresses of a name of this machine (where a listener binds), with the port; the error says why not. May block
  // for DNS.
  std::function<std::expected<std::vector<Endpoint>, std::string>(const HostPort& where, const std::string& text)>
      resolve;
  std::function<std::optional<Account>(const std::string& name)> account;   // by name
  std::function<std::optional<std::uint32_t>(std::uint32_t uid)> group_of;  // of a uid that has a passwd entry
  std::function<bool(const std::string& path)> exists;
  // Reads certificates and keys and tries them; empty = they are not looked at.
  std::function<std::vector<Finding>(const Config& config)> tls{};
};

Surroundings this_machine();

}  // namespace config
