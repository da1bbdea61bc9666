// pf: an anchor "gatepost" of its own. Written after the manual pages; it was not run on a BSD kernel.
#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "config/endpoint.h"
#include "config/netmask.h"
#include "firewall/plan.h"

namespace firewall {
namespace {

using config::Intercept;
using config::Scope;

std::string_view family(const Diversion& each) { return each.version == Version::v4 ? "inet" : "inet6"; }

std::string braced(const std::vector<std::string>& words) {
  if (words.size() == 1) return words[0];
  std::string out;
  for (const std::string& each : words) out += " " + each;
  return "{" + out + " }";
}
std::string ports_of(const Diversion& each) {
  std::vector<std::string> words;
  for (const std::uint16_t port : each.ports) words.push_back(std::to_string(port));
  return braced(words);
}
// pf calls the loopback interface lo0, and knows nothing of verify's.
std::string interfaces_of(const Diversion& each) {
  std::vector<std::string> names = each.interfaces;
  std::erase(names, verify_interface);
  return names.empty() ? "! lo0" : braced(names);
}
std::string target(const Diversion& each) {
  if (!each.address.empty()) return each.address;
  return each.version == Version::v4 ? "127.0.0.1" : "::1";
}
// At most 31 octets.
std::string table_of(const char* what, const Diversion& each) {
  return fmt::format("<{}{}_{}>", what, number_of(each.version), each.number);
}

std::string table(const char* what, const Diversion& each, const std::vector<std::string>& networks) {
  if (networks.empty()) return {};
  std::string all;
  for (const std::string& network : networks) all += (all.empty() ? "" : ", ") + network;
  return fmt::format("table {} const {{ {} }}\n", table_of(what, each), all);
}
std::string tables(const Rules& rules) {
  std::string text;
  for (const Version version : {Version::v4, Version::v6})
    for (const Diversion* each : once_per_listener(rules, version))
      text += table("protected", *each, each->protected_networks) + table("skip_src", *each, each->skip_sources) +
              table("skip_dst", *each, each->skip_destinations);
  return text;
}

// Anchors inside each other, because a rule has but one destination and one kind of interface: those left alone, those
// of this host or of others, those that are protected.
std::string in_anchors(const Diversion& each, const std::string& on, const std::vector<std::string>& not_on,
                       const std::string& rule) {
  const std::string ports = ports_of(each);
  std::vector<std::string> anchors{
      fmt::format("anchor in on {} {} proto tcp from {} to {} port {} {{\n", on, family(each),
                  each.skip_sources.empty() ? "any" : "! " + table_of("skip_src", each),
                  each.skip_destinations.empty() ? "any" : "! " + table_of("skip_dst", each), ports)};
  for (const std::string& name : not_on)
    anchors.push_back(
        fmt::format("anchor in on ! {} {} proto tcp from any to any port {} {{\n", name, family(each), ports));
  anchors.push_back(fmt::format("anchor in {} proto tcp from any to {}(self) port {} {{\n", family(each),
                                each.to_local ? "" : "! ", ports));
  std::string text, tabs;
  for (const std::string& anchor : anchors) {
    text += tabs + anchor;
    tabs += '\t';
  }
  text += tabs + rule;
  while (!tabs.empty()) {
    tabs.pop_back();
    text += tabs + "}\n";
  }
  return text;
}

std::string destinations(const Diversion& each) {
  return each.protected_networks.empty() ? "any" : table_of("protected", each);
}

std::string dropped(const Diversion& each) {
  if (each.drop_interfaces.empty()) return {};
  return in_anchors(each, braced(each.drop_interfaces), {},
                    fmt::format("block drop in quick {} proto tcp from any to {} port {} label \"{}\"\n", family(each),
                                destinations(each), ports_of(each), dropped_label(each)));
}

// Of those where interfaces are listed, the others are none.
std::vector<std::string> other_interfaces(const Diversion& each) {
  std::vector<std::string> all;
  if (!each.interfaces.empty()) return all;
  for (const auto* names : {&each.skip_interfaces, &each.drop_interfaces})
    all.insert(all.end(), names->begin(), names->end());
  return all;
}

std::string openbsd_text(const Rules& rules) {
  std::string text = tables(rules);
  for (const Diversion& each : rules.diversions)
    text += dropped(each) +
            in_anchors(each, interfaces_of(each), other_interfaces(each),
                       fmt::format("pass in quick {} proto tcp from any to {} port {} {} {} port {} label \"{}\"\n",
                                   family(each), destinations(each), ports_of(each),
                                   each.way == Intercept::divert ? "divert-to" : "rdr-to", target(each), each.port,
                                   each.label()));
  return text;
}

// The addresses of this host in the networks; all of them without networks.
std::vector<std::string> local_addresses(const Facts& facts, const Diversion& each) {
  std::vector<config::Netmask> networks;
  for (const std::string& text : each.protected_networks) networks.push_back(*config::parse_netmask(text));
  std::vector<std::string> found;
  for (const Interface& interface : facts.interfaces)
    for (const std::string& address : interface.addresses) {
      const auto literal = config::parse_literal({address, 0, each.version == Version::v6}, address);
      if (literal && *literal && config::contains(networks, (*literal)->get())) found.push_back(address);
    }
  return found;
}

// The first that matches counts, so that connections to this host come before those to others.
class FreebsdText {
 public:
  explicit FreebsdText(Draft& draft) : draft_(draft) {}

  std::string write() {
    text_ = tables(draft_.rules) + "no rdr on lo0 proto tcp from any to any\n";
    for (const Scope scope : {Scope::input, Scope::forward})
      for (const Diversion& each : draft_.rules.diversions)
        if (each.scope == scope) one(each);
    for (const Diversion& each : draft_.rules.diversions) text_ += dropped(each);  // filter rules come last
    return text_;
  }

 private:
  void none(const Diversion& each, const std::string& from, const std::string& to, std::string on = {}) {
    if (on.empty()) on = interfaces_of(each);
    text_ +=
        fmt::format("no rdr on {} {} proto tcp from {} to {} port {}\n", on, family(each), from, to, ports_of(each));
  }
  void one(const Diversion& each) {
    if (const auto others = other_interfaces(each); !others.empty()) none(each, "any", "any", braced(others));
    if (!each.skip_sources.empty()) none(each, table_of("skip_src", each), "any");
    if (!each.skip_destinations.empty()) none(each, "any", table_of("skip_dst", each));
    if (each.to_others) none(each, "any", "(self)");
    text_ += fmt::format("rdr pass on {} {} proto tcp from any to {} port {} -> {} port {}\n", interfaces_of(each),
                         family(each), destination(each), ports_of(each), target(each), each.port);
  }
  std::string destination(const Diversion& each) {
    if (each.to_others) return each.protected_networks.empty() ? "any" : table_of("protected", each);
    if (each.protected_networks.empty()) return "(self)";
    const std::vector<std::string> mine = local_addresses(draft_.facts, each);
    if (mine.empty())
      draft_.errors.push_back(fmt::format("listener {}: no address of this host is protected", each.listener));
    return braced(mine);
  }

  Draft& draft_;
  std::string text_;
};

void add_steps(Draft& draft, std::string text, const std::string& line) {
  draft.plan.apply.push_back(
      {.why = "The anchor, all at once", .command = {{"pfctl", "-a", "gatepost", "-f", "-"}, std::move(text)}});
  draft.plan.remove.push_back({.why = "The anchor", .command = {{"pfctl", "-a", "gatepost", "-F", "all"}}});
  draft.plan.warnings.push_back(fmt::format(
      "/etc/pf.conf must have the {} before rules for the same traffic; without it pf never looks there", line));
}

}  // namespace

void plan_pf_openbsd(Draft& draft) { add_steps(draft, openbsd_text(draft.rules), "line anchor \"gatepost\""); }

void plan_pf_freebsd(Draft& draft) {
  add_steps(draft, FreebsdText(draft).write(),
            draft.rules.any_drop_interfaces() ? "lines rdr-anchor \"gatepost\" and anchor \"gatepost\""
                                    : "line rdr-anchor \"gatepost\"");
}

}  // namespace firewall
