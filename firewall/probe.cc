// facts.h's probe(): what this host can do, found out by doing it where nobody sees it.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>

#include <array>
#include <fstream>
#include <sstream>

#include "firewall/command.h"
#include "firewall/facts.h"
#include "firewall/json.h"
#include "firewall/network_namespace.h"
#include "firewall/plan.h"

namespace firewall {
namespace {

// `nft -c` is content with expressions that the kernel does not have: they are loaded for true.
struct NftFeature {
  const char* name;
  const char* chain;
  const char* rule;
};
constexpr std::array<NftFeature, 12> nft_features{{
    {"redirect", "type nat hook prerouting priority dstnat", "meta l4proto tcp redirect to :1"},
    {"dnat", "type nat hook prerouting priority dstnat", "meta nfproto ipv4 meta l4proto tcp dnat ip to 127.0.0.1:1"},
    {"output", "type nat hook output priority -110", "meta skuid 1 counter return"},
    {"fib", "type nat hook prerouting priority dstnat", "fib daddr type local return"},
    {"tproxy", "type filter hook prerouting priority mangle", "meta nfproto ipv6 meta l4proto tcp tproxy ip6 to :1"},
    {"socket", "type filter hook prerouting priority mangle", "socket transparent 1 socket wildcard 0 return"},
    {"ct", "type route hook output priority mangle", "ct mark set ct mark & 0xf0ffffff | 0x02000000"},
    {"status", "type filter hook prerouting priority -140", "ct status & (confirmed | dnat) != confirmed return"},
    {"zone", "type filter hook prerouting priority raw", "ct zone set 1"},
    {"sets", "type filter hook prerouting priority mangle", "ip saddr @probe return"},
    {"bans", "type filter hook prerouting priority raw - 10", "ip saddr @bans meta l4proto tcp reject with tcp reset"},
    {"queue", "type filter hook prerouting priority raw", "queue num 1 bypass"},
}};

std::set<std::string> probe_nft(const NetworkNamespace& inside) {
  std::set<std::string> loaded;
  for (const NftFeature& each : nft_features) {
    const Command load{{"nft", "-f", "-"},
                       fmt::format("table inet probe\ndelete table inet probe\ntable inet probe {{\n"
                                   "set probe {{ type ipv4_addr; flags interval; auto-merge; }}\n"
                                   "set bans {{ type ipv4_addr; flags interval, timeout; }}\n"
                                   "counter probe {{ }}\nchain c {{ {}; policy accept; {}; }}\n}}\n",
                                   each.chain, each.rule)};
    if (run(load, &inside).ok()) loaded.insert(each.name);
  }
  return loaded;
}

struct IptablesFeature {
  const char* name;
  const char* table;
  const char* chain;
  std::vector<std::string> rule;
};

std::vector<IptablesFeature> iptables_features(bool six) {
  const std::string destination = six ? "[::1]:1" : "127.0.0.1:1";
  return {
      {"REDIRECT", "nat", "PREROUTING", {"-p", "tcp", "-j", "REDIRECT", "--to-ports", "1"}},
      {"DNAT", "nat", "PREROUTING", {"-p", "tcp", "-j", "DNAT", "--to-destination", destination}},
      {"owner", "nat", "OUTPUT", {"-m", "owner", "--uid-owner", "1", "-j", "RETURN"}},
      {"addrtype", "nat", "PREROUTING", {"-m", "addrtype", "--dst-type", "LOCAL", "-j", "RETURN"}},
      {"multiport", "nat", "PREROUTING", {"-p", "tcp", "-m", "multiport", "--dports", "1,2", "-j", "RETURN"}},
      {"comment", "nat", "PREROUTING", {"-m", "comment", "--comment", "probe"}},
      {"set", "nat", "PREROUTING", {"-m", "set", "--match-set", six ? "probe6" : "probe4", "src", "-j", "RETURN"}},
      {"TPROXY", "mangle", "PREROUTING", {"-p", "tcp", "-j", "TPROXY", "--on-port", "1", "--tproxy-mark", "1/1"}},
      {"socket", "mangle", "PREROUTING", {"-p", "tcp", "-m", "socket", "--transparent", "-j", "RETURN"}},
      {"mark", "mangle", "OUTPUT", {"-m", "mark", "--mark", "1/1", "-j", "MARK", "--set-xmark", "1/1"}},
      {"connmark", "mangle", "OUTPUT", {"-m", "connmark", "--mark", "1/1", "-j", "CONNMARK", "--save-mark"}},
      {"conntrack",
       "mangle",
       "PREROUTING",
       {"-m", "conntrack", "!", "--ctstate", "INVALID,UNTRACKED,DNAT", "--ctstatus", "CONFIRMED"}},
      {"raw", "raw", "PREROUTING", {"-p", "tcp", "--tcp-flags", "SYN,ACK", "SYN", "-j", "RETURN"}},
      {"CT", "raw", "PREROUTING", {"-j", "CT", "--zone", "1"}},
      {"REJECT", "filter", "INPUT", {"-p", "tcp", "-j", "REJECT", "--reject-with", "tcp-reset"}},
      {"NFQUEUE", "raw", "PREROUTING", {"-p", "tcp", "--syn", "-j", "NFQUEUE", "--queue-bypass"}},
  };
}

std::set<std::string> probe_iptables(bool six, const NetworkNamespace& inside) {
  std::set<std::string> loaded;
  const std::string program = six ? "ip6tables" : "iptables";
  if (find_program(program).empty() || find_program(program + "-restore").empty()) return loaded;
  run({{"ipset", "create", six ? "probe6" : "probe4", "hash:net", "family", six ? "inet6" : "inet", "timeout", "0", "comment"}}, &inside);
  for (const IptablesFeature& each : iptables_features(six)) {
    Command add{{program, "-w", "-t", each.table, "-A", each.chain}};
    add.argv.insert(add.argv.end(), each.rule.begin(), each.rule.end());
    if (run(add, &inside).ok()) loaded.insert(each.name);
  }
  return loaded;
}

// A bridge with containers and virtual machines alone is as a rule one that this host routes for. In lines like
// "3: port0@if2: <...> mtu 1500 ... master br0 state UP ...\    veth \    bridge_slave ...".
bool carries(const std::string& bridge) {
  const std::string ports = output_of({"ip", "-d", "-o", "link", "show", "master", bridge});
  std::size_t all = 0, outside = 0;
  for (std::size_t at = 0, end = 0; at < ports.size(); at = end + 1) {
    end = std::min(ports.find('\n', at), ports.size());
    const std::string line = ports.substr(at, end - at);
    ++all;
    if (line.find("\\    veth ") == std::string::npos && line.find("\\    tun ") == std::string::npos) ++outside;
  }
  return all > 1 && outside > 0;
}

std::vector<Interface> probe_interfaces() {
  const std::string bridges = output_of({"ip", "-o", "link", "show", "type", "bridge"});
  std::map<std::string, Interface> found;
  ifaddrs* list = nullptr;
  if (::getifaddrs(&list) != 0) return {};
  for (const ifaddrs* each = list; each != nullptr; each = each->ifa_next) {
    Interface& interface = found[each->ifa_name];
    interface.name = each->ifa_name;
    interface.loopback = (each->ifa_flags & IFF_LOOPBACK) != 0;
    interface.bridge = bridges.find(": " + interface.name + ": ") != std::string::npos;
    char text[INET6_ADDRSTRLEN] = "";
    if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET)
      ::inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in*>(each->ifa_addr)->sin_addr, text, sizeof text);
    if (each->ifa_addr != nullptr && each->ifa_addr->sa_family == AF_INET6) {
      const in6_addr& address = reinterpret_cast<const sockaddr_in6*>(each->ifa_addr)->sin6_addr;
      if (!IN6_IS_ADDR_LINKLOCAL(&address)) ::inet_ntop(AF_INET6, &address, text, sizeof text);
    }
    if (*text != '\0') interface.addresses.emplace_back(text);
  }
  ::freeifaddrs(list);
  std::vector<Interface> all;
  for (auto& [name, interface] : found) {
    interface.carries = interface.bridge && carries(name);
    all.push_back(std::move(interface));
  }
  return all;
}

std::map<std::string, std::string> probe_sysctls(const std::vector<Interface>& interfaces) {
  std::vector<std::string> names{"net.ipv4.ip_forward",
                                 "net.ipv6.conf.all.forwarding",
                                 "net.ipv4.conf.all.rp_filter",
                                 "net.ipv4.conf.all.src_valid_mark",
                                 "net.bridge.bridge-nf-call-iptables",
                                 "net.bridge.bridge-nf-call-ip6tables"};
  for (const Interface& each : interfaces)
    for (const char* key : {"rp_filter", "src_valid_mark"}) names.push_back(sysctl_of(each.name, key));
  std::map<std::string, std::string> found;
  for (const std::string& name : names) {
    std::string path = name, value;
    for (char& c : path) c = c == '.' ? '/' : c == '/' ? '.' : c;
    if (std::ifstream file("/proc/sys/" + path); std::getline(file, value)) found[name] = value;
  }
  return found;
}

// "ip nat" and "ip nat PREROUTING" of everything that has the names of iptables' tables.
std::optional<std::set<std::string>> probe_base_chains() {
  const auto tables = parse_json(output_of({"nft", "-j", "list", "tables"}), "nft");
  const auto chains = parse_json(output_of({"nft", "-j", "list", "chains"}), "nft");
  if (!tables || !chains) return std::nullopt;
  std::set<std::string> found;
  for (const Node& each : items_at(*tables, "nftables"))
    if (const Node* table = each.find("table"); table != nullptr && text_at(*table, "family").starts_with("ip"))
      found.insert(text_at(*table, "family") + " " + text_at(*table, "name"));
  for (const Node& each : items_at(*chains, "nftables"))
    if (const Node* chain = each.find("chain"); chain != nullptr && chain->find("hook") != nullptr)
      if (text_at(*chain, "family").starts_with("ip"))
        found.insert(
            fmt::format("{} {} {}", text_at(*chain, "family"), text_at(*chain, "table"), text_at(*chain, "name")));
  return found;
}

// The number behind "table" in each line; routes without it are in main. A table with the one route that we make, which
// our rule leads to, is ours: of somebody who has lost the file of what was applied.
std::set<std::string> probe_routing_tables() {
  std::set<std::string> found;
  for (const auto& [option, family] : {std::pair{"-4", "ip "}, std::pair{"-6", "ip6 "}}) {
    const std::string priority = std::to_string(routing_rule_priority);
    const std::string rules = output_of({"ip", "-N", option, "rule", "show", "priority", priority});
    std::istringstream routes(output_of({"ip", "-N", option, "route", "show", "table", "all"}));
    for (std::string line; std::getline(routes, line);) {
      const std::size_t at = line.find(" table ");
      if (at == std::string::npos) continue;
      const std::string table = line.substr(at + 7, line.find(' ', at + 7) - at - 7);
      const bool ours = line.starts_with("2 default dev lo ") &&  // of type local, by its number
                        (rules + "\n").find(routing_rule(table) + "\n") != std::string::npos;
      if (!ours) found.insert(family + table);
    }
  }
  return found;
}

}  // namespace

std::expected<Facts, std::string> probe() {
  const auto inside = NetworkNamespace::create();
  if (!inside) return std::unexpected(inside.error() + "; this needs root");
  Facts facts;
  facts.nft = probe_nft(*inside);
  facts.iptables = probe_iptables(false, *inside);
  facts.ip6tables = probe_iptables(true, *inside);
  facts.interfaces = probe_interfaces();
  facts.sysctls = probe_sysctls(facts.interfaces);
  facts.base_chains = probe_base_chains();
  facts.routing_tables = probe_routing_tables();
  return facts;
}

}  // namespace firewall
