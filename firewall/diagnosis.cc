// verify.h's diagnose(): what is known to break interception, looked for on this host.
#include <fmt/format.h>

#include <algorithm>
#include <fstream>

#include "config/endpoint.h"
#include "config/spoofing.h"
#include "firewall/conntrack.h"
#include "firewall/sockets_table.h"
#include "firewall/verify.h"

namespace firewall {
namespace {

using config::Direction;
using config::Intercept;
using config::Scope;

std::string sysctl(const std::string& name, const char* value) {
  return fmt::format("sysctl -w {}={} (and in /etc/sysctl.d, to keep it)", name, value);
}

// Those with a strict rp_filter that are not where the way to the world is, if there is one.
std::vector<std::string> strict_beside_the_way_out(const Facts& facts, const std::vector<std::string>& names) {
  std::vector<std::string> found;
  const std::string defaults = output_of({"ip", "-4", "route", "show", "default"}) + " ";
  if (defaults.find(" dev ") == std::string::npos) return found;
  for (const std::string& name : names) {
    const std::string strictest =
        std::max(facts.sysctl("net.ipv4.conf.all.rp_filter"), facts.sysctl(sysctl_of(name, "rp_filter")));
    if (strictest == "1" && name != verify_interface && defaults.find(" dev " + name + " ") == std::string::npos)
      found.push_back(name);
  }
  return found;
}

// Where nothing is listed, and clients of the world might come in: those with an address.
std::vector<std::string> open_interfaces(const Diversion& each, const Facts& facts) {
  std::vector<std::string> found;
  for (const Interface& one : facts.interfaces)
    if (!one.loopback && !one.addresses.empty() && std::ranges::count(each.skip_interfaces, one.name) == 0 &&
        std::ranges::count(each.drop_interfaces, one.name) == 0)
      found.push_back(one.name);
  return found;
}

class Diagnosis {
 public:
  Diagnosis(const config::Config& config, const Plan& in_force, const Facts& facts)
      : config_(config), in_force_(in_force), facts_(facts), rules_(rules_of(config)) {}

  std::vector<Fault> run() {
    for (const std::string& each : missing_parts(in_force_).value_or(std::vector<std::string>()))
      add(each + " is missing", "gatepost firewall apply");
    forwarding(Version::v4, "net.ipv4.ip_forward");
    forwarding(Version::v6, "net.ipv6.conf.all.forwarding");
    if (rules_.tproxy4)
      for (const std::string& name : martian_sysctls(facts_))
        add(name + " is not 0: IPv4 packets with our mark are dropped as martians", sysctl(name, "0"));
    for (const Diversion& each : rules_.diversions) {
      reverse_path(each);
      bridges(each);
    }
    conntrack();
    gate();
    for (const config::Listener& each : config_.listeners)
      if (each.intercept != Intercept::none) listening(each);
    return std::move(faults_);
  }

 private:
  void add(std::string what, std::string mend) {
    Fault fault{std::move(what), std::move(mend)};
    if (std::ranges::find(faults_, fault) == faults_.end()) faults_.push_back(std::move(fault));
  }
  bool is_bridge(const std::string& name) const {
    const Interface* interface = facts_.interface(name);
    return interface != nullptr && interface->bridge;
  }

  // What is diverted needs no forwarding; everything else that is to pass does, the skipped connections among it.
  void forwarding(Version version, const std::string& name) {
    for (const Diversion& each : rules_.diversions) {
      if (each.scope != Scope::forward || each.version != version || facts_.sysctl(name) != "0") continue;
      const bool bridged = std::ranges::any_of(each.interfaces, [&](const std::string& one) { return is_bridge(one); });
      if (!bridged)
        add(fmt::format(
                "{} is 0, and listener {} has the scope forward: this host forwards nothing, skipped connections "
                "neither",
                name, each.listener),
            sysctl(name, "1"));
    }
  }

  // Bridged packets meet the packet filter when that is asked for, and then come in by the bridge.
  void bridges(const Diversion& each) {
    if (each.scope == Scope::output) return;
    const std::string ports = output_of({"ip", "-o", "link", "show", "type", "bridge_slave"});
    const std::string name =
        fmt::format("net.bridge.bridge-nf-call-{}", each.version == Version::v4 ? "iptables" : "ip6tables");
    for (const std::string& interface : each.interfaces) {
      if (each.scope == Scope::forward && is_bridge(interface) && facts_.sysctl(name) != "1")
        add(fmt::format("{} is not 1, and listener {} has the bridge {}: bridged packets meet no rule", name,
                        each.listener, interface),
            facts_.sysctl(name).empty() ? "modprobe br_netfilter, then gatepost firewall apply" : sysctl(name, "1"));
    }
    for (const auto& [key, interfaces] :
         {std::pair{"interfaces", &each.interfaces}, std::pair{"skip_interfaces", &each.skip_interfaces},
          std::pair{"drop_interfaces", &each.drop_interfaces}})
      for (const std::string& interface : *interfaces)
        if (const std::string bridge = bridge_of(interface, ports); !bridge.empty())
          add(fmt::format("{} is a port of the bridge {}, by which all its packets come in: no rule for {} meets them",
                          interface, bridge, interface),
              fmt::format("name {} in the {} of listener {}", bridge, key, each.listener));
  }
  // In lines like "3: port0@if2: <...> mtu 1500 ... master br0 state UP ...".
  static std::string bridge_of(const std::string& port, const std::string& ports) {
    std::size_t at = ports.find(": " + port + ": ");
    if (at == std::string::npos) at = ports.find(": " + port + "@");
    const std::size_t end = ports.find('\n', at);
    const std::size_t master = at == std::string::npos ? at : ports.find(" master ", at);
    if (master == std::string::npos || master > end) return {};
    const std::size_t begin = master + 8;
    return ports.substr(begin, ports.find(' ', begin) - begin);
  }

  // Clients of the world come in where the way to the world is; where it is not, a strict rp_filter drops them.
  void reverse_path(const Diversion& each) {
    if (each.version != Version::v4 || each.scope == Scope::output || each.direction != Direction::incoming) return;
    for (const std::string& name : strict_beside_the_way_out(facts_, each.interfaces))
      add(fmt::format("rp_filter is strict on {}, and the way back to clients is another: their packets are dropped "
                      "before any rule",
                      name),
          sysctl(sysctl_of(name, "rp_filter"), "2"));
  }

  void conntrack() {
    const std::string directory = "/proc/sys/net/netfilter";
    if (needs_conntrack(config_) && !std::ifstream(directory + "/nf_conntrack_max"))
      add("this kernel tracks no connections, which REDIRECT, spoofed sources and a gate need",
          "modprobe nf_conntrack");
    if (const auto sentence = ConntrackWatch(directory).look()) {
      const std::size_t end = sentence->find(". ");
      add(sentence->substr(0, end), end == std::string::npos ? "" : sentence->substr(end + 2));
    }
  }

  void gate() {
    for (const Diversion& each : rules_.diversions)
      if (rules_.queue != 0 && !gate_answers(rules_, each))
        add(fmt::format("the gate does not run: nobody answers queue {} (listener {}); {}", rules_.queue_of(each),
                        each.listener,
                        rules_.open ? "mail goes round gatepost, unscanned" : "new connections get no answer"),
            "gatepost serve");
  }

  void listening(const config::Listener& listener) {
    const bool six = listener.address.address.ss_family == AF_INET6;
    const std::string wanted = config::to_text(listener.address);
    const auto sockets = read_sockets(six ? Version::v6 : Version::v4);
    const bool found = std::ranges::any_of(sockets, [&](const TcpSocket& each) {
      return each.listening &&
             wanted == fmt::format("{}{}{}:{}", six ? "[" : "", each.local, six ? "]" : "", each.local_port);
    });
    if (!found)
      add(fmt::format("nobody listens on {} (listener {}): what is diverted {}", wanted, listener.name,
                      listener.intercept == Intercept::tproxy ? "gets no answer" : "is refused"),
          "gatepost serve");
  }

  const config::Config& config_;
  const Plan& in_force_;
  const Facts& facts_;
  const Rules rules_;
  std::vector<Fault> faults_;
};

}  // namespace

// nfnetlink_queue lists a queue while somebody answers it.
bool gate_answers(const Rules& rules, const Diversion& diversion) {
  std::ifstream list("/proc/net/netfilter/nfnetlink_queue");
  std::uint32_t number = 0;
  for (std::string rest; list >> number && std::getline(list, rest);)
    if (number == rules.queue_of(diversion)) return true;
  return false;
}

std::vector<std::string> doubts(const config::Config& config, const Facts& facts, const VerifyOptions& options) {
  const Rules rules = rules_of(config);
  std::vector<std::string> found = bridge_warnings(rules, facts);
  const auto add = [&](std::string sentence) {
    if (std::ranges::find(found, sentence) == found.end()) found.push_back(std::move(sentence));
  };
  for (const Diversion& each : rules.diversions) {
    if (each.version != Version::v4 || each.scope == Scope::output || each.direction != Direction::incoming ||
        !each.interfaces.empty())
      continue;
    // An interface of a network whose machines alone come by it does well with a strict one.
    for (const std::string& name : strict_beside_the_way_out(facts, open_interfaces(each, facts)))
      add(fmt::format("rp_filter is strict on {}, and the way to the world is another: clients of other networks than its "
                      "own that come by it are dropped before any rule; if there are any: {}",
                      name, sysctl(sysctl_of(name, "rp_filter"), "2")));
  }
  for (const config::Listener& each : config.listeners) {
    const Version version = each.address.address.ss_family == AF_INET6 ? Version::v6 : Version::v4;
    const bool tried = options.spoof && options.spoof->version() == version;
    if (each.intercept == Intercept::none || tried || !spoofs(config.downstream_of(each), each)) continue;
    add(fmt::format("IPv{}: listener {} spoofs the addresses of clients: that servers elsewhere answer them through this host "
                    "is not proven, and would be missed if their route were gone; prove it with --spoof-from ADDRESS of a "
                    "client --spoof-to ADDRESS:PORT of a server",
                    number_of(version), each.name));
  }
  return found;
}

std::vector<Fault> diagnose(const config::Config& config, const Plan& in_force, const Facts& facts) {
  return Diagnosis(config, in_force, facts).run();
}

}  // namespace firewall
