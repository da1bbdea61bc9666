#include "firewall/counters.h"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace firewall {
namespace {

// A table that is flushed keeps its counters: those that no rule has are none.
std::optional<Counters> of_nft() {
  Counters all, found;
  const Outcome outcome = run({{"nft", "-j", "-t", "list", "table", "inet", "gatepost"}});
  if (!outcome.ok()) return outcome.err.find("No such file or directory") != std::string::npos ? std::optional(found) : std::nullopt;
  const auto node = parse_json(outcome.out, "nft");
  if (!node) return std::nullopt;
  for (const Node& each : items_at(*node, "nftables"))
    if (const Node* counter = each.find("counter")) all[text_at(*counter, "name")] = number_at(*counter, "packets");
  for (const Node& each : items_at(*node, "nftables"))
    if (const Node* rule = each.find("rule"))
      for (const Node& part : items_at(*rule, "expr"))
        if (const auto at = all.find(text_at(part, "counter")); at != all.end()) found.insert(*at);
  return found;
}

// "[PACKETS:OCTETS] -A CHAIN ... --comment LABEL ..."
void add_line(Counters& found, const std::string& line) {
  constexpr std::string_view mark = " --comment ";
  const std::size_t at = line.find(mark);
  std::uint64_t packets = 0;
  if (at == std::string::npos || !line.starts_with('[')) return;
  if (line.find(" -A GATEPOST") == std::string::npos) return;
  if (std::from_chars(line.data() + 1, line.data() + line.size(), packets).ec != std::errc{}) return;
  const std::size_t begin = at + mark.size();
  std::string label = line.substr(begin, line.find(' ', begin) - begin);
  std::erase(label, '"');  // there or not, as it is this version's habit
  found[label] += packets;  // one rule for each interface and fifteen ports
}

std::optional<Counters> of_iptables(const Plan& plan) {
  Counters found;
  for (const Version version : {Version::v4, Version::v6}) {
    const auto wanted = [version](const Diversion& each) { return each.version == version; };
    if (std::none_of(plan.diversions.begin(), plan.diversions.end(), wanted)) continue;
    const Outcome outcome = run({{version == Version::v4 ? "iptables-save" : "ip6tables-save", "-c"}});
    if (!outcome.ok()) return std::nullopt;
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) add_line(found, line);
  }
  return found;
}

}  // namespace

std::optional<Counters> try_counters(const Plan& plan) {
  if (plan.backend == config::Backend::nft) return of_nft();
  if (plan.backend == config::Backend::iptables) return of_iptables(plan);
  return Counters();
}

Counters read_counters(const Plan& plan) { return try_counters(plan).value_or(Counters()); }

}  // namespace firewall
