#include "proxy/supervisor/announcement.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

namespace supervisor {
namespace {

using admin::Level;

std::string destination(const config::Downstream& downstream) {
  if (downstream.path) return fmt::format("maildirs {}", *downstream.path);
  std::vector<std::string> servers;
  for (const config::Endpoint& server : downstream.servers) servers.push_back(server.text);
  const bool lmtp = downstream.protocol == config::Protocol::lmtp;
  return fmt::format("{} {}", lmtp ? "lmtp" : "smtp", fmt::join(servers, ", "));
}

std::string users(const config::Config& config) {
  const auto text = [](const config::Account& account) { return fmt::format("{}:{}", account.uid, account.gid); };
  std::string line = fmt::format("users: proxy {}, keeper {}, scanner {}", text(config.proxy_account),
                                 text(config.keeper_account), text(config.scanner_account));
  if (config.firewall.gate.queue != 0) line += ", gate " + text(config.gate_account);
  return line;
}

}  // namespace

void announce(const config::Config& config, const std::vector<std::string>& warnings,
              const std::vector<std::string>& addresses, admin::Log& log) {
  const auto say = [&log](Level level, const std::string& sentence) { log.say(0, level, sentence); };
  say(Level::info, fmt::format("gatepost {} starts, host {}", GATEPOST_VERSION, config.hostname));
  for (const std::string& warning : warnings) say(Level::warning, warning);
  if (::geteuid() == 0) say(Level::info, users(config));  // the other case is one of the warnings
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& listener = config.listeners[i];
    say(Level::info, fmt::format("listener {}: {}, downstream {} ({})", listener.name, addresses[i],
                                 listener.downstream, destination(config.downstream_of(listener))));
  }
  for (const config::Scanner& scanner : config.scanners)
    say(Level::info, fmt::format("scanner {}: {}, {} workers, signatures {}", scanner.name, scanner.engine,
                                 scanner.workers, fmt::join(scanner.signatures, ", ")));
}

}  // namespace supervisor
