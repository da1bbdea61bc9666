// iptables and ip6tables: chains of ours beside those of others, network lists as ipsets, and last of all one jump into
// them from each base chain.
#include "firewall/plan_iptables.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "firewall/plan.h"

namespace firewall {
namespace {

using iptables::Hook;

// Those where first packets are marked, and reset; those where marks are looked at and connections diverted.
enum class Tables { all, that_decide, that_divert };
bool is_among(Tables tables, const std::string& table) {
  return tables == Tables::all || (tables == Tables::that_decide) == (table == "raw" || table == "filter");
}

// One family.
class IptablesPlan {
 public:
  IptablesPlan(Draft& draft, Version version)
      : draft_(draft), rules_(draft.rules), version_(version), chains_(draft.rules, version, false) {}

  // In the order of apply. Sets and chains change nothing yet.
  void sets() {
    std::string text;
    const std::string fresh = fmt::format("gatepost{}-new", number_of(version_));
    for (const auto& [name, networks] : chains_.sets()) {
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
    const std::string text = restore_text(chains_, tables);
    if (text.empty()) return;
    const char* which = tables == Tables::that_decide   ? "chains that decide about first packets"
                        : tables == Tables::that_divert ? "chains that divert what they took"
                                                        : "chains that nothing leads to yet";
    draft_.plan.apply.push_back({.why = fmt::format("IPv{}: {}", number_of(version_), which),
                                 .command = {{program() + "-restore", "-w", "--noflush"}, text}});
  }
  void jumps(Tables tables) {
    for (const Hook& hook : chains_.hooks())
      if (is_among(tables, hook.table))
        draft_.plan.apply.push_back(
            {.why = fmt::format("IPv{}: into them from {} in {}", number_of(version_), hook.chain, hook.table),
             .command = jump(hook, "-I"),
             .condition = Condition{jump(hook, "-C").argv},
             .when = false});
  }

  // What is dropped unless it is redirected ("mangle") is not dropped any more before it is not ("nat").
  void step_aside() {
    draft_.plan.step_aside.push_back(
        {.why = fmt::format("IPv{}: in their place, what serves connections that are diverted already", number_of(version_)),
         .command = {{program() + "-restore", "-w", "--noflush"},
                     restore_text({rules_, version_, true}, Tables::all)}});
  }

  // In the order of remove.
  void remove() {
    for (const Hook& hook : chains_.hooks())
      step_out({.why = fmt::format("IPv{}: the jump from {} in {}", number_of(version_), hook.chain, hook.table),
                .command = jump(hook, "-D"),
                .condition = Condition{jump(hook, "-C").argv}});
    for (const auto& [table, name] : chains_.tables_and_chains()) chain_out(table, name);
    std::vector<std::string> lists;
    for (const auto& [name, networks] : chains_.sets()) lists.push_back(name);
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
  // A chain that is named is made, or emptied; what is in a table changes all at once, and one table after the other.
  static std::string restore_text(const iptables::Chains& all, Tables tables) {
    std::string text;
    for (const auto& [table, chains] : all.bodies()) {
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
    for (const Hook& hook : chains_.hooks()) {
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
  iptables::Chains chains_;
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
  for (IptablesPlan& each : families) each.step_aside();
  std::vector<Step> later;
  std::swap(later, draft.plan.remove);
  for (IptablesPlan& each : families) each.remove();
  draft.plan.remove.insert(draft.plan.remove.end(), later.begin(), later.end());
}

}  // namespace firewall