// config + facts -> what the packet filter is told, as a pure function: the steps that apply runs, those that remove
// all of it again, and where the counters stand. Nothing here looks at the host.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "firewall/command.h"
#include "firewall/facts.h"
#include "firewall/json.h"
#include "firewall/rules.h"

namespace firewall {

// Holds when the program ends with 0 and its output contains `output`.
struct Condition {
  std::vector<std::string> argv;
  std::string output{};
  bool operator==(const Condition&) const = default;
};

struct Step {
  std::string why;  // one sentence without a full stop
  Command command;
  std::optional<Condition> condition{};
  bool when = true;       // run it only when the condition holds, or (false) only when it does not
  bool may_fail = false;  // then nothing was to be done
  bool operator==(const Step&) const = default;
};

struct Plan {
  config::Backend backend{};
  std::vector<Step> apply;   // all that diverts comes last; each may be run again
  // From then on new connections go by, and those that are diverted already are served as before: to remove the rules
  // would cut them off. Nothing for packet filters that keep what runs by themselves, or cannot tell it from the rest.
  std::vector<Step> step_aside;
  std::vector<Step> remove;  // each is harmless where its part was never applied, or is gone already
  std::vector<std::string> warnings;
  std::vector<Diversion> diversions;  // with a counter each, by its label
  bool fail_closed = false;           // without its gate, new connections wait: to remove it would let them by
  bool operator==(const Plan& other) const {
    return backend == other.backend && apply == other.apply && step_aside == other.step_aside &&
           remove == other.remove;
  }
};

// The errors: sentences, all at once.
std::expected<Plan, std::vector<std::string>> plan(const config::Config& config, const Facts& facts);

// Bridges of this host that listeners without "interfaces" do not cover, as sentences; a plan has them among its
// warnings.
std::vector<std::string> bridge_warnings(const Rules& rules, const Facts& facts);

// A shell script that does the same, for reading and for running by hand.
std::string in_shell(const std::vector<Step>& steps, std::string_view title);

std::string_view to_string(config::Backend backend);  // as in the configuration
// Of the diversions, what their labels are made of, and which sockets are theirs.
Node node_of(const Plan& plan);
std::optional<Plan> plan_from(const Node& node);
Node node_of(const std::vector<Step>& steps);
std::vector<Step> steps_from(const std::vector<Node>& nodes);

// The backends: each adds its steps (plan_*.cc). `errors` gets a sentence for each thing that cannot be.
struct Draft {
  const Rules& rules;
  const Facts& facts;
  Plan& plan;
  std::vector<std::string>& errors;
};
void plan_nft(Draft& draft);
void plan_iptables(Draft& draft);
void plan_pf_openbsd(Draft& draft);
void plan_pf_freebsd(Draft& draft);
void plan_ipfw(Draft& draft);
// Policy routing and sysctls of Linux, for either of its backends; before their rules.
void plan_routes(Draft& draft);
// Whether a plan may change this sysctl, and its removal gives it back its former value.
bool is_set_by_us(std::string_view sysctl);
// With these the kernel looks for the way back of an IPv4 packet by its mark, and finds this host: a martian.
// As `ip rule` shows what leads to our routing table; by its priority after the table of local addresses (0), before
// whatever else an administrator has.
std::string routing_rule(std::string_view table);
inline constexpr int routing_rule_priority = 25;

std::vector<std::string> martian_sysctls(const Facts& facts);

// What the rules need of the kernel, by the names of the facts (probe.cc).
std::vector<std::string> missing_for_nft(const Rules& rules, const Facts& facts);
std::vector<std::string> missing_for_iptables(const Rules& rules, const Facts& facts);

}  // namespace firewall
