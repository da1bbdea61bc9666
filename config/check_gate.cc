// The gate: what it needs of the listeners and of the backend.
#include <fmt/format.h>

#include <algorithm>

#include "config/check.h"

namespace config {
namespace {

constexpr std::size_t most_queues = 65536;

void check_queues(const Config& config, Problems& problems) {
  const std::string at = "/firewall/gate";
  const Gate& gate = config.firewall.gate;
  if (gate.queue == 0) {
    const Gate fresh;
    if (gate.on_failure != fresh.on_failure)
      problems.error(at + "/on_failure", "belongs to a gate: give it the number of a queue");
    if (gate.length != fresh.length) problems.error(at + "/length", "belongs to a gate: give it the number of a queue");
    return;
  }
  if (!has_linux_filter(config.firewall.backend))
    return problems.error(at + "/queue", "is for Linux alone: other packet filters have no queue for it");
  if (std::ranges::none_of(config.listeners, goes_by_linux))
    return problems.error(at + "/queue", "there is nothing to decide: no listener has intercept");
  if (gate.queue + config.listeners.size() > most_queues)
    problems.error(at + "/queue",
                   fmt::format("{} is too near to the last queue, {}: each of the {} listeners has its own", gate.queue,
                               most_queues - 1, config.listeners.size()));
}

}  // namespace

bool goes_by_linux(const Listener& listener) {
  return listener.intercept == Intercept::redirect || listener.intercept == Intercept::tproxy;
}

bool has_linux_filter(Backend backend) {
  return backend == Backend::automatic || backend == Backend::nft || backend == Backend::iptables;
}

void check_gate(const Config& config, Problems& problems) {
  if (problems.failed("/firewall") || problems.failed("/listeners")) return;
  check_queues(config, problems);
}

}  // namespace config
