#include "firewall/bans.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "config/duration.h"
#include "firewall/ban_lists.h"
#include "firewall/command.h"
#include "firewall/rules.h"

namespace firewall {
namespace {

using std::chrono::seconds;

Version version_of(const config::Netmask& network) { return is_ipv4(network) ? Version::v4 : Version::v6; }

std::unexpected<std::string> trouble(const char* program, const Outcome& outcome) {
  const bool absent = outcome.err.find("does not exist") != std::string::npos ||
                      outcome.err.find("there is no such program") != std::string::npos;
  if (absent)
    return std::unexpected<std::string>(
        "there is no list of banned clients: set firewall.bans.on, then run \"gatepost firewall apply\"");
  std::string said = outcome.err;
  while (said.ends_with('\n')) said.pop_back();
  return std::unexpected(fmt::format("{}: {}", program, said));
}

// As sets have it; of /0 it would have to be two.
std::expected<std::string, std::string> name_of(const config::Netmask& network) {
  const std::vector<std::string> names = networks_of({network}, version_of(network));
  if (names.size() != 1) return std::unexpected(network.text + " is every address there is");
  return names.front();
}

// What nft says of a set of ours; nothing where the rules are not nft's.
std::optional<std::string> nft_set(std::string_view what, Version version) {
  const Outcome outcome = run({{"nft", "-j", "list", "set", "inet", std::string(nft_bans_table),
                                fmt::format("{}{}", what, number_of(version))}});
  return outcome.ok() ? std::optional(outcome.out) : std::nullopt;
}

std::vector<AddressRange> never_banned(Version version, bool by_nft) {
  if (by_nft) return ranges_in_nft(nft_set("never", version).value_or(""));
  const std::string set = never_banned_set(version);
  std::vector<AddressRange> all;
  for (const Ban& each : bans_in(output_of({"ipset", "save", set}), set))
    if (const auto network = config::parse_netmask(each.network)) all.push_back(range_of(*network));
  return all;
}

struct Overlaps {
  bool covered = false;             // by a wider one that lasts as long
  std::vector<std::string> inside;  // to go
};

std::expected<Overlaps, std::string> overlaps(const config::Netmask& network, seconds time,
                                              const std::vector<Ban>& banned) {
  Overlaps found;
  for (const Ban& each : banned) {
    const auto other = config::parse_netmask(each.network);
    if (!other || !overlap(*other, network) || other->prefix == network.prefix) continue;
    if (other->prefix > network.prefix && !ends_sooner(time, each.left)) {
      found.inside.push_back(each.network);
    } else if (other->prefix < network.prefix && !ends_sooner(each.left, time)) {
      found.covered = true;
    } else {
      return std::unexpected(fmt::format("{} {} {}, which is banned already and ends {}; remove that ban first",
                                         network.text, other->prefix < network.prefix ? "is inside" : "holds",
                                         each.network, other->prefix < network.prefix ? "sooner" : "later"));
    }
  }
  return found;
}

std::string nft_element(const char* verb, Version version, const std::string& name, const std::string& more = "") {
  return fmt::format("{} element inet {} banned{} {{ {}{} }}\n", verb, nft_bans_table, number_of(version), name, more);
}

// One transaction: nobody in `inside` is let in meanwhile.
std::string nft_addition(Version version, const std::string& name, const std::string& more,
                         const std::vector<std::string>& inside) {
  std::string text;
  for (const std::string& each : inside) text += nft_element("delete", version, each);
  // An entry that is there keeps what it has unless it goes first; one that is not there could not go. With others
  // inside it is not there, and nft would not let it come twice.
  if (inside.empty()) text += nft_element("add", version, name) + nft_element("delete", version, name);
  return text + nft_element("add", version, name, more);
}

std::expected<void, std::string> ban_by_nft(const config::Netmask& network, const std::string& name, seconds time,
                                            const std::string& comment, std::string set) {
  const Version version = version_of(network);
  std::string more = time == seconds{0} ? "" : fmt::format(" timeout {}s", time.count());
  more += fmt::format(" comment \"{}\"", comment);
  for (int tries = 3;; --tries) {
    const auto others = overlaps(network, time, bans_in_nft(set));
    if (!others) return std::unexpected(others.error());
    if (others->covered) return {};
    const Outcome done = run({{"nft", "-f", "-"}, nft_addition(version, name, more, others->inside)});
    if (done.ok()) return {};
    if (others->inside.empty() || tries == 1) return trouble("nft", done);
    set = nft_set("banned", version).value_or("");  // one of those inside may have ended by itself
  }
}

// `set`: what nft says of it, if the rules are nft's.
std::expected<void, std::string> ban_in(const std::optional<std::string>& set, const config::Netmask& network,
                                        seconds time, std::string reason) {
  const Version version = version_of(network);
  const auto name = name_of(network);
  if (!name) return std::unexpected(name.error());
  const auto never = never_banned(version, set.has_value());
  if (std::ranges::any_of(never, [&](const AddressRange& each) { return touch(each, range_of(network)); }))
    return std::unexpected(network.text + " is, or holds, a client that is never banned (firewall.bans.never)");
  const std::string comment = as_comment(std::move(reason));
  if (set) return ban_by_nft(network, *name, time, comment, *set);
  const Outcome done = run({{"ipset", "-exist", "add", banned_set(version), *name, "timeout",
                             std::to_string(time.count()), "comment", comment}});
  if (!done.ok()) return trouble("ipset", done);
  return {};
}

}  // namespace

std::expected<std::vector<Ban>, std::string> list_bans() {
  std::vector<Ban> all;
  bool any_set = false;
  Outcome last;
  for (const Version version : {Version::v4, Version::v6}) {  // rules of one family alone have one set
    if (const auto set = nft_set("banned", version)) {
      any_set = true;
      for (Ban& each : bans_in_nft(*set)) all.push_back(std::move(each));
      continue;
    }
    last = run({{"ipset", "save", banned_set(version)}});
    if (!last.ok()) continue;
    any_set = true;
    for (Ban& each : bans_in(last.out, banned_set(version))) all.push_back(std::move(each));
  }
  if (!any_set) return trouble("ipset", last);
  return all;
}

std::expected<void, std::string> ban(const config::Netmask& network, seconds time, std::string reason) {
  return ban_in(nft_set("banned", version_of(network)), network, time, std::move(reason));
}

std::expected<Standing, std::string> ban_for_offence(const config::Netmask& network, const config::Netmask& client,
                                                     seconds time, std::string reason) {
  const std::string list = banned_set(version_of(network));
  const auto set = nft_set("banned", version_of(network));
  const std::vector<Ban> banned = set ? bans_in_nft(*set) : bans_in(output_of({"ipset", "save", list}), list);
  const Place place = place_of_offence(network, client, time, banned, !set);
  if (place.before) return Standing{*place.before, true};
  if (const auto done = ban_in(set, place.network, time, reason); !done) return std::unexpected(done.error());
  return Standing{{place.network.text, time, std::move(reason)}};
}

std::expected<bool, std::string> unban(const config::Netmask& network) {
  const Version version = version_of(network);
  const auto name = name_of(network);
  if (!name) return std::unexpected(name.error());
  const bool by_nft = nft_set("banned", version).has_value();
  const Outcome done = by_nft ? run({{"nft", "-f", "-"}, nft_element("delete", version, *name)})
                              : run({{"ipset", "del", banned_set(version), *name}});
  if (done.ok()) return true;
  for (const char* absent : {"not added", "element does not exist"})
    if (done.err.find(absent) != std::string::npos) return false;
  return trouble(by_nft ? "nft" : "ipset", done);
}

}  // namespace firewall
