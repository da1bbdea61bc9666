#include "firewall/verify.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>

#include "firewall/counters.h"
#include "firewall/test_network.h"

namespace firewall {
namespace {

std::unexpected<Failure> failure(Failure::Kind kind, std::string sentence) {
  return std::unexpected(Failure{kind, {std::move(sentence)}});
}

void add(Verification& verification, Proven proven) {
  std::ranges::move(proven.proofs, std::back_inserter(verification.proofs));
  for (Fault& each : proven.faults)
    if (std::ranges::find(verification.faults, each) == verification.faults.end())
      verification.faults.push_back(std::move(each));
}

// Nothing can be tried there: an interface of somebody else leads to it.
Proof inspect_drop(const Diversion& each, const Plan& in_force) {
  const Counters counters = read_counters(in_force);
  const auto found = counters.find(dropped_label(each));
  const std::string where = fmt::format("{}", fmt::join(each.drop_interfaces, " and "));
  if (found == counters.end())
    return {each.listener, each.scope, each.version, Result::failed,
            fmt::format("no rule drops what comes by {}", where)};
  return {each.listener, each.scope, each.version, Result::inspected,
          fmt::format("the rule is there that drops what comes by {}; it has dropped {} first packets", where,
                      found->second)};
}

std::expected<Plan, Failure> plan_in_force(const std::string& directory) {
  const auto state = load_state(directory);
  if (!state) return failure(Failure::Kind::step, state.error());
  if (!*state || (*state)->phase == State::Phase::applying)
    return failure(Failure::Kind::not_in_force, "no rules are in force: \"gatepost firewall apply\" first");
  if ((*state)->phase == State::Phase::aside)
    return failure(Failure::Kind::not_in_force,
                   "the rules let new connections by, as they are about to be removed: \"gatepost firewall apply\" first");
  return (*state)->plan;
}

}  // namespace

std::string_view to_string(Result result) {
  return result == Result::proven ? "proven" : result == Result::inspected ? "inspected" : "failed";
}

bool Verification::good() const {
  return faults.empty() &&
         std::ranges::none_of(proofs, [](const Proof& each) { return each.result == Result::failed; });
}

std::expected<Verification, Failure> verify(const config::Config& config, const VerifyOptions& options) {
  if (const auto lock = StateFile::lock(options.directory); !lock) return failure_of(lock.error());
  const auto in_force = plan_in_force(options.directory);
  if (!in_force) return std::unexpected(in_force.error());
  const auto facts = probe();
  if (!facts) return failure(Failure::Kind::permission, facts.error());
  Verification verification;
  verification.faults = diagnose(config, *in_force, *facts);
  verification.warnings = doubts(config, *facts, options);
  const auto planned = plan_here(config, options.directory);
  if (!planned) {
    for (const std::string& each : planned.error().sentences)
      verification.faults.push_back({each, "see \"gatepost firewall plan\""});
  } else if (!(*planned == *in_force)) {
    verification.faults.push_back(
        {"the rules in force are not those of this configuration", "gatepost firewall apply"});
  }
  const auto network = TestNetwork::create(*facts);
  if (!network) return failure(Failure::Kind::step, network.error());
  const Rules rules = rules_of(config);
  for (const Diversion& each : rules.diversions) {
    const bool proven = std::ranges::any_of(verification.proofs, [&each](const Proof& earlier) {
      return earlier.listener == each.listener && earlier.result == Result::proven;
    });
    const auto connections = config.listeners.at(each.number - 1).max_client_connections;
    add(verification, prove_everywhere({each, rules, *in_force, *facts, *network, connections, proven}));
    if (!each.drop_interfaces.empty()) verification.proofs.push_back(inspect_drop(each, *in_force));
  }
  if (options.spoof) {
    auto fault = try_spoof(*options.spoof, *facts);
    verification.spoof = fault ? Result::failed : Result::proven;
    if (fault) verification.faults.push_back(std::move(*fault));
  }
  // It may take minutes, and nobody has to wait for it.
  if (const auto now = plan_in_force(options.directory); !now || !(*now == *in_force))
    return failure(Failure::Kind::busy, "somebody has changed the rules meanwhile: try again");
  return verification;
}

}  // namespace firewall
