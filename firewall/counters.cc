#include "firewall/counters.h"

#include <algorithm>
#include <charconv>
#include <sstream>

namespace firewall {
namespace {

Counters of_nft() {
  Counters found;
  const auto node = parse_json(output_of({"nft", "-j", "list", "counters", "table", "inet", "gatepost"}), "nft");
  if (!node) return found;
  for (const Node& each : items_at(*node, "nftables"))
    if (const Node* counter = each.find("counter")) found[text_at(*counter, "name")] = number_at(*counter, "packets");
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

Counters of_iptables(const Plan& plan) {
  Counters found;
  for (const Version version : {Version::v4, Version::v6}) {
    const auto wanted = [version](const Diversion& each) { return each.version == version; };
    if (std::none_of(plan.diversions.begin(), plan.diversions.end(), wanted)) continue;
    std::istringstream lines(output_of({version == Version::v4 ? "iptables-save" : "ip6tables-save", "-c"}));
    for (std::string line; std::getline(lines, line);) add_line(found, line);
  }
  return found;
}

}  // namespace

Counters read_counters(const Plan& plan) {
  if (plan.backend == config::Backend::nft) return of_nft();
  if (plan.backend == config::Backend::iptables) return of_iptables(plan);
  return {};
}

}  // namespace firewall
