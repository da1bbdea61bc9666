#include "firewall/plan.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>

#include "config/settings.h"

namespace firewall {
namespace {

using config::Backend;
using config::Intercept;
using config::Scope;

std::string not_loaded(const std::vector<std::string>& missing) {
  static const std::map<std::string, std::string> modules{  // that the old iptables does not always load by itself
      {"raw", "iptable_raw"}, {"raw of ip6tables", "ip6table_raw"}, {"conntrack", "xt_conntrack"}};
  std::vector<std::string> words;
  for (const std::string& each : missing) {
    const auto module = modules.find(each);
    words.push_back(module == modules.end() ? each : fmt::format("{} (modprobe {})", each, module->second));
  }
  return fmt::format("the kernel does not load {}", fmt::join(words, ", "));
}

bool is_linux(Backend backend) { return backend == Backend::nft || backend == Backend::iptables; }

// On the system of the facts.
bool possible(Intercept way, const Facts& facts, const Rules& rules) {
  switch (facts.system) {
    case System::linux_host:
      return way == Intercept::redirect || way == Intercept::tproxy;
    case System::openbsd:
      return way == Intercept::pf_rdr || way == Intercept::divert;
    case System::freebsd:  // by pf or by ipfw, not by both
      return way == Intercept::pf_rdr || (way == Intercept::divert && !rules.any(Intercept::pf_rdr));
  }
  return false;
}

// The backend, or none with the reason among the errors.
std::optional<Backend> choose(Backend wanted, const Rules& rules, const Facts& facts,
                              std::vector<std::string>& errors) {
  for (const Diversion& each : rules.diversions) {
    if (possible(each.way, facts, rules)) continue;
    errors.push_back(fmt::format("listener {}: \"intercept\": \"{}\" is not for this system", each.listener,
                                 config::words_of(each.way).at(static_cast<std::size_t>(each.way))));
    return std::nullopt;
  }
  if (facts.system != System::linux_host || (wanted != Backend::automatic && !is_linux(wanted))) {
    const bool pf = rules.any(Intercept::pf_rdr);
    const Backend only = facts.system == System::openbsd   ? Backend::pf_openbsd
                         : facts.system == System::freebsd ? (pf ? Backend::pf_freebsd : Backend::ipfw)
                                                           : Backend::automatic;
    if (wanted == Backend::automatic || wanted == only) return only;
    errors.push_back(fmt::format("firewall.backend is \"{}\", which this system does not have", to_string(wanted)));
    return std::nullopt;
  }
  const auto without_nft = missing_for_nft(rules, facts), without_iptables = missing_for_iptables(rules, facts);
  if (wanted != Backend::iptables && without_nft.empty()) return Backend::nft;
  if (wanted != Backend::nft && without_iptables.empty()) return Backend::iptables;
  if (wanted != Backend::iptables)
    errors.push_back(fmt::format(
        "nft cannot do it here: {}",
        facts.nft.empty() ? "there is no nft, or no kernel for it (package nftables)" : not_loaded(without_nft)));
  if (wanted != Backend::nft)
    errors.push_back(fmt::format("iptables cannot do it here: {}",
                                 facts.iptables.empty() ? "there is no iptables, or no kernel for it (package iptables)"
                                                        : not_loaded(without_iptables)));
  return std::nullopt;
}

bool has_address(const Interface& interface, Version version) {
  return std::ranges::any_of(interface.addresses, [version](const std::string& address) {
    return (address.find(':') != std::string::npos) == (version == Version::v6);
  });
}

// A redirected connection goes to an address of the interface where it arrived; without one the packet is dropped.
void check_interfaces(const Rules& rules, const Facts& facts, std::vector<std::string>& errors) {
  for (const Diversion& each : rules.diversions)
    for (const std::string& name : each.interfaces) {
      const Interface* interface = facts.interface(name);
      if (interface == nullptr) continue;
      if (interface->bridge && each.way == Intercept::tproxy)
        errors.push_back(fmt::format("listener {}: {} is a bridge, where TPROXY does not work; use \"redirect\"",
                                     each.listener, name));
      if (each.way == Intercept::redirect && each.scope != Scope::output && each.address.empty() &&
          !has_address(*interface, each.version))
        errors.push_back(
            fmt::format("listener {}: {} has no IPv{} address where redirected connections could arrive; give it one, "
                        "or listen on an address of another interface",
                        each.listener, name, number_of(each.version)));
    }
}

// A host that is reached by IPv6 has a way round an IPv4 listener.
void warn_of_holes(const Rules& rules, const Facts& facts, std::vector<std::string>& warnings) {
  for (const Version version : {Version::v4, Version::v6}) {
    const auto reached = [version](const Interface& each) { return !each.loopback && has_address(each, version); };
    if (rules.any(version) || std::ranges::none_of(facts.interfaces, reached)) continue;
    warnings.push_back(
        fmt::format("this host has IPv{0} addresses, but no listener intercepts IPv{0}: such mail goes "
                    "round gatepost; add a listener on {1}",
                    number_of(version), version == Version::v4 ? "0.0.0.0" : "[::]"));
  }
}

bool share_ports(const Diversion& one, const Diversion& other) {
  return std::ranges::find_first_of(one.ports, other.ports) != one.ports.end();
}

// pf and ipfw decide for each listener by itself: no rule of theirs says "not by us, and not by those behind us" without a
// decision for all other rules of the host.
void warn_of_later_takers(Draft& draft) {
  const std::vector<Diversion>& all = draft.rules.diversions;
  for (auto one = all.begin(); one != all.end(); ++one)
    for (const auto* names : {&one->skip_interfaces, &one->drop_interfaces})
      for (const std::string& name : *names)
        for (auto later = one + 1; later != all.end(); ++later) {
          const auto named = [&](const std::vector<std::string>& list) { return std::ranges::count(list, name) != 0; };
          const bool decides = named(later->skip_interfaces) || named(later->drop_interfaces);
          const bool takes = named(later->interfaces) || (later->interfaces.empty() && !decides);
          if (later->listener == one->listener || later->scope != one->scope || later->version != one->version || !takes ||
              !share_ports(*one, *later))
            continue;
          draft.plan.warnings.push_back(fmt::format(
              "listener {0}: what it {1} by {2} may be taken by listener {3}, as this packet filter looks at each by itself; "
              "add {2} to the {4} of {3}, or leave it out of its interfaces",
              one->listener, names == &one->skip_interfaces ? "leaves alone" : "drops", name, later->listener,
              names == &one->skip_interfaces ? "skip_interfaces" : "drop_interfaces"));
        }
}

void write_bsd(Draft& draft) {
  warn_of_later_takers(draft);
  if (draft.plan.backend == Backend::pf_openbsd) return plan_pf_openbsd(draft);
  if (draft.plan.backend == Backend::pf_freebsd) return plan_pf_freebsd(draft);
  plan_ipfw(draft);
}

void write(Draft& draft) {
  switch (draft.plan.backend) {
    case Backend::nft:
      plan_routes(draft);
      return plan_nft(draft);
    case Backend::iptables:
      plan_routes(draft);
      return plan_iptables(draft);
    case Backend::pf_openbsd:
    case Backend::pf_freebsd:
    case Backend::ipfw:
      return write_bsd(draft);
    case Backend::automatic:
      break;
  }
}

void append_script(std::string& out, const Step& step) {
  std::string command = in_shell(step.command.argv), input = step.command.input;
  if (step.may_fail) command += " 2>/dev/null || true";
  if (!input.empty()) command += " <<'END_OF_INPUT'\n" + input + "END_OF_INPUT";
  out += fmt::format("\n# {}.\n", step.why);
  if (!step.condition) {
    out += command + "\n";
    return;
  }
  std::string condition = in_shell(step.condition->argv);
  if (step.condition->output.empty()) condition += " >/dev/null 2>&1";
  else condition += " 2>/dev/null | grep -qF " + in_shell(std::vector{std::string("--"), step.condition->output});
  out += fmt::format("if {}{}; then\n{}\nfi\n", step.when ? "" : "! ", condition, command);
}

}  // namespace

std::string_view to_string(Backend backend) { return config::words_of(backend).at(static_cast<std::size_t>(backend)); }

std::expected<Plan, std::vector<std::string>> plan(const config::Config& config, const Facts& facts) {
  const Rules rules = rules_of(config);
  std::vector<std::string> errors;
  if (rules.diversions.empty()) return std::unexpected(std::vector<std::string>{"no listener has intercept"});
  Plan plan;
  plan.diversions = rules.diversions;
  plan.fail_closed = config.firewall.gate.queue != 0 && config.firewall.gate.on_failure == config::OnFailure::closed;
  if (const auto backend = choose(config.firewall.backend, rules, facts, errors)) {
    plan.backend = *backend;
    Draft draft{rules, facts, plan, errors};
    write(draft);
  }
  check_interfaces(rules, facts, errors);
  warn_of_holes(rules, facts, plan.warnings);
  if (!errors.empty()) return std::unexpected(std::move(errors));
  return plan;
}

std::string in_shell(const std::vector<Step>& steps, std::string_view title) {
  std::string out = fmt::format("#!/bin/sh\n# {}\nset -eu\n", title);
  for (const Step& each : steps) append_script(out, each);
  return out;
}

Node node_of(const Plan& plan) {
  Node counters = Node::array();
  for (const Diversion& each : plan.diversions) {
    Node counted = Node::object()
                       .add("listener", Node::of(each.listener))
                       .add("scope", Node::of(to_string(each.scope)))
                       .add("version", Node::of(std::uint64_t(number_of(each.version))));
    counted.add("way", Node::of(config::words_of(each.way).at(static_cast<std::size_t>(each.way))));
    counted.add("port", Node::of(std::uint64_t(each.port))).add("ports", numbers(each.ports));
    if (!each.drop_interfaces.empty()) counted.add("drop_interfaces", texts(each.drop_interfaces));
    counters.children.push_back(std::move(counted));
  }
  return Node::object()
      .add("backend", Node::of(to_string(plan.backend)))
      .add("fail_closed", Node::of(plan.fail_closed))
      .add("apply", node_of(plan.apply))
      .add("step_aside", node_of(plan.step_aside))
      .add("remove", node_of(plan.remove))
      .add("counters", std::move(counters));
}

std::optional<Plan> plan_from(const Node& node) {
  const auto words = config::words_of(Backend{});
  const auto backend = std::ranges::find(words, text_at(node, "backend"));
  if (backend == words.end()) return std::nullopt;
  Plan plan;
  plan.backend = static_cast<Backend>(backend - words.begin());
  plan.fail_closed = flag_at(node, "fail_closed");
  plan.apply = steps_from(items_at(node, "apply"));
  plan.step_aside = steps_from(items_at(node, "step_aside"));
  plan.remove = steps_from(items_at(node, "remove"));
  for (const Node& each : items_at(node, "counters")) {
    Diversion& counted = plan.diversions.emplace_back();
    counted.listener = text_at(each, "listener");
    for (const Scope scope : {Scope::input, Scope::forward, Scope::output})
      if (to_string(scope) == text_at(each, "scope")) counted.scope = scope;
    counted.version = number_at(each, "version") == 6 ? Version::v6 : Version::v4;
    const auto ways = config::words_of(Intercept{});
    if (const auto way = std::ranges::find(ways, text_at(each, "way")); way != ways.end())
      counted.way = static_cast<Intercept>(way - ways.begin());
    counted.port = static_cast<std::uint16_t>(number_at(each, "port"));
    counted.ports = numbers_at(each, "ports");
    counted.drop_interfaces = texts_at(each, "drop_interfaces");
  }
  return plan;
}

Node node_of(const std::vector<Step>& steps) {
  Node list = Node::array();
  for (const Step& each : steps) {
    Node node = Node::object().add("why", Node::of(each.why)).add("argv", texts(each.command.argv));
    if (!each.command.input.empty()) node.add("input", Node::of(each.command.input));
    if (each.condition) {
      node.add(each.when ? "if" : "unless", texts(each.condition->argv));
      if (!each.condition->output.empty()) node.add("says", Node::of(each.condition->output));
    }
    if (each.may_fail) node.add("may_fail", Node::of(true));
    list.children.push_back(std::move(node));
  }
  return list;
}

std::vector<Step> steps_from(const std::vector<Node>& nodes) {
  std::vector<Step> steps;
  for (const Node& node : nodes) {
    Step step{.why = text_at(node, "why"), .command = {texts_at(node, "argv"), text_at(node, "input")}};
    if (step.command.argv.empty()) continue;
    for (const char* key : {"if", "unless"})
      if (node.find(key) != nullptr) step.condition = Condition{texts_at(node, key), text_at(node, "says")};
    step.when = node.find("unless") == nullptr;
    step.may_fail = flag_at(node, "may_fail");
    steps.push_back(std::move(step));
  }
  return steps;
}

}  // namespace firewall
