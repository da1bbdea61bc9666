// Connections that the packet filter hands over: what fits together, and what would be a loop or an open relay.
#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>

#include <algorithm>

#include "config/check.h"
#include "config/endpoint.h"
#include "config/quote.h"
#include "config/settings.h"

namespace config {
namespace {

template <class Value>
bool has(const std::vector<Value>& values, const Value& value) {
  return std::ranges::find(values, value) != values.end();
}
template <class Value>
bool common(const std::vector<Value>& one, const std::vector<Value>& other) {
  return std::ranges::any_of(one, [&](const Value& each) { return has(other, each); });
}

bool within(const Netmask& inner, const Netmask& outer) {
  return inner.prefix >= outer.prefix && overlap(inner, outer);
}

// Whether every destination of `one` is one of `other`, too.
bool destinations_within(const Listener& one, const Listener& other) {
  if (other.protected_networks.empty())
    return other.direction == Direction::outgoing || one.direction == other.direction;
  return !one.protected_networks.empty() && std::ranges::all_of(one.protected_networks, [&](const Netmask& inner) {
    return std::ranges::any_of(other.protected_networks, [&](const Netmask& outer) { return within(inner, outer); });
  });
}

std::vector<std::string> all_interfaces(const Listener& listener) {
  std::vector<std::string> all = listener.interfaces;
  for (const auto* more : {&listener.skip_interfaces, &listener.drop_interfaces})
    all.insert(all.end(), more->begin(), more->end());
  return all;
}

// What comes in by some interface can have two fates, or is taken by both. Both leave it alone, both drop it: no matter.
bool meet_at_interface(const Listener& earlier, const Listener& later) {
  return common(earlier.interfaces, all_interfaces(later)) || common(earlier.skip_interfaces, later.interfaces) ||
         common(earlier.skip_interfaces, later.drop_interfaces) || common(earlier.drop_interfaces, later.interfaces) ||
         common(earlier.drop_interfaces, later.skip_interfaces);
}

// The first listener in the file that matches takes a connection. Whether nothing is left of some port for `later`.
bool takes_all(const Listener& earlier, const Listener& later) {
  const bool same_interface =
      earlier.interfaces.empty() || (!later.interfaces.empty() && meet_at_interface(earlier, later));
  return earlier.address.address.ss_family == later.address.address.ss_family && same_interface &&
         common(earlier.scopes, later.scopes) && common(earlier.ports, later.ports) &&
         destinations_within(later, earlier);
}

std::vector<Intercept> ways_of(Backend backend) {
  switch (backend) {
    case Backend::nft:
    case Backend::iptables:
      return {Intercept::redirect, Intercept::tproxy};
    case Backend::pf_openbsd:
      return {Intercept::pf_rdr, Intercept::divert};
    case Backend::pf_freebsd:
      return {Intercept::pf_rdr};
    case Backend::ipfw:
      return {Intercept::divert};
    case Backend::automatic:
      break;
  }
  return {Intercept::redirect, Intercept::tproxy, Intercept::pf_rdr, Intercept::divert};
}

template <class Enum>
std::string word_of(Enum value) {
  return std::string(words_of(value).at(static_cast<std::size_t>(value)));
}

class ListenerChecker {
 public:
  ListenerChecker(const Config& config, std::size_t index, const Surroundings& machine, Problems& problems)
      : config_(config),
        machine_(machine),
        problems_(problems),
        at_("/listeners/" + std::to_string(index)),
        listener_(config.listeners[index]),
        index_(index) {}

  void run() {
    if (problems_.failed(at_)) return;
    if (listener_.intercept == Intercept::none) plain();
    else intercepting();
    const auto downstream = config_.downstreams.find(listener_.downstream);
    if (downstream != config_.downstreams.end()) pairing(downstream->second);
  }

 private:
  void error(const char* key, std::string text) { problems_.error(at_ + key, std::move(text)); }

  // Defaults may be written, for `config show` writes them.
  void plain() {
    const Listener fresh;
    const auto belongs = [&](const char* key, bool same) {
      if (!same) error(key, "belongs to a listener with intercept");
    };
    belongs("/scopes", listener_.scopes == fresh.scopes);
    belongs("/ports", listener_.ports == fresh.ports);
    belongs("/interfaces", listener_.interfaces.empty());
    belongs("/skip_interfaces", listener_.skip_interfaces.empty());
    belongs("/drop_interfaces", listener_.drop_interfaces.empty());
    belongs("/protected", listener_.protected_networks.empty());
    belongs("/skip_sources", listener_.skip_sources.empty());
    belongs("/skip_destinations", listener_.skip_destinations.empty());
  }

  void intercepting() {
    if (!machine_.root) error("/intercept", "needs root: rules and sockets for it are made by the supervisor");
    if (listener_.address.is_unix())
      return error("/intercept", "belongs to a network address: no connection to a UNIX socket is intercepted");
    way();
    address();
    scopes();
    interfaces();
    protected_networks();
    if (listener_.proxy_header != ProxyHeader::off)
      error("/proxy_header", "cannot be where connections are intercepted: the client does not know of us");
    for (std::size_t j = 0; j < index_; ++j)
      if (config_.listeners[j].intercept != Intercept::none && takes_all(config_.listeners[j], listener_))
        error("/ports",
              fmt::format("listener {} takes the same connections already", in_quotes(config_.listeners[j].name)));
  }

  void way() {
    const std::vector<Intercept> ways = ways_of(config_.firewall.backend);
    if (has(ways, listener_.intercept)) return;
    std::string words;
    for (const Intercept each : ways) words += (words.empty() ? "\"" : " and \"") + word_of(each) + "\"";
    error("/intercept", fmt::format("is not what the backend {} can do, which knows {}",
                                    in_quotes(word_of(config_.firewall.backend)), words));
  }

  void address() {
    const std::uint16_t port = port_of(listener_.address);
    if (port == 0) error("/address", "needs a fixed port: the rules of the packet filter name it");
    if (has(listener_.ports, port))
      error("/ports",
            fmt::format("{} is the port of this listener itself: connections to it are refused as direct ones", port));
    sockaddr_in6 six{};
    if (listener_.address.address.ss_family == AF_INET6)
      six = reinterpret_cast<const sockaddr_in6&>(listener_.address.address);
    if (IN6_IS_ADDR_LINKLOCAL(&six.sin6_addr))
      error("/address", "is a link-local address, which rules of the packet filter cannot name; listen on [::]");
    // Redirected connections from elsewhere come to the address of the interface where they arrived.
    if (listener_.intercept == Intercept::redirect && from_elsewhere() && is_loopback(listener_.address))
      error("/address",
            fmt::format("{} is never reached by a redirected connection, which arrives at the address of its "
                        "interface; listen on {}",
                        to_text(listener_.address), wildcard()));
  }
  bool from_elsewhere() const { return has(listener_.scopes, Scope::input) || has(listener_.scopes, Scope::forward); }
  bool takes_ipv6() const { return listener_.address.address.ss_family == AF_INET6; }  // IPV6_V6ONLY is on
  std::string wildcard() const { return wildcard(takes_ipv6()); }
  std::string wildcard(bool ipv6) const {
    return fmt::format("{}:{}", ipv6 ? "[::]" : "0.0.0.0", port_of(listener_.address));
  }

  void protected_networks() {
    const std::vector<Netmask>& networks = listener_.protected_networks;
    if (networks.empty()) return;
    if (listener_.direction == Direction::outgoing)
      return error("/protected", "belongs to incoming mail; outgoing mail may go anywhere, on the intercepted ports");
    // Without a rule nobody would be told: mail would go by, unscanned.
    const char* family = takes_ipv6() ? "IPv6" : "IPv4";
    if (std::ranges::all_of(networks, [&](const Netmask& each) { return is_ipv4(each) == takes_ipv6(); }))
      error("/protected", fmt::format("has no {} network, and {} takes {} alone: nothing would be intercepted; name one, "
                                      "or listen on {}",
                                      family, to_text(listener_.address), family, wildcard(!takes_ipv6())));
  }

  void scopes() {
    const bool output = has(listener_.scopes, Scope::output);
    if (listener_.direction == Direction::outgoing && has(listener_.scopes, Scope::input))
      error("/scopes",
            "\"input\" takes connections to this host itself, whose mail is incoming; outgoing mail has the scopes "
            "\"forward\" and \"output\"");
    if (listener_.intercept != Intercept::redirect && output)
      error("/scopes", "\"output\" is for \"redirect\" only: other ways see no connection of this host itself");
    if (listener_.direction == Direction::outgoing || !listener_.protected_networks.empty()) return;
    if (has(listener_.scopes, Scope::forward))
      error("/scopes", "\"forward\" needs protected, the networks of the servers whose incoming mail this is");
    if (output && !has(listener_.interfaces, loopback_))
      error("/scopes",
            "\"output\" takes mail of this host itself; say \"direction\": \"outgoing\", or which networks are "
            "protected");
  }

  void interfaces() {
    const bool only = listener_.interfaces == std::vector{loopback_};
    if (only && from_elsewhere() && has(listener_.scopes, Scope::output)) of_output_alone("/interfaces");
    if (listener_.intercept == Intercept::tproxy)
      for (const std::string& name : listener_.interfaces)
        if (machine_.exists(place_of(name) + "/bridge"))
          error("/intercept",
                fmt::format("{} is a bridge, where TPROXY does not work; use \"redirect\"", in_quotes(name)));
    interfaces("/interfaces", listener_.interfaces, {});
    interfaces("/skip_interfaces", listener_.skip_interfaces, {&listener_.interfaces});
    interfaces("/drop_interfaces", listener_.drop_interfaces, {&listener_.interfaces, &listener_.skip_interfaces});
  }
  // `others`: one interface has one fate.
  void interfaces(const char* key, const std::vector<std::string>& names,
                  std::initializer_list<const std::vector<std::string>*> others) {
    if (has(names, loopback_) && !has(listener_.scopes, Scope::output)) of_output_alone(key);
    for (const std::string& name : names) {
      if (std::ranges::any_of(others, [&](const auto* other) { return has(*other, name); }))
        error(key, fmt::format("{} is in two lists of interfaces", in_quotes(name)));
      else if (linux_way() && !machine_.exists(place_of(name)))
        problems_.warning(at_ + key, fmt::format("this host has no interface {} now", in_quotes(name)));
    }
  }
  void of_output_alone(const char* key) {
    error(key, "connections over lo begin on this host: they belong to the scope \"output\" alone");
  }
  static std::string place_of(const std::string& interface) { return "/sys/class/net/" + interface; }
  bool linux_way() const {
    return listener_.intercept == Intercept::redirect || listener_.intercept == Intercept::tproxy;
  }

  void pairing(const Downstream& downstream) {
    const bool transparent = listener_.intercept == Intercept::tproxy || listener_.intercept == Intercept::divert;
    if (downstream.original && listener_.intercept == Intercept::none)
      error("/downstream", fmt::format("{} is the original destination, which only a listener with intercept knows",
                                       in_quotes(listener_.downstream)));
    // Answers to a client's address come back to us by the rules of those ways alone.
    if (downstream.identity == Identity::spoof && !transparent)
      error("/downstream",
            fmt::format("{} spoofs the client's address; that needs \"intercept\": \"tproxy\" or \"divert\"",
                        in_quotes(listener_.downstream)));
    const bool tells =
        downstream.identity == Identity::xclient ||
        (transparent && (downstream.identity == Identity::automatic || downstream.identity == Identity::spoof));
    if (downstream.original && !tells && listener_.intercept != Intercept::none &&
        listener_.direction == Direction::outgoing && has(listener_.scopes, Scope::forward) &&
        all_interfaces(listener_).empty())
      problems_.warning(
          at_ + "/interfaces",
          "without them \"forward\" also takes mail of the world for servers behind this host, which would "
          "come from an address of this host and may be trusted; name the interfaces of the clients");
  }

  const Config& config_;
  const Surroundings& machine_;
  Problems& problems_;
  std::string at_;
  const Listener& listener_;
  std::size_t index_;
  const std::string loopback_ = "lo";
};

void check_original(const std::string& name, const Downstream& downstream, const std::string& at, Problems& problems) {
  if (!downstream.original) {
    if (problems.given(at + "/original"))
      problems.error(at + "/original", "must be true; leave it out for a downstream with servers or path");
    if (name == "original")
      problems.error(at, "\"original\" is the name of the original destination; call this downstream otherwise");
    return;
  }
  if (downstream.protocol != Protocol::smtp)
    problems.error(at + "/protocol", "must be \"smtp\": intercepted mail is going to a mail server");
  if (downstream.identity == Identity::proxy_v1 || downstream.identity == Identity::proxy_v2)
    problems.error(at + "/identity",
                   "cannot be PROXY here: a port that expects its header takes no direct traffic; name a port of its "
                   "own by servers");
  if (downstream.create) problems.error(at + "/create", "belongs to a downstream with path");
}

// An answer to a foreign address never leaves 127.0.0.1 (RFC 1122, 3.2.1.3); ::1 is not so strict.
void check_spoof(const Downstream& downstream, const std::string& at, Problems& problems) {
  if (downstream.identity != Identity::spoof) return;
  for (std::size_t i = 0; i < downstream.servers.size(); ++i) {
    const Endpoint& server = downstream.servers[i];
    const std::string pointer = at + "/servers/" + std::to_string(i);
    if (server.is_unix()) problems.error(pointer, "is no network address: there is nothing to spoof");
    else if (!server.is_name() && server.address.ss_family == AF_INET && is_loopback(server))
      problems.error(pointer, fmt::format("{} cannot answer a spoofed source; write another address of this host",
                                          to_text(server)));
  }
}

}  // namespace

void check_interception(const Config& config, const Surroundings& machine, Problems& problems) {
  bool any = false;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    ListenerChecker(config, i, machine, problems).run();
    any = any || config.listeners[i].intercept != Intercept::none;
  }
  for (const auto& [name, downstream] : config.downstreams) {
    const std::string at = "/downstreams/" + escape_pointer(name);
    if (problems.failed(at)) continue;
    check_original(name, downstream, at, problems);
    check_spoof(downstream, at, problems);
  }
  if (config.firewall.manage && !any)
    problems.error("/firewall/manage", "there is nothing to manage: no listener has intercept");
}

}  // namespace config
