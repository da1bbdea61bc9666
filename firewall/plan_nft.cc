// nftables: one table of ours for both families, replaced in one transaction.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include "firewall/marks.h"
#include "firewall/plan.h"
#include "firewall/plan_nft.h"

namespace firewall {

std::string nft::list(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, ", ")); }

std::string nft::match(const Diversion& each, const std::string& destinations) {
  return match(each, destinations, each.diverting_interfaces());
}

std::string nft::match(const Diversion& each, const std::string& destinations,
                       const std::vector<std::string>& interfaces) {
  const std::string_view direction = each.scope == config::Scope::output ? "oifname" : "iifname";
  std::string match;
  if (interfaces.empty()) {
    match = fmt::format("{} != \"lo\"", direction);
  } else {
    for (const std::string& name : interfaces) match += fmt::format("{}\"{}\"", match.empty() ? "" : ", ", name);
    match = fmt::format("{} {{ {} }}", direction, match);
  }
  std::vector<std::string> ports;
  for (const std::uint16_t port : each.ports) ports.push_back(std::to_string(port));
  match += fmt::format(" meta nfproto ipv{} tcp dport {{ {} }}", number_of(each.version), list(ports));
  if (each.to_local != each.to_others) match += fmt::format(" fib daddr type {}local", each.to_local ? "" : "!= ");
  if (!each.protected_networks.empty())
    match += fmt::format(" {} daddr {}", each.version == Version::v4 ? "ip" : "ip6", destinations);
  return match;
}

std::string nft::not_our_own(const Rules& rules) {
  return fmt::format("\t\tmeta skuid {} return\n\t\tmeta mark & {:#010x} == {:#010x} return\n", rules.proxy_uid,
                     mark_mask, mark_own);
}

namespace {

using config::Intercept;
using config::Scope;
using nft::list;

constexpr std::string_view only_syn = "tcp flags & (fin | syn | rst | ack) == syn";

class NftText {
 public:
  // `aside`: without what looks at first packets. What that led to stays, unused: nat works for connections that it has
  // translated as long as a rule has a use for it.
  NftText(const Rules& rules, bool aside) : rules_(rules), aside_(aside) {}

  std::string write() {
    text_ = "table inet gatepost\ndelete table inet gatepost\ntable inet gatepost {\n";
    for (const Version version : {Version::v4, Version::v6})
      for (const Diversion* each : once_per_listener(rules_, version)) sets(*each);
    for (const Diversion& each : rules_.diversions) {
      counter(each.label());
      if (!each.drop_interfaces.empty()) counter(dropped_label(each));
      if (rules_.drops(each) || each.way == Intercept::redirect) counter(missed_label(each));
    }
    for (const Diversion& each : rules_.diversions) one(each);
    if (!aside_) never_by();
    const bool elsewhere = rules_.any(Scope::input) || rules_.any(Scope::forward);
    if (rules_.any(Intercept::redirect) && elsewhere) prerouting_nat();
    if (rules_.any(Scope::output)) output_nat();
    if (rules_.any(Intercept::tproxy)) prerouting_mangle();
    if (rules_.spoof4 || rules_.spoof6) {
      output_mangle();
      if (rules_.any(Intercept::tproxy)) zone();
    }
    if (rules_.queue != 0 && !aside_) first_packets();
    while (text_.ends_with("\n\n")) text_.pop_back();
    text_ += "}\n";
    if (rules_.bans) text_ += aside_ ? nft::no_bans(rules_) : nft::bans(rules_);
    return text_;
  }

 private:
  static std::string set_name(std::string_view what, const Diversion& diversion) {
    return fmt::format("{}{}.{}", what, number_of(diversion.version), diversion.listener);
  }
  static std::string_view family(const Diversion& each) { return each.version == Version::v4 ? "ip" : "ip6"; }

  void set(std::string_view what, const Diversion& diversion, const std::vector<std::string>& networks) {
    if (networks.empty()) return;
    text_ += fmt::format(
        "\tset {} {{\n\t\ttype {}\n\t\tflags interval\n\t\tauto-merge\n\t\telements = {{ {} }}\n\t}}\n\n",
        set_name(what, diversion), diversion.version == Version::v4 ? "ipv4_addr" : "ipv6_addr", list(networks));
  }
  void sets(const Diversion& each) {
    set("protected", each, each.protected_networks);
    set("skip_sources", each, each.skip_sources);
    set("skip_destinations", each, each.skip_destinations);
  }

  void line(std::string_view words) { text_ += fmt::format("\t\t{}\n", words); }
  void begin(std::string_view chain, std::string_view hook = "") {
    text_ += fmt::format("\tchain {} {{\n", chain);
    if (!hook.empty()) line(fmt::format("type {}; policy accept;", hook));
  }
  void end() { text_ += "\t}\n\n"; }

  void counter(const std::string& label) { text_ += fmt::format("\tcounter {} {{\n\t}}\n\n", label); }

  void leave_skipped(const Diversion& each) {
    if (!each.skip_sources.empty())
      line(fmt::format("{} saddr @{} return", family(each), set_name("skip_sources", each)));
    if (!each.skip_destinations.empty())
      line(fmt::format("{} daddr @{} return", family(each), set_name("skip_destinations", each)));
  }

  // What is done with a connection of the right kind: left alone, or counted and diverted.
  void one(const Diversion& each) {
    begin(each.label());
    leave_skipped(each);
    // Connections that were there before the rules are new to connection tracking, too; they are left alone.
    const std::string first = fmt::format("{} counter name {}", only_syn, each.label());
    if (each.way == Intercept::tproxy) {
      line(first + (rules_.queue != 0 ? "" : " " + remember(mark_take)));  // a gate's decision is remembered already
      line(fmt::format("meta l4proto tcp meta mark set meta mark & {:#010x} | {:#010x} tproxy {} to {} accept",
                       ~mark_mask, mark_divert, family(each), each.target()));
      line("drop");  // nobody listens: as with iptables, and not round us
    } else if (each.by_interface()) {
      line(fmt::format("{} redirect to :{}", first, each.port));
    } else {  // redirect would go to the first address of the interface
      line(fmt::format("{} dnat {} to {}", first, family(each), each.target()));
    }
    end();
  }

  // Which connections are of that kind.
  void dispatch(const Diversion& each) { dispatch(each, "goto " + each.label()); }
  void dispatch(const Diversion& each, const std::string& then) {
    if (aside_) return;
    skip_interfaces(each);
    line(nft::match(each, protected_set(each)) + " " + then);
  }
  void skip_interfaces(const Diversion& each) {
    if (!each.skip_interfaces.empty()) line(nft::match(each, protected_set(each), each.skip_interfaces) + " return");
  }
  static std::string protected_set(const Diversion& each) { return "@" + set_name("protected", each); }

  template <class Wanted>
  std::vector<const Diversion*> those(Wanted wanted) const {
    std::vector<const Diversion*> all;
    for (const Diversion& each : rules_.diversions)
      if (wanted(each)) all.push_back(&each);
    return all;
  }

  void never_by() {
    const auto elsewhere = [](const Diversion& each) { return each.scope != Scope::output; };
    const auto here = [](const Diversion& each) { return each.scope == Scope::output; };
    drops("prerouting", elsewhere);
    drops("output", here);
    missed("prerouting", elsewhere);
    missed("output", here);
  }
  // Before anybody else sees them, and whatever flags some servers take for a first packet.
  template <class Wanted>
  void drops(std::string_view hook, Wanted wanted) {
    const std::vector<const Diversion*> all = rules_.up_to_last_drop(those(wanted));
    if (all.empty()) return;
    for (const Diversion* each : all) {
      if (each->drop_interfaces.empty()) continue;
      begin(dropped_label(*each));
      leave_skipped(*each);
      line(fmt::format("counter name {} drop", dropped_label(*each)));
      end();
    }
    begin(fmt::format("{}_drop", hook), fmt::format("filter hook {} priority raw - 20", hook));
    line("meta l4proto != tcp return");
    line("tcp flags & (syn | ack) != syn return");
    const bool odd_alone = rules_.odd_alone(all);
    if (odd_alone) line("tcp flags & (fin | rst) == 0x0 return");
    if (hook == "output") text_ += nft::not_our_own(rules_);
    for (const Diversion* each : all) {
      skip_interfaces(*each);
      if (!each->drop_interfaces.empty())
        line(nft::match(*each, protected_set(*each), each->drop_interfaces) + " goto " + dropped_label(*each));
      const std::string taken = nft::match(*each, protected_set(*each));
      if (rules_.drops(*each))
        line(fmt::format("{} tcp flags & (fin | rst) != 0x0 counter name {} drop", taken, missed_label(*each)));
      if (each != all.back() && !(odd_alone && rules_.drops(*each))) line(taken + " return");
    }
    end();
  }
  // Behind connection tracking, and before nat: destinations are as clients mean them, and the first packet of a
  // connection that will be redirected is not confirmed yet. No rule that looks at the status of a connection applies
  // where there is none; what is left then, and not untracked by somebody else's rule, is invalid.
  template <class Wanted>
  void missed(std::string_view hook, Wanted wanted) {
    const std::vector<const Diversion*> all = Rules::up_to_last_redirect(those(wanted));
    if (all.empty()) return;
    for (const Diversion* each : all) {
      if (each->way != Intercept::redirect) continue;
      begin(missed_label(*each));
      leave_skipped(*each);
      line(fmt::format("counter name {} drop", missed_label(*each)));
      end();
    }
    begin(fmt::format("{}_missed", hook), fmt::format("filter hook {} priority -140", hook));
    line("meta l4proto != tcp return");
    line("tcp flags & (syn | ack) != syn return");
    line("ct status & (confirmed | dnat) != confirmed return");
    line("ct state untracked return");
    if (rules_.queue != 0) {
      line(marked(mark_take, "!=") + " return");
      if (rules_.open) line(going_by() + " return");
    }
    if (hook == "output") text_ += nft::not_our_own(rules_);
    for (const Diversion* each : all)
      dispatch(*each, each->way == Intercept::redirect ? "goto " + missed_label(*each) : "return");
    end();
  }
  template <class Wanted>
  void dispatch_all(Wanted wanted) {
    for (const Diversion& each : rules_.diversions)
      if (wanted(each)) dispatch(each);
  }

  // Before the tables of iptables and others, which would take the connection for good.
  void prerouting_nat() {
    begin("prerouting_nat", "nat hook prerouting priority dstnat - 10");
    const auto wanted = [](const Diversion& each) {
      return each.way == Intercept::redirect && each.scope != Scope::output;
    };
    taken_alone(wanted);
    dispatch_all(wanted);
    end();
  }
  void output_nat() {
    begin("output_nat", "nat hook output priority -110");
    text_ += nft::not_our_own(rules_);
    const auto wanted = [](const Diversion& each) { return each.scope == Scope::output; };
    taken_alone(wanted);
    dispatch_all(wanted);
    end();
  }
  // With a gate. What it has not decided about, or let by as the proxy was not ready, goes by; so does its first packet
  // when that is sent again, and taken by now, for nat is asked about a connection once.
  template <class Wanted>
  void taken_alone(Wanted wanted) {
    if (rules_.queue == 0) return;
    if (rules_.open) {
      line(marked(mark_pass) + " " + remember(mark_pass));
      for (const Diversion* each : those(wanted))
        dispatch(*each, fmt::format("{} {} {}", only_syn, marked(0), remember(mark_pass)));
    }
    line(marked(mark_take, "!=") + " return");
  }
  // What is done with the packets of connections that we have: those that were diverted, and those with a spoofed
  // source. A socket that listens on all addresses counts for none: it would take what is forwarded to the same port.
  // Not "wildcard 0": that holds for no connection whose socket is nearly gone.
  void of_our_sockets(std::string_view chain, const std::string& then) {
    begin(chain);
    line("socket wildcard 1 return");
    line("socket transparent 1 " + then);
    end();
  }
  void prerouting_mangle() {
    of_our_sockets("divert",
                   fmt::format("meta mark set meta mark & {:#010x} | {:#010x} accept", ~mark_mask, mark_divert));
    begin("prerouting_mangle", "filter hook prerouting priority mangle");
    if (rules_.queue != 0) {
      if (rules_.open) line(marked(mark_take) + " " + going_by() + " return");
      for (const std::uint32_t mark : {mark_take, mark_pass})
        line(fmt::format("{} ct mark & {:#010x} != {:#010x} {}", marked(mark), mark_mask, mark_own, remember(mark)));
      line(marked(mark_reset) + " return");
    }
    // Not for first packets: a socket that remembers a connection from the same port (TIME_WAIT) is transparent, too, and
    // would have the kernel give the new one to whoever listens on the port that is meant. tproxy gives it to us.
    const std::string later = "tcp flags & (syn | ack) != syn ";
    line(later + "jump divert");
    // Connections that were there before the rules go on to their servers. Not asked of all packets that have no socket
    // here: with SYN cookies the third one of a handshake has none.
    const std::string not_taken = fmt::format("ct mark & {:#010x} != {:#010x} return", mark_mask, mark_take);
    line(rules_.queue != 0 ? not_taken : later + not_taken);
    line(later + "ct state invalid return");
    for (const Diversion& each : rules_.diversions) {
      if (each.way == Intercept::tproxy) dispatch(each);
      if (rules_.overtaken(each)) dispatch(each, "return");
    }
    end();
  }
  // And no answer has come yet: what the client begins from the same port later is another connection, whose first packet
  // connection tracking may take for this one's.
  static std::string going_by() {
    return fmt::format("ct state new ct mark & {:#010x} == {:#010x}", mark_mask, mark_pass);
  }
  static std::string remember(std::uint32_t mark) {  // for the connection
    return fmt::format("ct mark set ct mark & {:#010x} | {:#010x}", ~mark_mask, mark);
  }
  static std::string marked(std::uint32_t mark, std::string_view how = "==") {
    return fmt::format("meta mark & {:#010x} {} {:#010x}", mark_mask, how, mark);
  }
  // The gate's: which first packets it decides about, after the skip lists, and what is reset. What it takes alone is
  // diverted (above).
  void first_packets() {
    for (const Diversion& each : rules_.diversions) {
      begin(each.label() + "-first");
      const std::string passed = fmt::format("meta mark set meta mark & {:#010x} | {:#010x} return", ~mark_mask, mark_pass);
      if (!each.skip_sources.empty())
        line(fmt::format("{} saddr @{} {}", family(each), set_name("skip_sources", each), passed));
      if (!each.skip_destinations.empty())
        line(fmt::format("{} daddr @{} {}", family(each), set_name("skip_destinations", each), passed));
      line(fmt::format("queue{} to {}", rules_.open ? " flags bypass" : "", rules_.queue_of(each)));
      end();
    }
    const auto queue = [this](std::string_view chain, std::string_view hook, auto wanted) {
      begin(chain, hook);
      line(fmt::format("tcp flags & (fin | syn | rst | ack) != syn return"));
      line(marked(0, "!=") + " return");
      if (chain == "output_raw") line(fmt::format("meta skuid {} return", rules_.proxy_uid));
      for (const Diversion& each : rules_.diversions)
        if (wanted(each)) dispatch(each, "goto " + each.label() + "-first");
      end();
    };
    if (rules_.any(Scope::input) || rules_.any(Scope::forward))
      queue("prerouting_raw", "filter hook prerouting priority raw",
            [](const Diversion& each) { return each.scope != Scope::output; });
    if (rules_.any(Scope::output))
      queue("output_raw", "filter hook output priority raw",
            [](const Diversion& each) { return each.scope == Scope::output; });
    for (const Scope scope : {Scope::input, Scope::forward, Scope::output}) {
      if (!rules_.any(scope)) continue;
      begin(fmt::format("{}_reset", to_string(scope)),
            fmt::format("filter hook {} priority filter - 10", to_string(scope)));
      line(fmt::format("{} meta l4proto tcp reject with tcp reset", marked(mark_reset)));
      end();
    }
  }

  // A server on this host answers a spoofed source: the answer would leave by the way to the client.
  void output_mangle() {
    begin("output_mangle", "route hook output priority mangle");
    line(fmt::format("{} {} accept", marked(mark_own), remember(mark_own)));
    line(fmt::format("ct mark & {:#010x} == {:#010x} meta mark set meta mark & {:#010x} | {:#010x}", mark_mask,
                     mark_own, ~mark_mask, mark_divert));
    end();
  }

  // Spoofed sources have a zone of connection tracking to themselves. Not those to servers on this host: nothing tells
  // their answers from those of others here, and one host cannot have two connections with the same ends anyway.
  void zone() {
    const std::string set = fmt::format("ct zone set {}", zone_own);
    const std::string family = rules_.spoof4 && rules_.spoof6 ? ""
                               : rules_.spoof4                ? "meta nfproto ipv4 "
                                                              : "meta nfproto ipv6 ";
    begin("output_zone", "filter hook output priority raw");
    line(fmt::format("{}{} fib saddr type != local fib daddr type != local {}", family, marked(mark_own), set));
    end();
    of_our_sockets("zone", set);
    begin("prerouting_zone", "filter hook prerouting priority raw");
    line(fmt::format("{}tcp sport {{ {} }} tcp dport != {{ {} }} fib daddr type != local goto zone", family,
                     fmt::join(rules_.spoof_ports, ", "), fmt::join(rules_.tproxy_ports(), ", ")));
    end();
  }

  const Rules& rules_;
  bool aside_;
  std::string text_;
};

}  // namespace

void plan_nft(Draft& draft) {
  draft.plan.apply.push_back({.why = "The rules, all at once; what was there of ours is replaced",
                              .command = {{"nft", "-f", "-"}, NftText(draft.rules, false).write()}});
  draft.plan.step_aside.push_back({.why = "In their place, all at once, what serves connections that are diverted already",
                                   .command = {{"nft", "-f", "-"}, NftText(draft.rules, true).write()}});
  draft.plan.remove.insert(
      draft.plan.remove.begin(),
      {.why = "The rules", .command = {{"nft", "-f", "-"}, "table inet gatepost\ndelete table inet gatepost\n"}});
  if (!draft.rules.bans) return;
  const std::string table(nft_bans_table);
  draft.plan.remove.insert(draft.plan.remove.begin(),
                           {.why = "The lists of banned clients, and the rules that look at them",
                            .command = {{"nft", "delete", "table", "inet", table}},
                            .condition = Condition{{"nft", "list", "table", "inet", table}}});
}

}  // namespace firewall
