// iptables and ip6tables: chains of ours beside those of others, network lists as ipsets, and last of all one jump into
// them from each base chain.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "firewall/marks.h"
#include "firewall/plan.h"

namespace firewall {
namespace {

using config::Intercept;
using config::Scope;

constexpr std::size_t most_ports = 15;  // of one multiport match

struct Hook {
  std::string table, chain;  // of iptables
  std::string ours;          // where the jump goes
};
const Hook prerouting_nat{"nat", "PREROUTING", "GATEPOST"}, output_nat{"nat", "OUTPUT", "GATEPOST_OUT"},
    prerouting_mangle{"mangle", "PREROUTING", "GATEPOST"}, output_mangle{"mangle", "OUTPUT", "GATEPOST_OUT"},
    prerouting_raw{"raw", "PREROUTING", "GATEPOST"}, output_raw{"raw", "OUTPUT", "GATEPOST_OUT"};

// 44 bits (FNV-1a): the name of a set has 31 characters at most.
std::uint64_t digest_of(const std::vector<std::string>& networks) {
  std::uint64_t digest = 0xcbf29ce484222325;
  for (const std::string& network : networks)
    for (const char c : network + '\n') digest = (digest ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return digest >> 20;
}

// As many as a multiport match takes in each.
template <class Ports>
std::vector<std::string> port_lists(const Ports& ports) {
  std::vector<std::string> lists;
  std::size_t count = 0;
  for (const std::uint16_t port : ports)
    if (count++ % most_ports == 0) lists.push_back(std::to_string(port));
    else lists.back() += "," + std::to_string(port);
  return lists;
}

std::string masked(std::uint32_t mark) { return fmt::format("{:#010x}/{:#010x}", mark, mark_mask); }

// Those where first packets are marked, and reset; those where marks are looked at and connections diverted.
enum class Tables { all, that_decide, that_divert };
bool is_among(Tables tables, const std::string& table) {
  return tables == Tables::all || (tables == Tables::that_decide) == (table == "raw" || table == "filter");
}

// One family.
class IptablesPlan {
 public:
  IptablesPlan(Draft& draft, Version version) : draft_(draft), rules_(draft.rules), version_(version) {
    for (const Diversion& each : rules_.diversions)
      if (each.version == version) mine_.push_back(&each);
    tproxy_ = version == Version::v4 ? rules_.tproxy4 : rules_.tproxy6;
    spoof_ = version == Version::v4 ? rules_.spoof4 : rules_.spoof6;
    zone_ = spoof_ && tproxy_;
    find_hooks();
    write_chains();
  }

  // In the order of apply. Sets and chains change nothing yet.
  void sets() {
    std::string text;
    const std::string fresh = fmt::format("gatepost{}-new", number_of(version_));
    for (const auto& [name, networks] : sets_) {
      text += fmt::format(
          "create {0} hash:net family {2} maxelem 1000000\ncreate {1} hash:net family {2} maxelem 1000000\nflush {1}\n",
          name, fresh, version_ == Version::v4 ? "inet" : "inet6");
      for (const std::string& network : networks) text += fmt::format("add {} {}\n", fresh, network);
      text += fmt::format("swap {0} {1}\ndestroy {0}\n", fresh, name);
    }
    if (rules_.bans)  // those who are banned stay so
      text += fmt::format("create {} hash:net family {} timeout 0 comment maxelem 1000000\n", banned_set(version_),
                          version_ == Version::v4 ? "inet" : "inet6");
    if (text.empty()) return;
    draft_.plan.apply.push_back({.why = fmt::format("IPv{}: the lists of networks", number_of(version_)),
                                 .command = {{"ipset", "-exist", "restore"}, text}});
  }
  void chains(Tables tables) {
    const std::string text = restore_text(tables);
    if (text.empty()) return;
    const char* which = tables == Tables::that_decide   ? "chains that decide about first packets"
                        : tables == Tables::that_divert ? "chains that divert what they took"
                                                        : "chains that nothing leads to yet";
    draft_.plan.apply.push_back({.why = fmt::format("IPv{}: {}", number_of(version_), which),
                                 .command = {{program() + "-restore", "-w", "--noflush"}, text}});
  }
  void jumps(Tables tables) {
    for (const Hook& hook : hooks_)
      if (is_among(tables, hook.table))
        draft_.plan.apply.push_back(
            {.why = fmt::format("IPv{}: into them from {} in {}", number_of(version_), hook.chain, hook.table),
             .command = jump(hook, "-I"),
             .condition = Condition{jump(hook, "-C").argv},
             .when = false});
  }

  // In the order of remove.
  void remove() {
    for (const Hook& hook : hooks_)
      step_out({.why = fmt::format("IPv{}: the jump from {} in {}", number_of(version_), hook.chain, hook.table),
                .command = jump(hook, "-D"),
                .condition = Condition{jump(hook, "-C").argv}});
    std::set<std::pair<std::string, std::string>> gone;
    for (const Hook& hook : hooks_)  // they refer to the others
      if (gone.emplace(hook.table, hook.ours).second) chain_out(hook.table, hook.ours);
    for (const auto& [table, chains] : bodies_)
      for (const auto& [name, body] : chains)
        if (std::ranges::none_of(hooks_, [&](const Hook& hook) { return hook.ours == name; })) chain_out(table, name);
    std::vector<std::string> lists;
    for (const auto& [name, networks] : sets_) lists.push_back(name);
    if (rules_.bans) lists.push_back(banned_set(version_));
    for (const std::string& name : lists)
      step_out({.why = fmt::format("The list {}", name),
                .command = {{"ipset", "destroy", name}},
                .condition = Condition{{"ipset", "list", "-terse", name}}});
    base_chains();
  }

 private:
  std::string program() const { return version_ == Version::v4 ? "iptables" : "ip6tables"; }
  void step_out(Step step) { draft_.plan.remove.push_back(std::move(step)); }

  // Emptied, or made, and deleted.
  void chain_out(const std::string& table, const std::string& name) {
    step_out({.why = fmt::format("IPv{}: our chain {} in {}", number_of(version_), name, table),
              .command = {{program() + "-restore", "-w", "--noflush"},
                          fmt::format("*{0}\n:{1} - [0:0]\n-X {1}\nCOMMIT\n", table, name)}});
  }

  Command jump(const Hook& hook, const char* verb) const {
    Command command{{program(), "-w", "-t", hook.table, verb, hook.chain}};
    if (std::string_view(verb) == "-I") command.argv.emplace_back("1");
    command.argv.insert(command.argv.end(), {"-j", hook.ours});
    return command;
  }

  void find_hooks() {
    const auto any = [&](auto wanted) {
      return std::ranges::any_of(mine_, [&](const Diversion* each) { return wanted(*each); });
    };
    if (any([](const Diversion& d) { return d.way == Intercept::redirect && d.scope != Scope::output; }))
      hooks_.push_back(prerouting_nat);
    if (any([](const Diversion& d) { return d.scope == Scope::output; })) hooks_.push_back(output_nat);
    if (spoof_) hooks_.push_back(output_mangle);
    if (tproxy_) hooks_.push_back(prerouting_mangle);
    if (rules_.on_first_packets()) find_hooks_of_first_packets();
    for (const Hook& hook : {prerouting_raw, output_raw})
      if (zone_ && !hooked(hook)) hooks_.push_back(hook);
  }
  bool hooked(const Hook& hook) const {
    return std::ranges::any_of(hooks_,
                               [&](const Hook& each) { return each.table == hook.table && each.chain == hook.chain; });
  }
  bool has(Scope scope) const {
    return std::ranges::any_of(mine_, [scope](const Diversion* each) { return each->scope == scope; });
  }
  // Those that mark come after those that reset what is marked.
  void find_hooks_of_first_packets() {
    for (const auto& [scope, chain] :
         {std::pair{Scope::input, "INPUT"}, std::pair{Scope::forward, "FORWARD"}, std::pair{Scope::output, "OUTPUT"}})
      if (has(scope)) hooks_.push_back({"filter", chain, "GATEPOST_RESET"});
    if (has(Scope::input) || has(Scope::forward)) hooks_.push_back(prerouting_raw);
    if (has(Scope::output)) hooks_.push_back(output_raw);
  }
  static const Hook& hook_of(const Diversion& each) {
    if (each.way == Intercept::tproxy) return prerouting_mangle;
    return each.scope == Scope::output ? output_nat : prerouting_nat;
  }

  void rule(const Hook& hook, const std::string& chain, const std::string& words) {
    bodies_[hook.table][chain] += fmt::format("-A {} {}\n", chain, words);
  }

  void write_chains() {
    for (const Hook& hook : hooks_) bodies_[hook.table][hook.ours];
    if (zone_) zone();
    if (rules_.on_first_packets()) obey_first_packets();
    if (tproxy_) {
      rule(prerouting_mangle, "GATEPOST", "-p tcp -m socket --transparent -g GATEPOST_DIVERT");
      rule(prerouting_mangle, "GATEPOST_DIVERT", "-j MARK --set-xmark " + masked(mark_divert));
      if (rules_.queue != 0)
        rule(prerouting_mangle, "GATEPOST", fmt::format("-m connmark ! --mark {} -j RETURN", masked(mark_take)));
    }
    if (spoof_) {
      rule(output_mangle, "GATEPOST_OUT",
           fmt::format("-m mark --mark {} -j CONNMARK --save-mark --nfmask {:#x} --ctmask {:#x}", masked(mark_own),
                       mark_mask, mark_mask));
      rule(output_mangle, "GATEPOST_OUT", fmt::format("-m mark --mark {} -j RETURN", masked(mark_own)));
      rule(output_mangle, "GATEPOST_OUT",
           fmt::format("-m connmark --mark {} -j MARK --set-xmark {}", masked(mark_own), masked(mark_divert)));
    }
    // Not in filter: INPUT and FORWARD lead to the same chain, and know no owner.
    for (const Hook& hook : hooks_)
      if (hook.chain == "OUTPUT" && (hook.table == "nat" || hook.table == "raw") && has(Scope::output)) {
        rule(hook, hook.ours, fmt::format("-m owner --uid-owner {} -j RETURN", rules_.proxy_uid));
        rule(hook, hook.ours, fmt::format("-m mark --mark {} -j RETURN", masked(mark_own)));
      }
    for (const Diversion* each : mine_) {
      dispatch(*each, hook_of(*each), "");
      one(*each);
      if (!rules_.on_first_packets()) continue;
      const Hook& raw = each->scope == Scope::output ? output_raw : prerouting_raw;
      dispatch(*each, raw, fmt::format(" -m tcp --syn -m mark --mark 0/{:#x}", mark_mask));
      decide(*each, raw);
    }
  }

  // As with nft (plan_nft.cc): spoofed sources have a zone of connection tracking to themselves, but for servers here.
  void zone() {
    const std::string set = fmt::format("-j CT --zone {}", zone_own);
    rule(output_raw, output_raw.ours,
         fmt::format("-p tcp -m mark --mark {} -m addrtype ! --src-type LOCAL ! --dst-type LOCAL {}", masked(mark_own),
                     set));
    for (const std::string& ports : port_lists(rules_.spoof_ports))
      rule(prerouting_raw, prerouting_raw.ours,
           fmt::format("-p tcp -m multiport --sports {} -m addrtype ! --dst-type LOCAL -j GATEPOST_ZONE", ports));
    for (const std::string& ports : port_lists(rules_.tproxy_ports()))
      rule(prerouting_raw, "GATEPOST_ZONE", fmt::format("-p tcp -m multiport --dports {} -j RETURN", ports));
    rule(prerouting_raw, "GATEPOST_ZONE", "-p tcp -m socket --transparent " + set);
  }

  // What was decided on the first packet holds for the connection, and is done before anything is diverted.
  void obey_first_packets() {
    if (rules_.queue != 0 && rules_.open) count_undecided();
    for (const Hook& hook : hooks_)
      if (hook.table == "nat")
        rule(hook, hook.ours,
             rules_.queue != 0 ? fmt::format("-m mark ! --mark {} -j RETURN", masked(mark_take))
                               : fmt::format("-m mark --mark {} -j RETURN", masked(mark_reset)));
    bodies_["filter"]["GATEPOST_RESET"] = fmt::format(
        "-A GATEPOST_RESET -p tcp -m mark --mark {} -j REJECT --reject-with tcp-reset\n", masked(mark_reset));
    if (!tproxy_) return;
    if (rules_.queue != 0)
      for (const std::uint32_t mark : {mark_take, mark_pass})
        rule(prerouting_mangle, "GATEPOST",
             fmt::format(
                 "-m mark --mark {} -m connmark ! --mark {} -j CONNMARK --save-mark --nfmask {:#x} --ctmask {:#x}",
                 masked(mark), masked(mark_own), mark_mask, mark_mask));
    rule(prerouting_mangle, "GATEPOST", fmt::format("-m mark --mark {} -j RETURN", masked(mark_reset)));
  }
  // Nobody has decided about them: the gate does not run, or its queue is full. They are let by, and so counted.
  void count_undecided() {
    for (const Diversion* each : mine_) {
      std::string which = fmt::format(" -m tcp --syn -m mark --mark 0/{:#x}", mark_mask);
      if (each->scope == Scope::output)  // our own were not asked about
        which += fmt::format(" -m owner ! --uid-owner {}", rules_.proxy_uid);
      dispatch(*each, hook_of(*each), which, "-m comment --comment " + undecided_label(*each));
    }
  }
  // The decision itself: the list of the banned, then the gate.
  void decide(const Diversion& each, const Hook& raw) {
    const std::string chain = chain_of(each);
    if (rules_.bans) {
      std::string spared;  // no RETURN, which would also go round the gate
      if (!each.skip_sources.empty()) spared += " " + listed("skip-src", each.skip_sources, "src", "! ");
      if (!each.skip_destinations.empty()) spared += " " + listed("skip-dst", each.skip_destinations, "dst", "! ");
      const std::vector<std::string> never = networks_of(rules_.never_banned, version_);
      const std::string name = never_banned_set(version_);
      if (!never.empty()) {
        sets_[name] = never;
        spared += fmt::format(" -m set ! --match-set {} src", name);
      }
      rule(raw, chain,
           fmt::format("-m set --match-set {} src{} -j MARK --set-xmark {}", banned_set(version_), spared,
                       masked(mark_reset)));
      if (rules_.queue != 0) rule(raw, chain, fmt::format("-m mark --mark {} -j RETURN", masked(mark_reset)));
    }
    if (rules_.queue != 0)
      rule(raw, chain,
           fmt::format("-j NFQUEUE --queue-num {}{}", rules_.queue_of(each), rules_.open ? " --queue-bypass" : ""));
  }

  static std::string chain_of(const Diversion& each) {
    std::string scope(to_string(each.scope));
    std::ranges::transform(scope, scope.begin(), [](unsigned char c) { return std::toupper(c); });
    return fmt::format("GATEPOST_{}_{}", each.number, scope);
  }
  // A match against a list of networks. The name says what is in it: rules that are in force keep their lists until
  // others take their place.
  std::string listed(const char* what, const std::vector<std::string>& networks, const char* end, const char* no = "") {
    const std::string name = fmt::format("gatepost{}-{}-{:011x}", number_of(version_), what, digest_of(networks));
    sets_[name] = networks;
    return fmt::format("-m set {}--match-set {} {}", no, name, end);
  }

  // Which connections: -g, because a RETURN from there is to mean that the connection is left alone.
  void dispatch(const Diversion& each, const Hook& hook, const std::string& first, std::string what = {}) {
    if (what.empty()) what = "-g " + chain_of(each);
    const char* direction = each.scope == Scope::output ? "-o" : "-i";
    std::vector<std::string> ways;
    for (const std::string& name : each.interfaces) ways.push_back(fmt::format("{} {}", direction, name));
    if (ways.empty()) ways.push_back(fmt::format("! {} lo", direction));
    std::string more = first;
    if (each.to_local != each.to_others)
      more += fmt::format(" -m addrtype {}--dst-type LOCAL", each.to_local ? "" : "! ");
    if (!each.protected_networks.empty()) more += " " + listed("protected", each.protected_networks, "dst");
    for (const std::string& way : ways)
      for (const std::string& ports : port_lists(each.ports))
        rule(hook, hook.ours,
             fmt::format("{} -p tcp -m multiport --dports {}{} {}", way, ports, more, what));
  }

  void one(const Diversion& each) {
    const Hook& hook = hook_of(each);
    const std::string chain = chain_of(each),
                      // Connections that were there before the rules are new to connection tracking, too.
        counted = "-p tcp --syn -m comment --comment " + each.label();
    if (!each.skip_sources.empty()) rule(hook, chain, listed("skip-src", each.skip_sources, "src") + " -j RETURN");
    if (!each.skip_destinations.empty())
      rule(hook, chain, listed("skip-dst", each.skip_destinations, "dst") + " -j RETURN");
    if (each.way == Intercept::tproxy) {
      rule(hook, chain, counted);
      const std::string on_ip = each.address.empty() ? "" : "--on-ip " + each.address + " ";
      rule(hook, chain,
           fmt::format("-p tcp -j TPROXY --on-port {} {}--tproxy-mark {}", each.port, on_ip, masked(mark_divert)));
    } else if (each.by_interface()) {
      rule(hook, chain, fmt::format("{} -j REDIRECT --to-ports {}", counted, each.port));
    } else {  // REDIRECT would go to the first address of the interface
      rule(hook, chain, fmt::format("{} -j DNAT --to-destination {}", counted, each.target()));
    }
  }

  // A chain that is named is made, or emptied; what is in a table changes all at once, and one table after the other.
  std::string restore_text(Tables tables) const {
    std::string text;
    for (const auto& [table, chains] : bodies_) {
      if (!is_among(tables, table)) continue;
      text += fmt::format("*{}\n", table);
      for (const auto& [name, body] : chains) text += fmt::format(":{} - [0:0]\n", name);
      for (const auto& [name, body] : chains) text += body;
      text += "COMMIT\n";
    }
    return text;
  }

  // iptables makes tables and base chains when they are first used; those which were not there go again, if nobody else
  // has come to use them. Without nft nobody can tell.
  void base_chains() {
    if (!draft_.facts.base_chains) return;
    const std::set<std::string>& before = *draft_.facts.base_chains;
    const std::string family = version_ == Version::v4 ? "ip" : "ip6";
    std::set<std::string> tables;
    for (const Hook& hook : hooks_) {
      const std::string table = fmt::format("{} {}", family, hook.table);
      if (!before.contains(table)) tables.insert(hook.table);
      if (before.contains(fmt::format("{} {}", table, hook.chain))) continue;
      step_out({.why = fmt::format("IPv{}: {} in {}, which was not there before, unless it is in use",
                                   number_of(version_), hook.chain, hook.table),
                .command = {{program(), "-w", "-t", hook.table, "-X", hook.chain}},
                .condition = Condition{{"nft", "list", "chain", family, hook.table, hook.chain}},
                .may_fail = true});
    }
    for (const std::string& table : tables)
      step_out({.why = fmt::format("IPv{}: the table {}, which was not there before, unless it is in use",
                                   number_of(version_), table),
                .command = {{"nft", "delete", "table", family, table}},
                .condition = Condition{{"nft", "list", "table", family, table}, "chain"},
                .when = false,
                .may_fail = true});
  }

  Draft& draft_;
  const Rules& rules_;
  Version version_;
  std::vector<const Diversion*> mine_;
  bool tproxy_ = false, spoof_ = false, zone_ = false;
  std::vector<Hook> hooks_;
  std::map<std::string, std::map<std::string, std::string>> bodies_;  // table -> chain -> its rules
  std::map<std::string, std::vector<std::string>> sets_;
};

}  // namespace

void plan_iptables(Draft& draft) {
  std::vector<IptablesPlan> families;
  for (const Version version : {Version::v4, Version::v6})
    if (draft.rules.any(version)) families.emplace_back(draft, version);
  for (IptablesPlan& each : families) each.sets();
  // Whatever has no mark goes by us where there is a gate: it marks before anybody looks. Without one, and one may be
  // in force until now, nobody looks any more before marks stop: "nat" and "mangle" come before "raw" in Tables::all.
  const bool gate = draft.rules.queue != 0;
  for (const Tables tables : gate ? std::vector{Tables::that_decide, Tables::that_divert} : std::vector{Tables::all}) {
    for (IptablesPlan& each : families) each.chains(tables);
    for (IptablesPlan& each : families) each.jumps(tables);
  }
  std::vector<Step> later;
  std::swap(later, draft.plan.remove);
  for (IptablesPlan& each : families) each.remove();
  draft.plan.remove.insert(draft.plan.remove.end(), later.begin(), later.end());
}

}  // namespace firewall
