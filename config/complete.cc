#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "config/check.h"
#include "config/quote.h"
#include "config/text_shape.h"

namespace config {
namespace {

void look_up(const std::string& user, const std::string& pointer, Account& account, const Surroundings& machine,
             Problems& problems) {
  if (problems.failed(pointer)) return;
  std::uint32_t uid = 0;
  const auto [end, failure] = std::from_chars(user.data(), user.data() + user.size(), uid);
  if (failure == std::errc{} && end == user.data() + user.size()) {
    account = {uid, machine.group_of(uid).value_or(uid)};
    return;
  }
  const auto found = machine.account(user);
  if (!found)
    return problems.error(pointer,
                          fmt::format("there is no account {}; create it (adduser --system --group {}) or give "
                                      "a number, which needs no account",
                                      in_quotes(user), visible(user)));
  if (found->uid == 0)
    return problems.error(pointer, fmt::format("{} is root, which gatepost's processes must not be", in_quotes(user)));
  account = *found;
}

void complete_accounts(Config& config, const Surroundings& machine, Problems& problems) {
  if (!machine.root) {
    config.proxy_account = config.keeper_account = config.scanner_account = config.gate_account = machine.own;
    return problems.warning(fmt::format(
        "not started by root: all processes run under uid {}, without walls between them", machine.own.uid));
  }
  look_up(config.users.proxy, "/users/proxy", config.proxy_account, machine, problems);
  look_up(config.users.keeper, "/users/keeper", config.keeper_account, machine, problems);
  look_up(config.users.scanner, "/users/scanner", config.scanner_account, machine, problems);
  const bool gate = config.firewall.gate.queue != 0;  // most have none, and need no account for it
  if (gate) look_up(config.users.gate, "/users/gate", config.gate_account, machine, problems);
  if (problems.failed("/users")) return;
  std::vector<std::uint32_t> uids{config.proxy_account.uid, config.keeper_account.uid, config.scanner_account.uid};
  if (gate) uids.push_back(config.gate_account.uid);
  std::ranges::sort(uids);
  if (std::ranges::adjacent_find(uids) != uids.end())
    problems.warning("/users", "two of the accounts are one: no wall stands between their processes");
}

}  // namespace

void complete(Config& config, const Surroundings& machine, Problems& problems) {
  if (!problems.given("/hostname")) {
    const bool usable = host_name.wrong(machine.hostname).empty();
    config.hostname = usable ? machine.hostname : "localhost";
    if (!usable)
      problems.warning("/hostname", "the machine's own name is no host name; \"localhost\" is used, better give one");
  }
  if (!problems.given("/limits/scan_limit")) config.limits.scan_limit = config.limits.scan_wait;
  // The built-in downstream: where the client meant to go.
  const auto names_it = [](const Listener& each) { return each.downstream == "original"; };
  if (std::ranges::any_of(config.listeners, names_it)) {
    Downstream original;
    original.name = "original";
    original.original = true;
    config.downstreams.try_emplace("original", std::move(original));
  }
  complete_accounts(config, machine, problems);
}

}  // namespace config
