// What the files plan_iptables*.cc share. For them alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "firewall/rules.h"

namespace firewall::iptables {

struct Hook {
  std::string table, chain;  // of iptables
  std::string ours;          // where the jump goes
};

// One family: what our chains hold, where they are reached from, and the lists that they look at.
class Chains {
 public:
  // `aside`: without what looks at first packets, as with nft (plan_nft.cc).
  Chains(const Rules& rules, Version version, bool aside);

  const std::vector<Hook>& hooks() const { return hooks_; }
  const std::map<std::string, std::map<std::string, std::string>>& bodies() const { return bodies_; }
  const std::map<std::string, std::vector<std::string>>& sets() const { return sets_; }
  // Those that refer to others come first.
  std::vector<std::pair<std::string, std::string>> tables_and_chains() const;

 private:
  void find_hooks();
  bool hooked(const Hook& hook) const;
  bool has(config::Scope scope) const;
  void find_hooks_of_first_packets();
  void rule(const Hook& hook, const std::string& chain, const std::string& words);
  void write();
  void deliver_diverted();
  void mark_spoofed();
  void zone();
  void obey_first_packets();
  void count_undecided();
  void decide(const Diversion& each, const Hook& raw);
  std::string listed(const char* what, const std::vector<std::string>& networks, const char* end, const char* no = "");
  void drops(const Hook& hook);
  void missed(const Hook& hook);
  void leave_our_own(const Hook& hook, const std::string& chain);
  void leave_skipped(const Diversion& each, const Hook& hook, const std::string& chain);
  void match(const Diversion& each, const Hook& hook, const std::string& chain,
             const std::vector<std::string>& interfaces, const std::string& first, const std::string& what);
  void dispatch(const Diversion& each, const Hook& hook, const std::string& first, std::string what = {});
  void one(const Diversion& each);

  const Rules& rules_;
  Version version_;
  bool aside_;
  std::vector<const Diversion*> mine_;
  bool tproxy_ = false, spoof_ = false, zone_ = false;
  std::vector<Hook> hooks_;
  std::map<std::string, std::map<std::string, std::string>> bodies_;  // table -> chain -> its rules
  std::map<std::string, std::vector<std::string>> sets_;
};

}  // namespace firewall::iptables
