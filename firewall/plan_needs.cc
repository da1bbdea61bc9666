// What the rules of Linux's two backends need of the kernel.
#include <algorithm>
#include <iterator>
#include <set>

#include "firewall/plan.h"

namespace firewall {

using config::Intercept;
using config::Scope;

std::vector<std::string> missing_for_nft(const Rules& rules, const Facts& facts) {
  std::set<std::string> needed{"fib"};
  for (const Diversion& each : rules.diversions) {
    if (each.way == Intercept::redirect) needed.insert(each.by_interface() ? "redirect" : "dnat");
    if (each.has_lists()) needed.insert("sets");
  }
  if (rules.any(Intercept::redirect)) needed.insert("status");
  if (rules.any(Intercept::tproxy)) needed.insert({"tproxy", "socket", "ct"});
  if (rules.any(Scope::output)) needed.insert("output");
  if (rules.spoof4 || rules.spoof6) needed.insert({"ct", "zone"});
  if (rules.queue != 0) needed.insert({"ct", "queue"});
  if (rules.bans) needed.insert("bans");
  std::vector<std::string> missing;
  std::ranges::set_difference(needed, facts.nft, std::back_inserter(missing));
  return missing;
}

std::vector<std::string> missing_for_iptables(const Rules& rules, const Facts& facts) {
  std::set<std::string> needed{"multiport", "comment"};
  for (const Diversion& each : rules.diversions) {
    if (each.way == Intercept::redirect) needed.insert(each.by_interface() ? "REDIRECT" : "DNAT");
    if (each.to_local != each.to_others) needed.insert("addrtype");
    if (each.has_lists()) needed.insert("set");
  }
  if (rules.any(Intercept::redirect)) needed.insert("conntrack");
  if (rules.any(Intercept::tproxy)) needed.insert({"TPROXY", "socket", "mark", "connmark", "conntrack"});
  if (rules.any(Scope::output)) needed.insert({"owner", "mark"});
  if (rules.spoof4 || rules.spoof6) needed.insert({"connmark", "mark", "CT", "addrtype"});
  if (rules.on_first_packets()) needed.insert({"mark", "REJECT"});
  if (rules.queue != 0) needed.insert("NFQUEUE");
  if (rules.bans) needed.insert("set");
  if (std::ranges::any_of(rules.diversions, [&](const Diversion& each) { return rules.drops(each); }))
    needed.insert("raw");
  std::vector<std::string> missing;
  for (const std::string& each : needed) {
    if (rules.any(Version::v4) && !facts.iptables.contains(each)) missing.push_back(each);
    if (rules.any(Version::v6) && !facts.ip6tables.contains(each)) missing.push_back(each + " of ip6tables");
  }
  return missing;
}

}  // namespace firewall
