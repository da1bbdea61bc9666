#include "firewall/gate/decision.h"

#include <arpa/inet.h>

#include <algorithm>

#include "config/netmask.h"
#include "firewall/marks.h"

namespace gate {
namespace {

bool listed(const std::vector<config::Netmask>& netmasks, const Address& address) {
  if (netmasks.empty()) return false;
  sockaddr_in6 socket_address{};
  socket_address.sin6_family = AF_INET6;
  std::ranges::copy(address, socket_address.sin6_addr.s6_addr);
  return config::contains(netmasks, reinterpret_cast<const sockaddr*>(&socket_address));
}

}  // namespace

std::uint32_t mark_after(std::uint32_t mark, Decision decision) {
  const std::uint32_t ours = decision == Decision::take   ? firewall::mark_take
                             : decision == Decision::pass ? firewall::mark_pass
                                                          : firewall::mark_reset;
  return (mark & ~firewall::mark_mask) | ours;
}

Gate::Gate(Settings settings, std::uint64_t seed) : settings_(std::move(settings)), rates_(seed) {}

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

Decision Gate::choose(std::uint16_t queue, const std::expected<Syn, Fault>& packet, Clock::time_point now) {
  const auto listener = std::ranges::find(settings_.listeners, queue, &Listener::queue);
  if (!packet || listener == settings_.listeners.end()) return Decision::drop;
  if (listed(listener->skip_sources, packet->source) || listed(listener->skip_destinations, packet->destination))
    return Decision::pass;
  if (listener->connections != 0) {
    const Address network = network_of(packet->source, listener->prefix_v4, listener->prefix_v6);
    if (rates_.count(queue, network, now) > listener->connections) return Decision::reset;
  }
  if (ready_) return Decision::take;
  ++counts_.unready;
  return settings_.open ? Decision::pass : Decision::reset;
}

}  // namespace gate
