// A plan put into force, and taken out of it again. Whatever fails, the host is as it was before: without rules of
// ours, or with those that were in force. One at a time: others wait. Nothing here writes to a terminal or log.
#pragma once

#include <chrono>
#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "firewall/diverted.h"
#include "firewall/state.h"

namespace firewall {

// Called before each step is run.
using Watch = std::function<void(const Step&)>;

struct Failure {
  enum class Kind {
    plan,          // it cannot be: each sentence says why
    directory,     // what is in force cannot be remembered there
    permission,    // not root
    busy,          // somebody else is at work
    unconfirmed,   // an earlier application still waits to be confirmed
    not_in_force,  // no rules, or none that take new connections
    step,          // the last sentence says what is left of it, if anything
  };
  Kind kind;
  std::vector<std::string> sentences;
};

std::unexpected<Failure> failure_of(const NotLocked& error);

struct ApplyOptions {
  std::string directory = default_state_directory;
  std::chrono::seconds confirm_within{0};  // 0: for good; else a process of its own takes it back after that time
  Watch watch = [](const Step&) {};
  pid_t owner = 0;  // State::owner; 0: as before
};

// The plan that is in force now. Applying the same twice changes nothing.
std::expected<Plan, Failure> apply(const config::Config& config, const ApplyOptions& options);

// What was applied with this token, put in once more after somebody has flushed it. False: it is not in force any more, for
// others were at work meanwhile.
std::expected<bool, Failure> put_back(const std::string& directory, const std::string& token);

// What is planned for this host as it was before anything of ours was applied: what `apply` would run.
std::expected<Plan, Failure> plan_here(const config::Config& config, const std::string& directory);

// True: the rules stay. False: nothing waits for it (any more).
std::expected<bool, Failure> confirm(const std::string& directory);

// The first half of a removal that cuts nobody off: new connections go by, and those that are diverted go on. False:
// there is no such half, and to remove them is all that can be done, or nothing is in force. Doing it twice does no
// harm; `apply` takes it back.
std::expected<bool, Failure> step_aside(const std::string& directory, const Watch& watch);
// The second half, when no connection depends on them any more, and after the longest time whatever is left: `cut` hears of
// it before. Those that somebody serves are waited for so long, however many there are; those that wait for nothing but
// that the other end takes what was sent last for for_last_packets at most, for it may never. `tell` hears how many there
// are, when that has changed; none: the kernel does not say, and they are waited for as if there were some. False: they
// have not stepped aside, or somebody has applied others.
inline constexpr std::chrono::seconds for_last_packets{5};
using Tell = std::function<void(std::optional<Diverted>)>;
struct Waiting {
  std::chrono::milliseconds longest{0};
  Tell tell = [](auto) {};
  std::function<void(const Diverted&)> cut = [](const Diverted&) {};
};
std::expected<bool, Failure> remove_when_unused(const std::string& directory, const Waiting& waiting, const Watch& watch);
// True: there was something, and it is gone. All of it is tried, whatever fails; what failed can be tried again.
std::expected<bool, Failure> remove(const std::string& directory, const Watch& watch);
// For rules that nobody remembers: whatever this configuration would have made.
std::expected<bool, Failure> remove_planned(const config::Config& config, const std::string& directory,
                                            const Watch& watch);

// What somebody else has removed since it was applied: rules, and what leads to them. Nothing: the packet filter's program
// does not say.
std::optional<std::vector<std::string>> missing_parts(const Plan& plan);

// Steps one after the other; the sentences say what failed. `all`: go on after a failure.
std::vector<std::string> run_steps(const std::vector<Step>& steps, const Watch& watch, bool all);

}  // namespace firewall
