// What has been applied, remembered in DIRECTORY/firewall.json: so that it can be removed after the configuration has
// changed, and given back what was before. Rules do not survive a restart of the machine, and such a file means nothing
// after it.
#pragma once

#include <sys/types.h>

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
    aside,    // what was in force serves connections that are diverted already; new ones go by (Plan::step_aside)
    removed,  // nothing is in force: a word to whoever waits for the confirmation, before the file goes
  };
  Phase phase = Phase::applying;
  Plan plan{};
  Facts before{};                  // the host without anything of ours
  std::optional<Plan> previous{};  // what was in force before this one; kept until it is confirmed
  bool previous_aside = false;     // and had stepped aside
  std::string token{};             // of one application, for whoever waits for its confirmation
  pid_t owner = 0;                 // the gatepost that has put them in for as long as it serves; 0 = whoever asked for them by hand
  std::uint64_t deadline = 0;      // seconds since 1970: until then somebody waits for its end (guardian.h); 0 = nobody
};

// Read without a lock: the file is only ever replaced as a whole. Nothing when there is none, or one of an earlier
// boot. The error: it cannot be read, or is none of ours.
std::expected<std::optional<State>, std::string> load_state(const std::string& directory);
// The application with this token is confirmed or removed, or gave way to another one. Not when the file is gone or
// cannot be read: that says nothing.
bool is_settled(const std::string& directory, const std::string& token);

// Whole and in force, and such that nobody gets by without us: who ends leaves them in force, so that mail waits. Half of them keeps
// no promise.
bool stays_closed(const State& state);

// The rules belong to a gatepost that runs, and that is not `self`.
bool is_of_another(const State& state, pid_t self);

// Why nobody may change rules now.
struct NotLocked {
  enum class Why { busy, not_root, unusable };  // unusable: the directory, and for root, too
  Why why;
  std::string sentence;
};

// Held by whoever changes rules. The directory is made when it is missing; everybody may read, whatever our umask is.
class StateFile {
 public:
  // Waits for other holders, and not for ever: one may have been stopped. The error says who.
  static std::expected<StateFile, NotLocked> lock(const std::string& directory,
                                                  std::chrono::milliseconds patience = std::chrono::seconds(60));
  std::expected<std::optional<State>, std::string> load() const { return load_state(directory_); }
  std::expected<void, std::string> save(const State& state) const;  // on disk, or as it was
  // Nothing of it is in force any more: the file goes, at the hands of whoever waits for the confirmation if somebody
  // may.
  void close(const State& state) const;
  // Whoever waited with this token has heard of it: a last word goes, and none is needed any more.
  void heard(const std::string& token) const;
  const std::string& directory() const { return directory_; }

 private:
  StateFile(std::string directory, Descriptor lock) : directory_(std::move(directory)), lock_(std::move(lock)) {}
  void erase() const;
  std::string directory_;
  Descriptor lock_;
};

}  // namespace firewall
