// What has been applied, remembered in DIRECTORY/firewall.json: so that it can be removed after the configuration has
// changed, and given back what was before. Rules do not survive a restart of the machine, and such a file means nothing
// after it.
#pragma once

#include <chrono>
#include <expected>
#include <optional>
#include <string>

#include "firewall/descriptor.h"
#include "firewall/plan.h"

namespace firewall {

inline constexpr const char* default_state_directory = "/run/gatepost";

struct State {
  enum class Phase {
    applying,     // begun, and perhaps cut: some of its steps may have been run
    unconfirmed,  // in force until the deadline
    applied,
  };
  Phase phase = Phase::applying;
  Plan plan{};
  Facts before{};                  // the host without anything of ours
  std::optional<Plan> previous{};  // what was in force before this one; kept until it is confirmed
  std::string token{};             // of one application, for whoever waits for its confirmation
  std::uint64_t deadline = 0;      // seconds since 1970, of an unconfirmed one
};

// Read without a lock: the file is only ever replaced as a whole. Nothing when there is none, or one of an earlier
// boot. The error: it cannot be read, or is none of ours.
std::expected<std::optional<State>, std::string> load_state(const std::string& directory);

// Held by whoever changes rules. The directory is made when it is missing.
class StateFile {
 public:
  static std::expected<StateFile, std::string> lock(const std::string& directory);  // waits for other holders
  std::expected<std::optional<State>, std::string> load() const { return load_state(directory_); }
  std::expected<void, std::string> save(const State& state) const;  // on disk, or as it was
  void erase() const;
  const std::string& directory() const { return directory_; }

 private:
  StateFile(std::string directory, Descriptor lock) : directory_(std::move(directory)), lock_(std::move(lock)) {}
  std::string directory_;
  Descriptor lock_;
};

}  // namespace firewall
