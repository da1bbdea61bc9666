#include "firewall/bans.h"

#include <fmt/format.h>

#include <sstream>

#include "firewall/command.h"
#include "firewall/rules.h"

namespace firewall {
namespace {

Version version_of(const config::Netmask& network) {
  return networks_of({network}, Version::v4).empty() ? Version::v6 : Version::v4;
}

std::string without_line_end(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  return text;
}

std::unexpected<std::string> trouble(const Outcome& outcome) {
  if (outcome.err.find("does not exist") != std::string::npos)
    return std::unexpected<std::string>(
        "there is no list of banned clients: set firewall.bans.on, then run \"gatepost firewall apply\"");
  return std::unexpected("ipset: " + without_line_end(outcome.err));
}

// As ipset has it; of /0 it would have to be two.
std::expected<std::string, std::string> name_of(const config::Netmask& network) {
  const std::vector<std::string> names = networks_of({network}, version_of(network));
  if (names.size() != 1) return std::unexpected(network.text + " is every address there is");
  return names.front();
}

config::Netmask first_address(config::Netmask network) {
  network.prefix = 128;
  return network;
}

// A network of the allow-list that holds `network`, or that begins inside it.
bool touches_never(const config::Netmask& network, Version version) {
  const std::string set = fmt::format("gatepost{}-never-banned", number_of(version));
  const auto first = networks_of({first_address(network)}, version);
  if (!first.empty() && run({{"ipset", "test", set, first.front()}}).ok()) return true;
  for (const Ban& each : bans_in(output_of({"ipset", "save", set}), set)) {
    const auto listed = config::parse_netmask(each.network);
    if (!listed || listed->prefix < network.prefix) continue;
    config::Netmask widened = *listed;
    for (unsigned bit = network.prefix; bit < 128; ++bit)
      widened.network[bit / 8] = static_cast<std::uint8_t>(widened.network[bit / 8] & ~(0x80U >> (bit % 8)));
    if (widened.network == network.network) return true;
  }
  return false;
}

}  // namespace

std::vector<Ban> bans_in(const std::string& text, const std::string& set) {
  std::vector<Ban> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream words(line);
    std::string verb, name, network, word;
    if (!(words >> verb >> name >> network) || verb != "add" || name != set) continue;
    Ban ban{network};
    std::int64_t seconds = 0;
    while (words >> word)
      if (word == "timeout" && words >> seconds) ban.left = std::chrono::seconds(seconds);
    all.push_back(std::move(ban));
  }
  return all;
}

std::expected<std::vector<Ban>, std::string> list_bans() {
  std::vector<Ban> all;
  bool any_set = false;
  Outcome last;
  for (const Version version : {Version::v4, Version::v6}) {  // rules of one family alone have one set
    last = run({{"ipset", "save", banned_set(version)}});
    if (!last.ok()) continue;
    any_set = true;
    for (Ban& each : bans_in(last.out, banned_set(version))) all.push_back(std::move(each));
  }
  if (!any_set) return trouble(last);
  return all;
}

std::expected<void, std::string> ban(const config::Netmask& network, std::chrono::seconds time) {
  const Version version = version_of(network);
  const auto name = name_of(network);
  if (!name) return std::unexpected(name.error());
  if (touches_never(network, version))
    return std::unexpected(network.text + " is, or holds, a client that is never banned (firewall.bans.never)");
  const Outcome done =
      run({{"ipset", "-exist", "add", banned_set(version), *name, "timeout", std::to_string(time.count())}});
  if (!done.ok()) return trouble(done);
  return {};
}

std::expected<bool, std::string> unban(const config::Netmask& network) {
  const auto name = name_of(network);
  if (!name) return std::unexpected(name.error());
  const Outcome done = run({{"ipset", "del", banned_set(version_of(network)), *name}});
  if (done.ok()) return true;
  if (done.err.find("not added") != std::string::npos) return false;
  return trouble(done);
}

}  // namespace firewall
