// firewall status: whether rules are in force, and what they have counted.
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sysexits.h>
#include <unistd.h>

#include <map>
#include <optional>

#include "firewall/apply.h"
#include "firewall/counters.h"
#include "firewall/diverted.h"
#include "firewall/passed_on.h"
#include "proxy/admin/command_firewall.h"
#include "proxy/admin/commands.h"

namespace admin {
namespace {

using firewall::Node;
using Phase = firewall::State::Phase;

// By a gate that is fail-open and did not answer; nothing where there is no such gate.
std::optional<std::uint64_t> unscanned(const firewall::State& state, const firewall::Counters& counters) {
  std::optional<std::uint64_t> all;
  for (const firewall::Diversion& each : state.plan.diversions)
    if (const auto found = counters.find(undecided_label(each)); found != counters.end())
      all = all.value_or(0) + found->second;
  return all;
}

// TLS that went through to the server since gatepost was started; by listener.
std::map<std::string, std::uint64_t> passed_on(const firewall::State& state, const std::string& directory) {
  std::vector<std::string> listeners;
  for (const firewall::Diversion& each : state.plan.diversions) listeners.push_back(each.listener);
  return firewall::passed_on(directory, listeners);
}

std::string table_of(const firewall::State& state, const firewall::Counters& counters, const std::string& directory) {
  std::string text = fmt::format("{:<24} {:<8} {:<5} {:>12}\n", "LISTENER", "SCOPE", "IP", "CONNECTIONS");
  for (const firewall::Diversion& each : state.plan.diversions) {
    const auto found = counters.find(each.label());
    text += fmt::format("{:<24} {:<8} IPv{} {:>13}\n", each.listener, firewall::to_string(each.scope),
                        number_of(each.version), found == counters.end() ? "no rule" : std::to_string(found->second));
  }
  if (const auto running = firewall::diverted_connections(state.plan))
    text += fmt::format("{} diverted connections run now\n", running->served);
  for (const firewall::Diversion& each : state.plan.diversions)
    if (const auto found = counters.find(dropped_label(each)); found != counters.end())
      text += fmt::format("{} first packets were dropped on {} ({}, {}, IPv{})\n", found->second,
                          fmt::join(each.drop_interfaces, " and "), each.listener, firewall::to_string(each.scope),
                          number_of(each.version));
  for (const firewall::Diversion& each : state.plan.diversions)
    if (const auto found = counters.find(missed_label(each)); found != counters.end() && found->second != 0)
      text += fmt::format("{} first packets were dropped that would have gone round {} ({}, IPv{})\n", found->second,
                          each.listener, firewall::to_string(each.scope), number_of(each.version));
  if (const auto by = unscanned(state, counters))
    text += fmt::format("{} connections went by gatepost, unscanned, while its gate did not answer\n", *by);
  for (const auto& [listener, connections] : passed_on(state, directory))
    text += fmt::format("{} connections of {} went through in TLS, unscanned, since gatepost was started\n",
                        connections, listener);
  return text;
}

std::string json_of(const firewall::State& state, const firewall::Counters& counters, const std::string& directory,
                    bool intact) {
  Node rules = Node::array();
  for (const firewall::Diversion& each : state.plan.diversions) {
    Node rule = Node::object()
                    .add("listener", Node::of(each.listener))
                    .add("scope", Node::of(firewall::to_string(each.scope)))
                    .add("version", Node::of(static_cast<std::uint64_t>(number_of(each.version))));
    const auto found = counters.find(each.label());
    rule.add("in_force", Node::of(found != counters.end()));
    if (found != counters.end()) rule.add("connections", Node::of(found->second));
    if (const auto dropped = counters.find(dropped_label(each)); dropped != counters.end())
      rule.add("dropped", Node::of(dropped->second));
    if (const auto missed = counters.find(missed_label(each)); missed != counters.end())
      rule.add("missed", Node::of(missed->second));
    rules.children.push_back(std::move(rule));
  }
  Node status = Node::object()
                    .add("applied", Node::of(true))
                    .add("intact", Node::of(intact))
                    .add("aside", Node::of(state.phase == Phase::aside))
                    .add("confirmed", Node::of(state.phase == Phase::applied || state.phase == Phase::aside))
                    .add("backend", Node::of(firewall::to_string(state.plan.backend)))
                    .add("rules", std::move(rules));
  if (const auto running = firewall::diverted_connections(state.plan))
    status.add("running", Node::of(std::uint64_t{running->served}));
  if (const auto by = unscanned(state, counters)) status.add("unscanned", Node::of(*by));
  Node passed = Node::array();
  for (const auto& [listener, connections] : passed_on(state, directory))
    passed.children.push_back(
        Node::object().add("listener", Node::of(listener)).add("connections", Node::of(connections)));
  if (!passed.children.empty()) status.add("passed_on_in_tls", std::move(passed));
  return config::format(status);
}

// But what this configuration would make may be there all the same: put in by hand from a plan, or its file was lost.
int nothing_remembered(const Arguments& arguments, const Remembered& where) {
  const char* text = arguments.json ? "{\n  \"applied\": false\n}\n" : "nothing is in force\n";
  const auto plan = where.config ? firewall::plan_here(*where.config, where.directory)
                                 : std::unexpected(firewall::Failure{firewall::Failure::Kind::not_in_force, {}});
  if (plan && !firewall::read_counters(*plan).empty())
    firewall_complain(fmt::format("rules of gatepost are there that nobody remembers: {} takes them over, remove takes them back",
                                  firewall::in_shell({"gatepost", "firewall", "apply", "-c", arguments.config})));
  return print(text) ? EX_UNAVAILABLE : EX_IOERR;
}

}  // namespace

int firewall_status(const Arguments& arguments) {
  if (::geteuid() != 0)  // or everything would seem to be missing
    return firewall_failed({firewall::Failure::Kind::permission,
                            {"firewall status needs root: the kernel shows rules to nobody else"}},
                           arguments.json);
  const Remembered where = remembered(arguments);
  if (is_lost(where)) return EX_CONFIG;
  const auto state = firewall::load_state(where.directory);
  if (!state) {
    firewall_complain(state.error());
    return EX_OSERR;
  }
  if (!*state) return nothing_remembered(arguments, where);
  const firewall::Counters counters = firewall::read_counters((*state)->plan);
  const Phase phase = (*state)->phase;
  const auto missing = firewall::missing_parts((*state)->plan);
  const bool intact = phase != Phase::applying && phase != Phase::aside && missing && missing->empty();
  std::string text;
  if (arguments.json) {
    text = json_of(**state, counters, where.directory, intact);
  } else {
    text = fmt::format("{}, by {}{}\n", phase == Phase::aside ? "let new connections by" : "in force",
                       firewall::to_string((*state)->plan.backend),
                       phase == Phase::unconfirmed ? ", not confirmed yet"
                       : phase == Phase::applying  ? ", not complete"
                                                   : "") +
           table_of(**state, counters, where.directory);
    if (!missing)
      firewall_complain("the program of the packet filter does not say what is in force");
    else if (!intact && phase != Phase::aside)
      firewall_complain("parts of it are missing; \"gatepost firewall apply\" puts them back");
  }
  return !print(text) ? EX_IOERR : intact ? EX_OK : EX_UNAVAILABLE;
}

}  // namespace admin
