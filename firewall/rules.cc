#include "firewall/rules.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "config/endpoint.h"
#include "config/spoofing.h"

namespace firewall {
namespace {

using config::Direction;
using config::Intercept;
using config::Listener;
using config::Netmask;
using config::Scope;

constexpr unsigned mapped_bits = 96;  // an IPv4 network is kept as its IPv4-mapped IPv6 one

std::string network_text(const std::array<std::uint8_t, 16>& octets, unsigned prefix, Version version) {
  char text[INET6_ADDRSTRLEN] = "";
  const bool v4 = version == Version::v4;
  ::inet_ntop(v4 ? AF_INET : AF_INET6, octets.data() + (v4 ? 12 : 0), text, sizeof text);
  const unsigned whole = v4 ? 32 : 128;
  return prefix == whole ? std::string(text) : fmt::format("{}/{}", text, prefix);
}

std::string address_of(const config::Endpoint& endpoint) {
  char text[INET6_ADDRSTRLEN] = "";
  if (endpoint.address.ss_family == AF_INET6) {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(endpoint.address);
    if (IN6_IS_ADDR_UNSPECIFIED(&six.sin6_addr)) return {};
    ::inet_ntop(AF_INET6, &six.sin6_addr, text, sizeof text);
    return text;
  }
  const auto& four = reinterpret_cast<const sockaddr_in&>(endpoint.address);
  if (four.sin_addr.s_addr == INADDR_ANY) return {};
  ::inet_ntop(AF_INET, &four.sin_addr, text, sizeof text);
  return text;
}

// Connections over lo are those of the scope output.
std::vector<std::string> in_scope(std::vector<std::string> interfaces, Scope scope) {
  if (scope != Scope::output) std::erase(interfaces, "lo");
  return interfaces;
}

void set_interfaces(Diversion& diversion, const Listener& listener) {
  diversion.interfaces = in_scope(listener.interfaces, diversion.scope);
  if (!diversion.interfaces.empty()) diversion.interfaces.emplace_back(verify_interface);
  diversion.skip_interfaces = in_scope(listener.skip_interfaces, diversion.scope);
  diversion.drop_interfaces = in_scope(listener.drop_interfaces, diversion.scope);
}

void set_destinations(Diversion& diversion, const Listener& listener) {
  const bool anywhere = listener.direction == Direction::outgoing;
  const bool listed = !listener.protected_networks.empty();
  switch (diversion.scope) {
    case Scope::input:
      diversion.to_local = true;
      break;
    case Scope::forward:
      diversion.to_others = true;
      break;
    case Scope::output:
      diversion.to_local = true;
      diversion.to_others = anywhere || listed;
      break;
  }
}

}  // namespace

std::string_view to_string(Scope scope) {
  return scope == Scope::input ? "input" : scope == Scope::forward ? "forward" : "output";
}

std::string Diversion::label() const { return fmt::format("{}{}.{}", to_string(scope), number_of(version), listener); }

std::string Diversion::target() const {
  const bool brackets = version == Version::v6 && !address.empty();
  return fmt::format("{}{}{}:{}", brackets ? "[" : "", address, brackets ? "]" : "", port);
}

std::vector<std::string> Diversion::diverting_interfaces() const {
  std::vector<std::string> all = interfaces;
  if (!all.empty()) all.insert(all.end(), drop_interfaces.begin(), drop_interfaces.end());
  return all;
}

std::set<std::uint16_t> Rules::tproxy_ports() const {
  std::set<std::uint16_t> ports;
  for (const Diversion& each : diversions)
    if (each.way == Intercept::tproxy) ports.insert(each.ports.begin(), each.ports.end());
  return ports;
}

bool Rules::drops(const Diversion& each) const {
  const bool goes_round = each.way == Intercept::redirect || queue != 0;
  return !each.drop_interfaces.empty() || (goes_round && each.scope != Scope::output);
}
std::vector<const Diversion*> Rules::up_to_last_drop(const std::vector<const Diversion*>& all) const {
  std::vector<const Diversion*> found = all;
  while (!found.empty() && !drops(*found.back())) found.pop_back();
  return found;
}
std::vector<const Diversion*> Rules::up_to_last_redirect(std::vector<const Diversion*> all) {
  while (!all.empty() && all.back()->way != Intercept::redirect) all.pop_back();
  return all;
}
bool Rules::odd_alone(const std::vector<const Diversion*>& all) {
  return std::ranges::all_of(all, [](const Diversion* each) { return each->drop_interfaces.empty(); });
}
bool Rules::any_drop_interfaces() const {
  return std::ranges::any_of(diversions, [](const Diversion& each) { return !each.drop_interfaces.empty(); });
}
bool Rules::overtaken(const Diversion& redirected) const {
  const auto common_port = [&](const Diversion& later) {
    return std::ranges::any_of(later.ports, [&](std::uint16_t port) {
      return std::ranges::find(redirected.ports, port) != redirected.ports.end();
    });
  };
  return redirected.way == Intercept::redirect && redirected.scope != Scope::output &&
         std::ranges::any_of(diversions, [&](const Diversion& later) {
           return later.way == Intercept::tproxy && later.number > redirected.number &&
                  later.version == redirected.version && later.scope == redirected.scope && common_port(later);
         });
}
bool Rules::any(Intercept way) const {
  return std::ranges::any_of(diversions, [way](const Diversion& each) { return each.way == way; });
}
bool Rules::any(Scope scope) const {
  return std::ranges::any_of(diversions, [scope](const Diversion& each) { return each.scope == scope; });
}
bool Rules::any(Version version) const {
  return std::ranges::any_of(diversions, [version](const Diversion& each) { return each.version == version; });
}

std::vector<std::string> networks_of(const std::vector<Netmask>& all, Version version) {
  std::vector<std::string> out;
  for (const Netmask& each : all) {
    if (is_ipv4(each) != (version == Version::v4)) continue;
    const unsigned first = version == Version::v4 ? mapped_bits : 0;
    if (each.prefix != first) {
      out.push_back(network_text(each.network, each.prefix - first, version));
      continue;
    }
    std::array<std::uint8_t, 16> half = each.network;
    out.push_back(network_text(half, 1, version));
    half[first / 8] = 0x80;
    out.push_back(network_text(half, 1, version));
  }
  return out;
}

Rules rules_of(const config::Config& config) {
  Rules rules;
  rules.proxy_uid = config.proxy_account.uid;
  rules.routing_table = config.firewall.routing_table;
  rules.queue = config.firewall.gate.queue;
  rules.open = config.firewall.gate.on_failure == config::OnFailure::open;
  rules.bans = config.firewall.bans.on;
  rules.never_banned = config.firewall.bans.never;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const Listener& listener = config.listeners[i];
    if (listener.intercept == Intercept::none) continue;
    const bool six = listener.address.address.ss_family == AF_INET6;  // IPV6_V6ONLY is on
    Diversion diversion{.listener = listener.name,
                        .number = static_cast<unsigned>(i + 1),
                        .way = listener.intercept,
                        .version = six ? Version::v6 : Version::v4,
                        .direction = listener.direction,
                        .address = address_of(listener.address),
                        .loopback = config::is_loopback(listener.address),
                        .port = config::port_of(listener.address),
                        .ports = listener.ports};
    diversion.protected_networks = networks_of(listener.protected_networks, diversion.version);
    diversion.skip_sources = networks_of(listener.skip_sources, diversion.version);
    diversion.skip_destinations = networks_of(listener.skip_destinations, diversion.version);
    // Networks of the other family alone: nothing of this one is protected.
    if (!listener.protected_networks.empty() && diversion.protected_networks.empty()) continue;
    if (listener.intercept == Intercept::tproxy) (six ? rules.tproxy6 : rules.tproxy4) = true;
    if (const config::Downstream& downstream = config.downstream_of(listener); spoofs(downstream, listener)) {
      (six ? rules.spoof6 : rules.spoof4) = true;
      if (downstream.original) rules.spoof_ports.insert(listener.ports.begin(), listener.ports.end());
      for (const config::Endpoint& server : downstream.servers) rules.spoof_ports.insert(config::port_of(server));
    }
    for (const Scope scope : listener.scopes) {
      Diversion one = diversion;
      one.scope = scope;
      set_interfaces(one, listener);
      set_destinations(one, listener);
      rules.diversions.push_back(std::move(one));
    }
  }
  return rules;
}

std::string banned_set(Version version) { return fmt::format("gatepost{}-banned", number_of(version)); }
std::string never_banned_set(Version version) { return fmt::format("gatepost{}-never-banned", number_of(version)); }

std::vector<const Diversion*> once_per_listener(const Rules& rules, Version version) {
  std::vector<const Diversion*> out;
  for (const Diversion& each : rules.diversions)
    if (each.version == version && (out.empty() || out.back()->number != each.number)) out.push_back(&each);
  return out;
}

}  // namespace firewall
