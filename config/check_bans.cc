// Bans: the kernel's lists, and what listeners add to them.
#include <fmt/format.h>

#include <algorithm>

#include "config/check.h"

namespace config {
namespace {

void check_lists(const Config& config, Problems& problems) {
  const std::string at = "/firewall/bans";
  if (!config.firewall.bans.on) {
    if (!config.firewall.bans.never.empty()) problems.error(at + "/never", "belongs to bans that are on");
    return;
  }
  if (!has_linux_filter(config.firewall.backend))
    problems.error(at + "/on", "is for Linux alone: gatepost writes no such rules for other packet filters");
  else if (std::ranges::none_of(config.listeners, goes_by_linux))
    problems.error(at + "/on", "there is nothing to be banned from: no listener has intercept");
}

// The rules that can ban nobody as they stand.
void check_rules(const Config& config, const Listener& listener, const std::string& at, Problems& problems) {
  const ListenerBans fresh;
  for (std::size_t i = 0; i < number_of_offences; ++i) {
    const auto offence = static_cast<Offence>(i);
    const BanRule& rule = listener.bans.rule_for(offence);
    if (rule.time == milliseconds{0} && rule != fresh.rule_for(offence))
      problems.error(fmt::format("{}/{}", at, to_string(offence)), "bans nobody: say by \"for\" how long a ban lasts");
  }
  const auto wanted = [&listener](Offence offence) { return listener.bans.rule_for(offence).time > milliseconds{0}; };
  if (wanted(Offence::infected) && config.scanners.empty())
    problems.error(at + "/infected", "bans nobody: there are no scanners");
  if (wanted(Offence::rate) && listener.max_client_connections == 0)
    problems.error(at + "/rate", "needs max_client_connections, the rate that is too high");
  if (wanted(Offence::early_talk) && listener.early_talker_wait == milliseconds{0})
    problems.warning(at + "/early_talk",
                     "early_talker_wait is 0s: only clients are noticed that speak while the server is connected");
}

void check_listener(const Config& config, const Listener& listener, const std::string& at, Problems& problems) {
  check_rules(config, listener, at, problems);
  if (!listener.bans.any()) return;
  if (!goes_by_linux(listener))
    problems.error(at,
                   "belongs to a listener with \"intercept\": \"redirect\" or \"tproxy\": of all others the packet "
                   "filter resets no connection");
  else if (!config.firewall.bans.on)
    problems.error(at,
                   "needs \"bans\": { \"on\": true } in \"firewall\": without it no rule looks at the lists of the "
                   "banned");
  // The kernel sees whose packets they are, not for whom somebody speaks.
  if (listener.proxy_header != ProxyHeader::off)
    problems.error(at,
                   "cannot be with proxy_header: all packets come from the proxies in front, which must not be banned");
  if (!listener.xclient_from.empty())
    problems.warning(at,
                     "a client for whom a peer in xclient_from speaks is never banned, and neither is that peer; "
                     "the log says when it would be");
}

}  // namespace

void check_bans(const Config& config, Problems& problems) {
  if (problems.failed("/firewall/bans") || problems.failed("/firewall/backend")) return;
  if (!problems.failed("/listeners")) check_lists(config, problems);
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const std::string at = fmt::format("/listeners/{}", i);
    if (!problems.failed(at)) check_listener(config, config.listeners[i], at + "/bans", problems);
  }
}

}  // namespace config
