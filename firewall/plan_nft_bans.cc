// The lists of banned clients for nft: sets whose entries go away by themselves, in a table of their own, because the
// other table is replaced whenever the rules are applied. First packets are looked at before anything else is.
#include <fmt/format.h>

#include <algorithm>

#include "firewall/plan_nft.h"

namespace firewall::nft {
namespace {

using config::Scope;

const char* type_of(Version version) { return version == Version::v4 ? "ipv4_addr" : "ipv6_addr"; }

std::string chain(std::string_view hook, const std::string& rules) {
  return fmt::format("\tchain {0} {{\n\t\ttype filter hook {0} priority raw - 10; policy accept;\n{1}\t}}\n", hook,
                     rules);
}

std::string sets(const Rules& rules, bool filled) {
  std::string text;
  for (const Version version : {Version::v4, Version::v6}) {
    if (!rules.any(version)) continue;
    const int number = number_of(version);
    if (!filled)
      text +=
          fmt::format("\tset banned{} {{\n\t\ttype {}\n\t\tflags interval,timeout\n\t}}\n", number, type_of(version));
    const std::vector<std::string> never = networks_of(rules.never_banned, version);
    if (filled && never.empty()) continue;
    text +=
        fmt::format("\tset never{} {{\n\t\ttype {}\n\t\tflags interval\n\t\tauto-merge\n", number, type_of(version));
    if (filled) text += fmt::format("\t\telements = {{ {} }}\n", list(never));
    text += "\t}\n";
  }
  return text;
}

// What the skip lists hold is left alone by this listener and by all behind it. The lists are in the rules, so that
// they go with them.
std::string reset(const Diversion& each) {
  const int number = number_of(each.version);
  const std::string_view family = each.version == Version::v4 ? "ip" : "ip6";
  const std::string destinations = fmt::format("{{ {} }}", list(each.protected_networks));
  const std::string what = match(each, destinations);
  std::string rules;
  if (!each.skip_interfaces.empty())
    rules += fmt::format("\t\t{} return\n", match(each, destinations, each.skip_interfaces));
  for (const auto& [end, skipped] :
       {std::pair{"saddr", &each.skip_sources}, std::pair{"daddr", &each.skip_destinations}})
    if (!skipped->empty()) rules += fmt::format("\t\t{} {} {} {{ {} }} return\n", what, family, end, list(*skipped));
  return rules + fmt::format("\t\t{0} {1} saddr @banned{2} {1} saddr != @never{2} reject with tcp reset\n", what,
                             family, number);
}

}  // namespace

std::string bans(const Rules& rules) {
  const std::string only_first = "\t\ttcp flags & (fin | syn | rst | ack) != syn return\n";
  std::string elsewhere, here;
  for (const Diversion& each : rules.diversions) (each.scope == Scope::output ? here : elsewhere) += reset(each);
  std::string text = fmt::format("table inet {} {{\n{}", nft_bans_table, sets(rules, false));
  text += chain("prerouting", "") + chain("output", "") + "}\n";
  text += fmt::format("flush table inet {}\n", nft_bans_table);
  for (const Version version : {Version::v4, Version::v6})
    if (rules.any(version)) text += fmt::format("flush set inet {} never{}\n", nft_bans_table, number_of(version));
  for (const auto& [name, unused] : {std::pair{"prerouting", elsewhere.empty()}, std::pair{"output", here.empty()}})
    if (unused) text += fmt::format("delete chain inet {} {}\n", nft_bans_table, name);
  text += fmt::format("table inet {} {{\n{}", nft_bans_table, sets(rules, true));
  if (!elsewhere.empty()) text += chain("prerouting", only_first + elsewhere);
  if (!here.empty()) text += chain("output", only_first + not_our_own(rules) + here);
  return text + "}\n";
}

std::string no_bans(const Rules& rules) {
  std::string text;
  if (rules.any(Scope::input) || rules.any(Scope::forward))
    text += fmt::format("flush chain inet {} prerouting\n", nft_bans_table);
  if (rules.any(Scope::output)) text += fmt::format("flush chain inet {} output\n", nft_bans_table);
  return text;
}

}  // namespace firewall::nft
