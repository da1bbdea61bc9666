// What a plan depends on besides the configuration: what this host's kernel and programs can do, its interfaces, and
// how it was before anything of ours was applied. Probed here, or read from a file (for another host, and for tests).
#pragma once

#include <expected>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "firewall/json.h"

namespace firewall {

enum class System { linux_host, openbsd, freebsd };

struct Interface {
  std::string name;
  std::vector<std::string> addresses;  // literals, both families; IPv6 link-local ones are left out
  bool loopback = false;
  bool bridge = false;
  bool carries = false;  // a bridge of several ports, one of them not to a machine inside this host (veth, tap)
  bool operator==(const Interface&) const = default;
};

struct Facts {
  System system = System::linux_host;
  // What was loaded for a try, by the names in probe.cc; empty where the program is missing.
  std::set<std::string> nft, iptables, ip6tables;
  std::vector<Interface> interfaces;
  std::map<std::string, std::string> sysctls;  // "net.ipv4.ip_forward" -> "0"; absent where the kernel has none

  // As it was before: tables and base chains of iptables ("ip nat", "ip nat PREROUTING"; nothing where no nft could
  // tell), and routing tables that hold a route ("ip 255", "ip6 254").
  std::optional<std::set<std::string>> base_chains;
  std::set<std::string> routing_tables;

  bool operator==(const Facts&) const = default;
  const Interface* interface(const std::string& name) const;  // null = there is none now
  std::string sysctl(const std::string& name) const;          // "" = the kernel has none
  bool is_local(const std::string& address) const;            // of one of the interfaces
};

// "net.ipv4.conf.eth0.KEY", as sysctl(8) has it: a dot in the interface's name is a slash.
std::string sysctl_of(const std::string& interface, std::string_view key);

// Of this host. Everything is tried in a network namespace of its own and leaves no trace. The error: not root.
std::expected<Facts, std::string> probe();

Node node_of(const Facts& facts);
std::string to_json(const Facts& facts);
// `name` stands for the document in the error.
std::expected<Facts, std::string> facts_from(const Node& node, const std::string& name);
std::expected<Facts, std::string> facts_from_json(std::string_view text, const std::string& name);

}  // namespace firewall
