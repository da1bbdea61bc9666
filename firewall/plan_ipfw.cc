// FreeBSD's ipfw: rules in a set of their own, which is switched on when it is complete. Written after the manual page;
// it was not run on a BSD kernel.
#include <fmt/format.h>

#include "firewall/plan.h"

namespace firewall {
namespace {

constexpr int set_number = 25, first_rule = 2500;

std::string table_of(const char* what, const Diversion& each) {
  return fmt::format("gatepost_{}{}_{}", what, number_of(each.version), each.number);
}

class IpfwText {
 public:
  explicit IpfwText(Draft& draft) : draft_(draft) {}

  std::string write() {
    text_ = fmt::format("set disable {0}\ndelete set {0}\n", set_number);
    for (const Version version : {Version::v4, Version::v6})
      for (const Diversion* each : once_per_listener(draft_.rules, version)) {
        table("protected", *each, each->protected_networks);
        table("skip_src", *each, each->skip_sources);
        table("skip_dst", *each, each->skip_destinations);
      }
    int number = first_rule;
    for (const Diversion& each : draft_.rules.diversions) {
      if (!each.drop_interfaces.empty()) rule(number++, "deny", each, by(each.drop_interfaces) + " setup");
      rule(number++, forward(each), each, received(each));
    }
    return text_ + fmt::format("set enable {}\n", set_number);
  }

 private:
  void table(const char* what, const Diversion& each, const std::vector<std::string>& networks) {
    if (networks.empty()) return;
    const std::string name = table_of(what, each);
    text_ += fmt::format("table {} create type addr or-flush\n", name);
    for (const std::string& network : networks) text_ += fmt::format("table {} add {}\n", name, network);
    draft_.plan.remove.push_back({.why = fmt::format("The table {}", name),
                                  .command = {{"ipfw", "-q", "table", name, "destroy"}},
                                  .may_fail = true});
  }

  static std::string by(const std::vector<std::string>& interfaces) {
    std::string out;
    for (const std::string& name : interfaces)
      if (name != verify_interface) out += (out.empty() ? "" : " or ") + fmt::format("recv {}", name);
    return out.find(" or ") == std::string::npos ? out : "{ " + out + " }";
  }
  static std::string received(const Diversion& each) {
    if (!each.interfaces.empty()) return by(each.interfaces);
    std::string out = "not recv lo0";
    for (const auto* others : {&each.skip_interfaces, &each.drop_interfaces})
      for (const std::string& name : *others) out += " not recv " + name;
    return out;
  }
  static std::string forward(const Diversion& each) {
    const char* any = each.version == Version::v6 ? "::1" : "127.0.0.1";
    return fmt::format("fwd {},{}", each.address.empty() ? any : each.address, each.port);
  }

  void rule(int number, const std::string& action, const Diversion& each, const std::string& where) {
    const bool six = each.version == Version::v6;
    std::string ports;
    for (const std::uint16_t port : each.ports) ports += (ports.empty() ? "" : ",") + std::to_string(port);
    const char* option = six ? "dst-ip6" : "dst-ip";
    std::string more;
    if (!each.protected_networks.empty()) more += fmt::format(" {} table({})", option, table_of("protected", each));
    if (!each.skip_destinations.empty()) more += fmt::format(" not {} table({})", option, table_of("skip_dst", each));
    text_ += fmt::format("add {} set {} {} tcp from {} to {}{} {} in {}{}\n", number, set_number, action,
                         each.skip_sources.empty() ? std::string(six ? "any6" : "any")
                                                   : fmt::format("not table({})", table_of("skip_src", each)),
                         each.to_local ? "" : "not ", six ? "me6" : "me", ports, where, more);
  }

  Draft& draft_;
  std::string text_;
};

}  // namespace

void plan_ipfw(Draft& draft) {
  draft.plan.remove.push_back(
      {.why = "The rules", .command = {{"ipfw", "-q", "delete", "set", std::to_string(set_number)}}, .may_fail = true});
  std::string text = IpfwText(draft).write();
  draft.plan.apply.push_back({.why = "The rules, out of force until all are there",
                              .command = {{"ipfw", "-q", "/dev/stdin"}, std::move(text)}});
}

}  // namespace firewall
