#include "firewall/verify.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>

#include "config/endpoint.h"
#include "firewall/counters.h"
#include "firewall/test_network.h"
#include "firewall/transparent_socket.h"

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

// A server elsewhere answers our spoofed source only through us.
std::optional<Fault> try_spoof(const VerifyOptions& options) {
  const auto from = config::parse_address(options.spoof_from.find(':') == std::string::npos
                                              ? options.spoof_from + ":0"
                                              : fmt::format("[{}]:0", options.spoof_from));
  const auto to = config::parse_address(options.spoof_to);
  if (!from || !to || from->is_unix() || from->address.ss_family != to->address.ss_family)
    return Fault{fmt::format("{} and {} are no addresses of one family", options.spoof_from, options.spoof_to),
                 "write --spoof-from ADDRESS --spoof-to ADDRESS:PORT"};
  const int family = to->address.ss_family;
  const auto made = transparent_socket(family);
  if (!made) return Fault{fmt::format("no socket with a foreign address: {}", std::strerror(made.error())), "be root"};
  Descriptor socket(*made);
  if (::bind(socket.get(), from->get(), from->length) != 0)
    return Fault{fmt::format("{} cannot be our address: {}", options.spoof_from, std::strerror(errno)),
                 "name an address of a client"};
  const std::string text = config::to_text(*to);
  const Version version = family == AF_INET6 ? Version::v6 : Version::v4;
  std::string address = text.substr(0, text.rfind(':'));
  std::erase_if(address, [](char c) { return c == '[' || c == ']'; });
  const Attempt attempt = connect_from(std::move(socket), version, address, config::port_of(*to));
  // A refusal is an answer that came back.
  if (attempt.reached == Reached::connected || attempt.reached == Reached::refused) return std::nullopt;
  return Fault{fmt::format("{} does not answer connections from {}: its replies do not come back through this host",
                           options.spoof_to, options.spoof_from),
               "make this host the server's way to its clients (its default gateway), or do not spoof"};
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
  const auto lock = StateFile::lock(options.directory);  // nobody changes them meanwhile
  if (!lock) return failure_of(lock.error());
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
  if (!network) return failure(Failure::Kind::permission, network.error());
  const Rules rules = rules_of(config);
  for (const Diversion& each : rules.diversions) {
    add(verification, prove_everywhere({each, rules, *in_force, *facts, *network}));
    if (!each.drop_interfaces.empty()) verification.proofs.push_back(inspect_drop(each, *in_force));
  }
  if (!options.spoof_from.empty())
    if (auto fault = try_spoof(options)) verification.faults.push_back(std::move(*fault));
  return verification;
}

}  // namespace firewall
