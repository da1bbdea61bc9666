#include "firewall/gate/decision.h"

#include <algorithm>

#include "firewall/marks.h"

namespace gate {

std::uint32_t mark_after(std::uint32_t mark, Decision decision) {
  const std::uint32_t ours = decision == Decision::take   ? firewall::mark_take
                             : decision == Decision::pass ? firewall::mark_pass
                                                          : firewall::mark_reset;
  return (mark & ~firewall::mark_mask) | ours;
}

Gate::Gate(const Settings& settings, std::uint64_t seed) : open_(settings.open), rates_(seed) {
  for (const Listener& each : settings.listeners)
    judges_.push_back({each.queue, each.connections, each.prefix_v4, each.prefix_v6, false});
}

Decision Gate::decide(std::uint16_t queue, const std::expected<Syn, Fault>& packet, Clock::time_point now) {
  const Decision decision = choose(queue, packet, now);
  switch (decision) {
    case Decision::take:
      ++counts_.take;
      break;
    case Decision::pass:
      ++counts_.pass;
      break;
    case Decision::reset:
      ++counts_.reset;
      break;
    case Decision::drop:
      ++counts_.drop;
      break;
  }
  return decision;
}

void Gate::set_full(std::uint16_t queue, bool full) {
  const auto listener = std::ranges::find(judges_, queue, &Judge::queue);
  if (listener != judges_.end()) listener->full = full;
}

Decision Gate::choose(std::uint16_t queue, const std::expected<Syn, Fault>& packet, Clock::time_point now) {
  const auto listener = std::ranges::find(judges_, queue, &Judge::queue);
  if (!packet || listener == judges_.end()) return Decision::drop;
  if (listener->connections != 0) {
    const Address network = network_of(packet->source, listener->prefix_v4, listener->prefix_v6);
    if (rates_.count(queue, network, now) > listener->connections) return Decision::reset;
  }
  if (ready_ && !listener->full) return Decision::take;
  ++(ready_ ? counts_.full : counts_.unready);
  return open_ ? Decision::pass : Decision::reset;
}

}  // namespace gate
