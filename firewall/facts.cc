#include "firewall/facts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "config/nearest.h"
#include "config/quote.h"

namespace firewall {
namespace {

constexpr std::array<std::string_view, 3> systems{"linux", "openbsd", "freebsd"};
constexpr std::array<std::string_view, 8> keys{"system",     "nft",     "iptables",    "ip6tables",
                                               "interfaces", "sysctls", "base_chains", "routing_tables"};

Node texts_of(const std::set<std::string>& values) { return texts({values.begin(), values.end()}); }

std::set<std::string> set_at(const Node& object, std::string_view key) {
  const auto all = texts_at(object, key);
  return {all.begin(), all.end()};
}

Node node_of(const Interface& interface) {
  return Node::object()
      .add("name", Node::of(interface.name))
      .add("addresses", texts(interface.addresses))
      .add("loopback", Node::of(interface.loopback))
      .add("bridge", Node::of(interface.bridge))
      .add("carries", Node::of(interface.carries));
}

}  // namespace

const Interface* Facts::interface(const std::string& name) const {
  const auto found = std::ranges::find(interfaces, name, &Interface::name);
  return found == interfaces.end() ? nullptr : &*found;
}

std::string Facts::sysctl(const std::string& name) const {
  const auto found = sysctls.find(name);
  return found == sysctls.end() ? "" : found->second;
}

bool Facts::is_local(const std::string& address) const {
  return std::ranges::any_of(interfaces, [&](const Interface& interface) {
    return std::ranges::find(interface.addresses, address) != interface.addresses.end();
  });
}

std::string sysctl_of(const std::string& interface, std::string_view key) {
  std::string name = interface;
  std::ranges::replace(name, '.', '/');
  return fmt::format("net.ipv4.conf.{}.{}", name, key);
}

Node node_of(const Facts& facts) {
  Node interfaces = Node::array(), sysctls = Node::object();
  for (const Interface& each : facts.interfaces) interfaces.children.push_back(node_of(each));
  for (const auto& [name, value] : facts.sysctls) sysctls.add(name, Node::of(value));
  Node out = Node::object().add("system", Node::of(systems.at(static_cast<std::size_t>(facts.system))));
  out.add("nft", texts_of(facts.nft)).add("iptables", texts_of(facts.iptables));
  out.add("ip6tables", texts_of(facts.ip6tables)).add("interfaces", std::move(interfaces));
  out.add("sysctls", std::move(sysctls));
  if (facts.base_chains) out.add("base_chains", texts_of(*facts.base_chains));
  return out.add("routing_tables", texts_of(facts.routing_tables));
}

std::string to_json(const Facts& facts) { return config::format(node_of(facts)); }

std::expected<Facts, std::string> facts_from(const Node& node, const std::string& name) {
  for (const Node& member : node.children)
    if (std::ranges::find(keys, member.key) == keys.end())
      return std::unexpected(fmt::format("{}: unknown key {}{}", name, config::in_quotes(member.key),
                                         config::did_you_mean(member.key, keys)));
  const std::string word = text_at(node, "system");
  const auto system = std::ranges::find(systems, word);
  if (system == systems.end())
    return std::unexpected(fmt::format("{}: system must be \"linux\", \"openbsd\" or \"freebsd\"{}", name,
                                       config::did_you_mean(word, systems)));
  Facts facts;
  facts.system = static_cast<System>(system - systems.begin());
  facts.nft = set_at(node, "nft");
  facts.iptables = set_at(node, "iptables");
  facts.ip6tables = set_at(node, "ip6tables");
  for (const Node& each : items_at(node, "interfaces"))
    facts.interfaces.push_back({text_at(each, "name"), texts_at(each, "addresses"), flag_at(each, "loopback"),
                                flag_at(each, "bridge"), flag_at(each, "carries")});
  for (const Node& each : items_at(node, "sysctls")) facts.sysctls[each.key] = each.text;
  if (node.find("base_chains") != nullptr) facts.base_chains = set_at(node, "base_chains");
  facts.routing_tables = set_at(node, "routing_tables");
  return facts;
}

std::expected<Facts, std::string> facts_from_json(std::string_view text, const std::string& name) {
  const auto node = parse_json(text, name);
  if (!node) return std::unexpected(node.error());
  return facts_from(*node, name);
}

}  // namespace firewall
