// Linux: packets with the divert mark are delivered on this host, whatever their destination; and what bridges need.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "firewall/marks.h"
#include "firewall/plan.h"

namespace firewall {
namespace {

using config::Scope;

constexpr std::string_view bridge_calls = "net.bridge.bridge-nf-call-";

void route_by_mark(Draft& draft, Version version) {
  const std::string family = fmt::format("-{}", number_of(version)), table = std::to_string(draft.rules.routing_table);
  if (draft.facts.routing_tables.contains((version == Version::v4 ? "ip " : "ip6 ") + table))
    draft.errors.push_back(fmt::format(
        "the routing table {} has routes already; give firewall.routing_table a number that nobody uses", table));
  const std::string priority = std::to_string(routing_rule_priority);
  const Condition there{{"ip", "-N", family, "rule", "show", "priority", priority}, routing_rule(table)};
  const auto by_mark = [&](const char* verb) {
    return Command{{"ip", family, "rule", verb, "priority", priority, "fwmark",
                    fmt::format("{:#x}/{:#x}", mark_divert, mark_mask), "lookup", table}};
  };
  const auto route = [&](const char* verb) {
    return Command{{"ip", family, "route", verb, "local", "default", "dev", "lo", "table", table}};
  };
  Plan& plan = draft.plan;
  plan.apply.push_back(
      {.why = fmt::format("IPv{}: whatever is looked up in our routing table is for this host", number_of(version)),
       .command = route("replace")});
  plan.apply.push_back(
      {.why = fmt::format("IPv{}: packets with the divert mark are looked up there", number_of(version)),
       .command = by_mark("add"),
       .condition = there,
       .when = false});
  plan.remove.push_back({.why = fmt::format("IPv{}: the routing rule", number_of(version)),
                         .command = by_mark("delete"),
                         .condition = there});
  plan.remove.push_back(
      {.why = fmt::format("IPv{}: our routing table", number_of(version)),
       .command = route("delete"),
       .condition = Condition{{"ip", family, "route", "show", "table", table}, "local default dev lo"}});
}

void set_sysctl(Draft& draft, const std::string& name, const std::string& value, const std::string& why) {
  const std::string before = draft.facts.sysctl(name);
  if (before == value) return;
  draft.plan.apply.push_back({.why = why, .command = {{"sysctl", "-q", "-w", name + "=" + value}}});
  draft.plan.remove.push_back(
      {.why = fmt::format("{} as it was", name), .command = {{"sysctl", "-q", "-w", name + "=" + before}}});
}

// Bridged packets meet the packet filter only when that is asked for.
void bridges(Draft& draft) {
  for (const Diversion& each : draft.rules.diversions) {
    const bool bridged = std::ranges::any_of(each.interfaces, [&](const std::string& name) {
      const Interface* interface = draft.facts.interface(name);
      return interface != nullptr && interface->bridge;
    });
    if (!bridged || each.scope != Scope::forward) continue;
    const std::string name = fmt::format("{}{}", bridge_calls, each.version == Version::v4 ? "iptables" : "ip6tables");
    const auto same = [&](const Step& step) { return step.command.argv.back() == name + "=1"; };
    if (std::ranges::any_of(draft.plan.apply, same)) continue;
    if (draft.facts.sysctl(name).empty())
      draft.errors.push_back(
          fmt::format("listener {}: bridged packets do not meet the packet filter: this kernel has no {}; load it with "
                      "\"modprobe br_netfilter\"",
                      each.listener, name));
    set_sysctl(draft, name, "1", fmt::format("IPv{}: bridged packets meet the packet filter", number_of(each.version)));
  }
}

void warn(Draft& draft) {
  std::ranges::move(bridge_warnings(draft.rules, draft.facts), std::back_inserter(draft.plan.warnings));
  if (!draft.rules.tproxy4) return;
  for (const std::string& name : martian_sysctls(draft.facts))
    draft.plan.warnings.push_back(
        fmt::format("{0} is {1}: IPv4 packets with our mark are dropped as martians; set it to 0 (sysctl -w {0}=0)",
                    name, draft.facts.sysctl(name)));
}

}  // namespace

std::string routing_rule(std::string_view table) {
  return fmt::format("fwmark {:#x}/{:#x} lookup {}", mark_divert, mark_mask, table);
}

bool is_set_by_us(std::string_view sysctl) { return sysctl.starts_with(bridge_calls); }

std::vector<std::string> martian_sysctls(const Facts& facts) {
  std::vector<std::string> names;
  for (const auto& [name, value] : facts.sysctls)
    if (name.ends_with(".src_valid_mark") && value != "0") names.push_back(name);
  return names;
}

std::vector<std::string> bridge_warnings(const Rules& rules, const Facts& facts) {
  std::vector<std::string> found;
  for (const Diversion& each : rules.diversions)
    for (const Interface& bridge : facts.interfaces) {
      const auto left_alone = [&](const std::vector<std::string>& names) {
        return std::ranges::find(names, bridge.name) != names.end();
      };
      if (!bridge.carries || each.scope != Scope::forward || !each.interfaces.empty() ||
          left_alone(each.skip_interfaces) || left_alone(each.drop_interfaces))
        continue;
      const std::string name = fmt::format("{}{}", bridge_calls, each.version == Version::v4 ? "iptables" : "ip6tables");
      const bool tproxy = each.way == config::Intercept::tproxy;
      if (!tproxy && facts.sysctl(name) == "1") continue;
      found.push_back(fmt::format(
          "{} is a bridge between other machines, {}: mail among them goes round gatepost; if it is not to, {}add it to the "
          "\"interfaces\" of listener {}",
          bridge.name, tproxy ? "where TPROXY does not work" : fmt::format("whose packets meet no rule ({} is not 1)", name),
          tproxy ? "take \"redirect\" and " : "", each.listener));
    }
  return found;
}

void plan_routes(Draft& draft) {
  if (draft.rules.tproxy4) route_by_mark(draft, Version::v4);
  if (draft.rules.tproxy6) route_by_mark(draft, Version::v6);
  bridges(draft);
  warn(draft);
}

}  // namespace firewall
