// verify.h's prove_everywhere(): by which interfaces connections are tried, what those that fail mean, and which rules
// of others are the reason.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <iterator>
#include <map>

#include "firewall/command.h"
#include "firewall/shadows.h"
#include "firewall/test_network.h"
#include "firewall/verify.h"

namespace firewall {
namespace {

using config::Direction;
using config::Scope;
using Names = std::vector<std::string>;

Fault fault_of(const Shadow& each, const Diversion& diversion, const std::string& interface) {
  const std::string by = each.bound ? " by " + interface : "";
  if (each.after)
    return {fmt::format("{}: {} may drop what was diverted to port {}{}", each.where, each.what, diversion.port,
                        by.empty() ? "" : " and came" + by),
            fmt::format("let it accept TCP port {}", diversion.port)};
  return {fmt::format("{}: {} may take connections{} before our rules do", each.where, each.what, by),
          "remove it, or let it leave the intercepted ports alone"};
}

// In lines like "3: near@if2: <BROADCAST,UP,LOWER_UP> mtu 1500 ... master br0 state UP ...".
std::string line_of(const std::string& name, const std::string& links) {
  std::size_t at = links.find(": " + name + ": ");
  if (at == std::string::npos) at = links.find(": " + name + "@");
  return at == std::string::npos ? "" : links.substr(at, links.find('\n', at) - at);
}

class Arrivals {
 public:
  explicit Arrivals(const Subject& subject) : subject_(subject), each_(subject.diversion) {}

  Proven run() {
    const std::string own(verify_interface);
    const Proof by_cable = prove(subject_, own);
    const bool failed = by_cable.result == Result::failed;
    // From here they come by no interface; and what fails by any will fail by each.
    if (each_.scope == Scope::output || by_cable.result == Result::inspected || (failed && !listed())) {
      if (failed) proven_.faults = shadows("", false);
      proven_.proofs.push_back(by_cable);
      return std::move(proven_);
    }
    subject_.proven |= !failed;
    try_all();
    // Rules of others may be about the listed ones alone.
    const bool all_good = failed_.empty() && untried_.empty() && limit_.empty() && !good_.empty();
    if (failed && !all_good) {
      add(Result::failed, {own}, by_cable.sentence);
      proven_.faults = shadows("", false);
    }
    if (!failed) {
      good_.insert(good_.begin(), own);
      sentence_ = by_cable.sentence;
    }
    if (!good_.empty()) add(Result::proven, good_, sentence_);
    const bool served = clients_are_served();
    for (const Tried& one : failed_) explain(one, failed, served);
    if (!limit_.empty()) add(Result::inspected, over_limit_, limit_);
    for (const auto& [reason, names] : untried_) tell_untried(reason, names);
    return std::move(proven_);
  }

 private:
  struct Tried {
    std::string name, sentence;
  };
  bool listed() const { return !each_.interfaces.empty(); }
  void add(Result result, const Names& by, const std::string& sentence) {
    proven_.proofs.push_back({each_.listener, each_.scope, each_.version, result,
                              fmt::format("by {}: {}", fmt::join(by, ", "), sentence)});
  }

  // Where nothing is listed: those that clients of this family can use.
  Names candidates() const {
    Names found;
    if (listed()) {
      std::ranges::copy_if(each_.interfaces, std::back_inserter(found),
                           [](const std::string& name) { return name != verify_interface; });
      return found;
    }
    const auto named = [](const Names& names, const std::string& name) { return std::ranges::count(names, name) != 0; };
    for (const Interface& one : subject_.facts.interfaces) {
      const bool usable = std::ranges::any_of(one.addresses, [this](const std::string& address) {
        return (address.find(':') != std::string::npos) == (each_.version == Version::v6);
      });
      if (usable && !one.loopback && one.name != verify_interface && !named(each_.skip_interfaces, one.name) &&
          !named(each_.drop_interfaces, one.name) && line_of(one.name, links_).find(",UP") != std::string::npos)
        found.push_back(one.name);
    }
    return found;
  }

  // Where a connection from our own network would fail, and one of a client would not.
  std::string obstacle(const std::string& name) const {
    const std::string line = line_of(name, links_);
    if (line.empty()) return "there is no such interface";
    if (line.find(",UP") == std::string::npos) return "it is not up";
    if (line.find(" master ") != std::string::npos) return "it belongs to another interface (a bridge, bond or VRF)";
    const std::string strictest = std::max(subject_.facts.sysctl("net.ipv4.conf.all.rp_filter"),
                                           subject_.facts.sysctl(sysctl_of(name, "rp_filter")));
    if (each_.version == Version::v4 && strictest == "1")
      return "rp_filter is strict there, and would drop what comes from verify's network";
    return {};
  }

  void try_all() {
    links_ = output_of({"ip", "-o", "link", "show"});
    for (const std::string& name : candidates()) {
      std::string reason = obstacle(name);
      if (reason.empty()) reason = subject_.network.arrive_by(name, each_.version);
      if (!reason.empty()) {
        untried_[reason].push_back(name);
        continue;
      }
      if (!limit_.empty()) {
        over_limit_.push_back(name);
        continue;
      }
      const Proof one = prove(subject_, name);
      if (one.over_limit && one.result == Result::inspected) {
        limit_ = one.sentence;
        over_limit_.push_back(name);
        continue;
      }
      if (one.result == Result::failed) {
        failed_.push_back({name, one.sentence});
        continue;
      }
      subject_.proven |= one.result == Result::proven;
      if (good_.empty()) sentence_ = one.sentence;
      good_.push_back(name);
    }
    subject_.network.arrive_by(std::string(verify_interface), each_.version);
  }

  // Clients of the world come where the way to the world is, those that write to it by the other interfaces. Without a
  // list of interfaces, some of these may well be closed: by one of them clients must get in.
  bool clients_are_served() const {
    if (listed()) return false;
    const std::string routes =
        output_of({"ip", each_.version == Version::v4 ? "-4" : "-6", "route", "show", "default"}) + " ";
    const auto expected = [&](const std::string& name) {
      const bool way_out = routes.find(" dev " + name + " ") != std::string::npos;
      return way_out == (each_.direction == Direction::incoming);
    };
    Names good = good_;
    std::erase(good, verify_interface);
    if (std::ranges::any_of(good, expected)) return true;
    return !good.empty() && std::ranges::none_of(failed_, expected, &Tried::name);
  }

  // The shadows in the way of what comes by the interface. `bound`: only those that are about it, as what comes by
  // another is not in their way.
  std::vector<Fault> shadows(const std::string& interface, bool bound) const {
    std::vector<Fault> found;
    for (const Shadow& shadow : read_shadows(each_, subject_.in_force.backend, interface))
      if (shadow.bound || !bound) found.push_back(fault_of(shadow, each_, interface));
    return found;
  }
  static std::string text_of(const std::vector<Fault>& faults) {
    std::string text;
    for (const Fault& fault : faults) text += fmt::format("; {} ({})", fault.what, fault.mend);
    return text;
  }

  // One that failed. `nowhere`: by our own network it has failed as well.
  void explain(const Tried& one, bool nowhere, bool served) {
    const std::string& name = one.name;
    const std::vector<Fault> reasons = shadows(name, !nowhere);
    if (nowhere || (!served && !reasons.empty())) {
      std::ranges::copy(reasons, std::back_inserter(proven_.faults));
      return add(Result::failed, {name}, one.sentence);
    }
    // Who drops sources that do not belong to an interface (nft's fib, the match rpfilter) lets its clients in.
    if (reasons.empty())
      return add(Result::inspected, {name},
                 one.sentence + "; no rule about the port is the reason, but one may be that drops sources that do not "
                                "belong there, as verify's does not: try from a client");
    add(Result::inspected, {name},
        fmt::format("{}{}; where no clients come by it, all is well: name the interfaces by which they do in the "
                    "interfaces of the listener",
                    one.sentence, text_of(reasons)));
  }

  void tell_untried(const std::string& reason, const Names& names) {
    std::string more;
    for (const std::string& name : names) more += text_of(shadows(name, true));
    add(Result::inspected, names, fmt::format("not tried: {}{}", reason, more));
  }

  Subject subject_;
  const Diversion& each_;
  std::string links_;
  Names good_;
  std::string sentence_;  // of the first good one
  std::vector<Tried> failed_;
  std::map<std::string, Names> untried_;
  Names over_limit_;   // not tried, as the gate takes no more connections in this minute
  std::string limit_;  // what it said to the first of them
  Proven proven_;
};

}  // namespace

Proven prove_everywhere(const Subject& subject) { return Arrivals(subject).run(); }

}  // namespace firewall
