// iptables and ip6tables: what our chains hold, of one family.
#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "firewall/marks.h"
#include "firewall/plan_iptables.h"

namespace firewall::iptables {
namespace {

using config::Intercept;
using config::Scope;

constexpr std::size_t most_ports = 15;  // of one multiport match

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

const Hook& hook_of(const Diversion& each) {
  if (each.way == Intercept::tproxy) return prerouting_mangle;
  return each.scope == Scope::output ? output_nat : prerouting_nat;
}

std::string chain_of(const Diversion& each) {
  std::string scope(to_string(each.scope));
  std::ranges::transform(scope, scope.begin(), [](unsigned char c) { return std::toupper(c); });
  return fmt::format("GATEPOST_{}_{}", each.number, scope);
}

// As with nft (plan_nft.cc): let by, and no answer has come yet.
std::string going_by() { return fmt::format("-m conntrack --ctstate NEW -m connmark --mark {}", masked(mark_pass)); }

std::string drop_missed(const Diversion& each) { return fmt::format("-m comment --comment {} -j DROP", missed_label(each)); }

// Where it is decided what is dropped.
std::string drops_of(const Hook& hook) { return hook.ours + "_DROP"; }

bool is_of(const Diversion& each, const Hook& hook) {
  return (each.scope == Scope::output) == (hook.chain == "OUTPUT");
}

}  // namespace

Chains::Chains(const Rules& rules, Version version, bool aside) : rules_(rules), version_(version), aside_(aside) {
  for (const Diversion& each : rules_.diversions)
    if (each.version == version) mine_.push_back(&each);
  tproxy_ = version == Version::v4 ? rules_.tproxy4 : rules_.tproxy6;
  spoof_ = version == Version::v4 ? rules_.spoof4 : rules_.spoof6;
  zone_ = spoof_ && tproxy_;
  find_hooks();
  write();
}

std::vector<std::pair<std::string, std::string>> Chains::tables_and_chains() const {
  std::vector<std::pair<std::string, std::string>> all;
  const auto add = [&](const std::string& table, const std::string& chain) {
    if (std::ranges::find(all, std::pair{table, chain}) == all.end()) all.emplace_back(table, chain);
  };
  for (const Hook& hook : hooks_) add(hook.table, hook.ours);
  for (const Hook& hook : {prerouting_raw, output_raw, prerouting_mangle, output_mangle})
    if (const auto table = bodies_.find(hook.table); table != bodies_.end() && table->second.contains(drops_of(hook)))
      add(hook.table, drops_of(hook));
  for (const auto& [table, chains] : bodies_)
    for (const auto& [name, body] : chains) add(table, name);
  return all;
}

void Chains::find_hooks() {
  const auto any = [&](auto wanted) {
    return std::ranges::any_of(mine_, [&](const Diversion* each) { return wanted(*each); });
  };
  const bool redirected =
      any([](const Diversion& d) { return d.way == Intercept::redirect && d.scope != Scope::output; });
  if (redirected) hooks_.push_back(prerouting_nat);
  if (has(Scope::output)) hooks_.push_back(output_nat);
  if (spoof_ || has(Scope::output)) hooks_.push_back(output_mangle);
  if (tproxy_ || redirected) hooks_.push_back(prerouting_mangle);
  if (rules_.on_first_packets()) find_hooks_of_first_packets();
  for (const Hook& hook : {prerouting_raw, output_raw})
    if (!hooked(hook) && (zone_ || any([&](const Diversion& d) { return is_of(d, hook) && rules_.drops(d); })))
      hooks_.push_back(hook);
}
bool Chains::hooked(const Hook& hook) const {
  return std::ranges::any_of(hooks_,
                             [&](const Hook& each) { return each.table == hook.table && each.chain == hook.chain; });
}
bool Chains::has(Scope scope) const {
  return std::ranges::any_of(mine_, [scope](const Diversion* each) { return each->scope == scope; });
}
// Those that mark come after those that reset what is marked.
void Chains::find_hooks_of_first_packets() {
  for (const auto& [scope, chain] :
       {std::pair{Scope::input, "INPUT"}, std::pair{Scope::forward, "FORWARD"}, std::pair{Scope::output, "OUTPUT"}})
    if (has(scope)) hooks_.push_back({"filter", chain, "GATEPOST_RESET"});
  if (has(Scope::input) || has(Scope::forward)) hooks_.push_back(prerouting_raw);
  if (has(Scope::output)) hooks_.push_back(output_raw);
}

void Chains::rule(const Hook& hook, const std::string& chain, const std::string& words) {
  bodies_[hook.table][chain] += fmt::format("-A {} {}\n", chain, words);
}

void Chains::write() {
  for (const Hook& hook : hooks_) bodies_[hook.table][hook.ours];
  for (const Hook& hook : {prerouting_mangle, output_mangle}) missed(hook);
  if (zone_) zone();
  if (rules_.on_first_packets()) obey_first_packets();
  if (tproxy_) deliver_diverted();
  if (spoof_) mark_spoofed();
  // Not in filter: INPUT and FORWARD lead to the same chain, and know no owner.
  for (const Hook& hook : hooks_)
    if (hook.chain == "OUTPUT" && (hook.table == "nat" || hook.table == "raw") && has(Scope::output))
      leave_our_own(hook, hook.ours);
  for (const Hook& hook : {prerouting_raw, output_raw}) drops(hook);
  for (const Diversion* each : mine_) {
    dispatch(*each, hook_of(*each), "");
    if (rules_.overtaken(*each)) dispatch(*each, prerouting_mangle, "", "-j RETURN");
    one(*each);
    if (!rules_.on_first_packets()) continue;
    const Hook& raw = each->scope == Scope::output ? output_raw : prerouting_raw;
    dispatch(*each, raw, fmt::format(" -m tcp --syn -m mark --mark 0/{:#x}", mark_mask));
    decide(*each, raw);
  }
}

// The packets of connections that we have.
void Chains::deliver_diverted() {
  // As with nft (plan_nft.cc): not for first packets; and connections that were there before the rules go on to their
  // servers.
  const std::string later = "-p tcp -m tcp ! --tcp-flags SYN,ACK SYN ";
  rule(prerouting_mangle, "GATEPOST", later + "-m socket --transparent -g GATEPOST_DIVERT");
  rule(prerouting_mangle, "GATEPOST_DIVERT", "-j MARK --set-xmark " + masked(mark_divert));
  rule(prerouting_mangle, "GATEPOST",
       fmt::format("{}-m connmark ! --mark {} -j RETURN", rules_.queue != 0 ? "" : later, masked(mark_take)));
  rule(prerouting_mangle, "GATEPOST", later + "-m conntrack --ctstate INVALID -j RETURN");
}
// A server on this host answers a spoofed source: the answer would leave by the way to the client.
void Chains::mark_spoofed() {
  rule(output_mangle, "GATEPOST_OUT",
       fmt::format("-m mark --mark {} -j CONNMARK --save-mark --nfmask {:#x} --ctmask {:#x}", masked(mark_own),
                   mark_mask, mark_mask));
  rule(output_mangle, "GATEPOST_OUT", fmt::format("-m mark --mark {} -j RETURN", masked(mark_own)));
  rule(output_mangle, "GATEPOST_OUT",
       fmt::format("-m connmark --mark {} -j MARK --set-xmark {}", masked(mark_own), masked(mark_divert)));
}

// As with nft (plan_nft.cc): spoofed sources have a zone of connection tracking to themselves, but for servers here.
void Chains::zone() {
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
void Chains::obey_first_packets() {
  if (rules_.queue != 0 && rules_.open) {
    count_undecided();
    for (const Hook& hook : hooks_)
      if (hook.table == "nat")
        rule(hook, hook.ours, fmt::format("-m mark --mark {0} -j CONNMARK --set-xmark {0}", masked(mark_pass)));
  }
  for (const Hook& hook : hooks_)
    if (hook.table == "nat")
      rule(hook, hook.ours,
           rules_.queue != 0 ? fmt::format("-m mark ! --mark {} -j RETURN", masked(mark_take))
                             : fmt::format("-m mark --mark {} -j RETURN", masked(mark_reset)));
  bodies_["filter"]["GATEPOST_RESET"] =
      fmt::format("-A GATEPOST_RESET -p tcp -m mark --mark {} -j REJECT --reject-with tcp-reset\n", masked(mark_reset));
  if (!tproxy_) return;
  if (rules_.queue != 0 && rules_.open)
    rule(prerouting_mangle, "GATEPOST", fmt::format("-m mark --mark {} {} -j RETURN", masked(mark_take), going_by()));
  if (rules_.queue != 0)
    for (const std::uint32_t mark : {mark_take, mark_pass})
      rule(
          prerouting_mangle, "GATEPOST",
          fmt::format("-m mark --mark {} -m connmark ! --mark {} -j CONNMARK --save-mark --nfmask {:#x} --ctmask {:#x}",
                      masked(mark), masked(mark_own), mark_mask, mark_mask));
  rule(prerouting_mangle, "GATEPOST", fmt::format("-m mark --mark {} -j RETURN", masked(mark_reset)));
}
// Nobody has decided about them: the gate does not run, or its queue is full. They are let by, and so counted. With
// REDIRECT there is no way back: nat is asked about a connection once, so that its first packet, sent again and taken by
// now, has to go by, too.
void Chains::count_undecided() {
  for (const Diversion* each : mine_) {
    std::string which = fmt::format(" -m tcp --syn -m mark --mark 0/{:#x}", mark_mask);
    if (each->scope == Scope::output)  // our own were not asked about
      which += fmt::format(" -m owner ! --uid-owner {}", rules_.proxy_uid);
    const std::string counted = "-m comment --comment " + undecided_label(*each);
    const bool once = each->way == Intercept::redirect;
    dispatch(*each, hook_of(*each), which,
             once ? fmt::format("{} -j CONNMARK --set-xmark {}", counted, masked(mark_pass)) : counted);
  }
}
// The decision itself: the skip lists, the list of the banned, then the gate. What is skipped is marked: with a gate
// nothing else is let by.
void Chains::decide(const Diversion& each, const Hook& raw) {
  const std::string chain = chain_of(each);
  const std::string passed = "-j MARK --set-xmark " + masked(mark_pass);
  if (!each.skip_sources.empty()) rule(raw, chain, listed("skip-src", each.skip_sources, "src") + " " + passed);
  if (!each.skip_destinations.empty()) rule(raw, chain, listed("skip-dst", each.skip_destinations, "dst") + " " + passed);
  if (!each.skip_sources.empty() || !each.skip_destinations.empty())
    rule(raw, chain, fmt::format("-m mark --mark {} -j RETURN", masked(mark_pass)));
  if (rules_.bans) {
    std::string spared;
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

// A match against a list of networks. The name says what is in it: rules that are in force keep their lists until
// others take their place.
std::string Chains::listed(const char* what, const std::vector<std::string>& networks, const char* end,
                           const char* no) {
  const std::string name = fmt::format("gatepost{}-{}-{:011x}", number_of(version_), what, digest_of(networks));
  sets_[name] = networks;
  return fmt::format("-m set {}--match-set {} {}", no, name, end);
}

// Which connections: -g, because a RETURN from there is to mean that the connection is left alone.
void Chains::dispatch(const Diversion& each, const Hook& hook, const std::string& first, std::string what) {
  if (aside_) return;
  if (what.empty()) what = "-g " + chain_of(each);
  if (!each.skip_interfaces.empty()) match(each, hook, hook.ours, each.skip_interfaces, first, "-j RETURN");
  match(each, hook, hook.ours, each.diverting_interfaces(), first, what);
}
void Chains::match(const Diversion& each, const Hook& hook, const std::string& chain,
                   const std::vector<std::string>& interfaces, const std::string& first, const std::string& what) {
  const char* direction = each.scope == Scope::output ? "-o" : "-i";
  std::vector<std::string> ways;
  for (const std::string& name : interfaces) ways.push_back(fmt::format("{} {}", direction, name));
  if (ways.empty()) ways.push_back(fmt::format("! {} lo", direction));
  std::string more = first;
  if (each.to_local != each.to_others)
    more += fmt::format(" -m addrtype {}--dst-type LOCAL", each.to_local ? "" : "! ");
  if (!each.protected_networks.empty()) more += " " + listed("protected", each.protected_networks, "dst");
  for (const std::string& way : ways)
    for (const std::string& ports : port_lists(each.ports))
      rule(hook, chain, fmt::format("{} -p tcp -m multiport --dports {}{} {}", way, ports, more, what));
}

// Before anybody else decides about them, and whatever flags some servers take for a first packet. In a chain of their
// own, from which what is not dropped comes back.
void Chains::drops(const Hook& hook) {
  if (aside_) return;
  std::vector<const Diversion*> all;
  std::ranges::copy_if(mine_, std::back_inserter(all), [&](const Diversion* each) { return is_of(*each, hook); });
  all = rules_.up_to_last_drop(all);
  if (all.empty()) return;
  const std::string drop = drops_of(hook);
  const bool odd_alone = rules_.odd_alone(all);
  const std::string odd = " -m tcp ! --tcp-flags FIN,RST NONE";
  rule(hook, hook.ours, fmt::format("-p tcp -m tcp --tcp-flags SYN,ACK SYN{} -j {}", odd_alone ? odd : "", drop));
  for (const Diversion* each : all) {
    if (!each->skip_interfaces.empty()) match(*each, hook, drop, each->skip_interfaces, "", "-j RETURN");
    if (!each->drop_interfaces.empty()) {
      const std::string chain = chain_of(*each) + "_DROP";
      match(*each, hook, drop, each->drop_interfaces, "", "-g " + chain);
      leave_skipped(*each, hook, chain);
      rule(hook, chain, fmt::format("-m comment --comment {} -j DROP", dropped_label(*each)));
    }
    if (rules_.drops(*each)) match(*each, hook, drop, each->diverting_interfaces(), odd, drop_missed(*each));
    if (each != all.back() && !(odd_alone && rules_.drops(*each)))
      match(*each, hook, drop, each->diverting_interfaces(), "", "-j RETURN");
  }
}

// As with nft (plan_nft.cc): behind connection tracking, before nat, and before anything is done by mark.
void Chains::missed(const Hook& hook) {
  if (aside_) return;
  std::vector<const Diversion*> all;
  std::ranges::copy_if(mine_, std::back_inserter(all), [&](const Diversion* each) { return is_of(*each, hook); });
  all = Rules::up_to_last_redirect(all);
  if (all.empty()) return;
  const std::string drop = drops_of(hook);
  for (const char* which : {"--ctstate INVALID", "! --ctstate INVALID,UNTRACKED,DNAT --ctstatus CONFIRMED"})
    rule(hook, hook.ours, fmt::format("-p tcp --syn -m conntrack {} -j {}", which, drop));
  if (rules_.queue != 0) {
    rule(hook, drop, fmt::format("-m mark ! --mark {} -j RETURN", masked(mark_take)));
    if (rules_.open) rule(hook, drop, going_by() + " -j RETURN");
  }
  if (hook.chain == "OUTPUT") leave_our_own(hook, drop);
  for (const Diversion* each : all) {
    const std::string chain = chain_of(*each);
    const bool redirected = each->way == Intercept::redirect;
    if (!each->skip_interfaces.empty()) match(*each, hook, drop, each->skip_interfaces, "", "-j RETURN");
    match(*each, hook, drop, each->diverting_interfaces(), "", redirected ? "-g " + chain : "-j RETURN");
    if (!redirected) continue;
    leave_skipped(*each, hook, chain);
    rule(hook, chain, drop_missed(*each));
  }
}

void Chains::leave_our_own(const Hook& hook, const std::string& chain) {
  rule(hook, chain, fmt::format("-m owner --uid-owner {} -j RETURN", rules_.proxy_uid));
  rule(hook, chain, fmt::format("-m mark --mark {} -j RETURN", masked(mark_own)));
}
void Chains::leave_skipped(const Diversion& each, const Hook& hook, const std::string& chain) {
  if (!each.skip_sources.empty()) rule(hook, chain, listed("skip-src", each.skip_sources, "src") + " -j RETURN");
  if (!each.skip_destinations.empty())
    rule(hook, chain, listed("skip-dst", each.skip_destinations, "dst") + " -j RETURN");
}

void Chains::one(const Diversion& each) {
  const Hook& hook = hook_of(each);
  const std::string chain = chain_of(each),
                    // Connections that were there before the rules are new to connection tracking, too.
      counted = "-p tcp --syn -m comment --comment " + each.label();
  leave_skipped(each, hook, chain);
  if (each.way == Intercept::tproxy) {
    rule(hook, chain,
         counted + (rules_.queue != 0 ? "" : " -j CONNMARK --set-xmark " + masked(mark_take)));  // a gate's is saved
    const std::string on_ip = each.address.empty() ? "" : "--on-ip " + each.address + " ";
    rule(hook, chain,
         fmt::format("-p tcp -j TPROXY --on-port {} {}--tproxy-mark {}", each.port, on_ip, masked(mark_divert)));
  } else if (each.by_interface()) {
    rule(hook, chain, fmt::format("{} -j REDIRECT --to-ports {}", counted, each.port));
  } else {  // REDIRECT would go to the first address of the interface
    rule(hook, chain, fmt::format("{} -j DNAT --to-destination {}", counted, each.target()));
  }
}

}  // namespace firewall::iptables
