// What is to be intercepted, in the terms of a packet filter: the configuration taken apart into one Diversion for each
// listener, scope and family. Backends write these down, each in its own language.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace firewall {

// The interface of `verify`'s own network is always among those that are intercepted: proving the rules changes none.
inline constexpr std::string_view verify_interface = "gp-verify0";

enum class Version { v4, v6 };
constexpr int number_of(Version version) { return version == Version::v4 ? 4 : 6; }
std::string_view to_string(config::Scope scope);  // "input", "forward", "output"

struct Diversion {
  std::string listener;
  unsigned number = 0;  // of the listener, in the order of the file, from 1
  config::Intercept way{};
  config::Scope scope{};
  Version version{};
  config::Direction direction{};
  std::string address;                  // of the listener; empty = all
  bool loopback = false;                // it is a loopback address
  std::uint16_t port = 0;               // of the listener
  std::vector<std::uint16_t> ports;     // that clients mean to reach
  std::vector<std::string> interfaces{};  // where they come in (output: go out); empty = all but loopback
  // Where they are left alone; where their first packets are dropped, before anybody else sees them. What is not dropped
  // yet, or not any more, while rules change is diverted: it never goes round us.
  std::vector<std::string> skip_interfaces{}, drop_interfaces{};
  // Networks of the family, as "192.0.2.0/24" or "192.0.2.1"; none of them has the prefix length 0.
  std::vector<std::string> protected_networks{}, skip_sources{}, skip_destinations{};
  // Which destinations: those of this host, those of others, or both.
  bool to_local = false, to_others = false;

  // "input4.NAME": unique in a plan, begins with a letter, and fits wherever a packet filter wants a name.
  std::string label() const;
  // Of what would have been diverted by it, had there been a decision: "input4.NAME-undecided".
  friend std::string undecided_label(const Diversion& each) { return each.label() + "-undecided"; }
  // Of what is dropped.
  friend std::string dropped_label(const Diversion& each) { return each.label() + "-dropped"; }
  // Of first packets that would have gone round it, dropped (Rules::drops, Rules::up_to_last_redirect).
  friend std::string missed_label(const Diversion& each) { return each.label() + "-missed"; }
  // Where they are diverted, if they come so far; empty = all but loopback.
  std::vector<std::string> diverting_interfaces() const;
  // The listener: "192.0.2.7:2525", "[2001:db8::7]:2525", ":2525" of all addresses.
  std::string target() const;
  // Of the way redirect: to the address of the interface (or to loopback, from this host itself), which is the
  // listener's.
  bool by_interface() const { return address.empty() || loopback; }
  bool has_lists() const { return !protected_networks.empty() || !skip_sources.empty() || !skip_destinations.empty(); }
};

struct Rules {
  std::vector<Diversion> diversions;      // in the order of the file: the first that matches takes a connection
  bool tproxy4 = false, tproxy6 = false;  // packets are delivered here by mark
  bool spoof4 = false, spoof6 = false;    // we connect with the addresses of clients
  std::set<std::uint16_t> spoof_ports{};  // of the servers to which we do
  std::uint32_t proxy_uid = 0;            // who connects to downstreams
  std::uint32_t routing_table = 0;
  // What is decided on the first packet of a connection, before any rule diverts it: by the gate, if there is one, whose
  // queues are numbered like the listeners from `queue` on; and by the list of banned clients.
  std::uint32_t queue = 0;  // 0 = no gate
  bool open = false;        // without the gate connections go by us
  bool bans = false;
  std::vector<config::Netmask> never_banned{};
  bool on_first_packets() const { return queue != 0 || bans; }
  std::uint32_t queue_of(const Diversion& each) const { return queue + each.number - 1; }
  // That clients mean to reach, of the listeners to which TPROXY brings them.
  std::set<std::uint16_t> tproxy_ports() const;
  bool any_drop_interfaces() const;
  // Whether first packets are to be dropped of those that it means: at its drop_interfaces; and, where it is redirected
  // or asks a gate, those that no client sends (with FIN or RST), skipped ones, too. To connection tracking and the gate
  // they are no first packets, so that they would go round us, to servers some of which take them for that.
  bool drops(const Diversion& each) const;
  // Of these, which are of one hook of a packet filter, in the order of the file: those that drop, and those before them,
  // which take what is theirs.
  std::vector<const Diversion*> up_to_last_drop(const std::vector<const Diversion*>& all) const;
  // A connection is redirected by its first packet, or never: where connection tracking has been shown another one
  // before (an ACK to which nobody says RST), or calls this one invalid, no rule of nat is asked about it. Such first
  // packets of connections are dropped. Of these, which are of one hook, in the order of the file: those that are
  // redirected, and those before them, which take what is theirs.
  static std::vector<const Diversion*> up_to_last_redirect(std::vector<const Diversion*> all);
  // None of them is dropped for its interface: all others are through after one look.
  static bool odd_alone(const std::vector<const Diversion*>& all);
  // Whether connections of this one, which is redirected, would come to a later listener by TPROXY, which the kernel does
  // first.
  bool overtaken(const Diversion& redirected) const;
  bool any(config::Intercept way) const;
  bool any(config::Scope scope) const;
  bool any(Version version) const;
};

Rules rules_of(const config::Config& config);

// The networks of one family, /0 as its two halves: sets of packet filters do not take it.
std::vector<std::string> networks_of(const std::vector<config::Netmask>& all, Version version);

// The sets of banned clients and of those who never are, of ipset.
std::string banned_set(Version version);
std::string never_banned_set(Version version);
// Those of nft are "banned4" and "never4" in a table of their own, which stays when the rules are applied anew.
inline constexpr std::string_view nft_bans_table = "gatepost_bans";

// Listeners by name, once each.
std::vector<const Diversion*> once_per_listener(const Rules& rules, Version version);

}  // namespace firewall
