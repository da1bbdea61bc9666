#include "proxy/admission.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cstring>

#include "config/netmask.h"

namespace {

constexpr std::chrono::minutes window{1};
constexpr unsigned mapped_bits = 96;  // in front of an IPv4 address that is mapped into IPv6

bool is_mapped(const Network& network) {
  in6_addr six{};
  std::memcpy(&six, network.data(), network.size());
  return IN6_IS_ADDR_V4MAPPED(&six);
}

unsigned prefix_of(const config::Listener& listener, const Network& network) {
  return is_mapped(network) ? mapped_bits + listener.client_prefix_v4 : listener.client_prefix_v6;
}

}  // namespace

Admission::Admission(std::shared_ptr<const config::Config> config)
    : config_(std::move(config)), of_listener_(config_->listeners.size()), rate_of_listener_(config_->listeners.size()), refused_(config_->listeners.size()) {}

Admission::Seat::~Seat() {
  if (owner_ == nullptr) return;
  owner_->leave_network(*this);
  --owner_->of_listener_[listener_];
  --owner_->sessions_;
}

bool Admission::Rate::exceeds(std::uint32_t most, io::TimePoint now) {
  const auto minute = static_cast<std::uint64_t>(now.time_since_epoch() / window) & 0xFFFF'FFFFU;
  std::uint64_t before = state_.load(std::memory_order_relaxed), after = 0;
  do {
    const std::uint64_t count = before >> 32U == minute ? before & 0xFFFF'FFFFU : 0;
    if (count >= most) return true;
    after = (minute << 32U) | (count + 1);
  } while (!state_.compare_exchange_weak(before, after, std::memory_order_relaxed));
  return false;
}

// The listener first, so that one that gets too many uses up nothing of what there is for all.
std::optional<Refusal> Admission::exceeded_rate(std::size_t listener, io::TimePoint now) {
  const std::uint32_t here = config_->listeners[listener].max_connections, all = config_->limits.max_connections;
  if (here != 0 && rate_of_listener_[listener].exceeds(here, now)) return Refusal::listener_connections;
  if (all != 0 && rate_.exceeds(all, now)) return Refusal::connections;
  return std::nullopt;
}

std::expected<Admission::Seat, Refusal> Admission::admit(std::size_t listener, const sockaddr* peer,
                                                         io::TimePoint now) {
  const config::Listener& settings = config_->listeners[listener];
  const auto full = [&](Refusal why) {
    refused_[listener].store(true, std::memory_order_relaxed);
    return std::unexpected(why);
  };
  if (memory_is_full_.load(std::memory_order_relaxed)) return full(Refusal::memory);
  const std::uint32_t before = sessions_.fetch_add(1);
  const std::uint32_t before_here = of_listener_[listener].fetch_add(1);
  Seat seat(*this, listener);  // gives back what was counted
  if (before >= config_->limits.max_sessions) return full(Refusal::sessions);
  if (before_here >= settings.max_sessions) return full(Refusal::listener_sessions);
  if (const auto refusal = exceeded_rate(listener, now)) return full(*refusal);
  // Whoever speaks for others is counted when it is known for whom.
  if (settings.proxy_header == config::ProxyHeader::off || !contains(settings.proxy_from, peer)) {
    const auto refusal = count_in(seat, network_of(listener, peer), now);
    if (refusal) return std::unexpected(*refusal);
  }
  return seat;
}

std::optional<Refusal> Admission::recount(Seat& seat, const sockaddr* told, io::TimePoint now) {
  leave_network(seat, !std::exchange(seat.told_, true));
  return count_in(seat, network_of(seat.listener_, told), now);
}

std::optional<Refusal> Admission::count_in(Seat& seat, const Network& network, io::TimePoint now) {
  const config::Listener& settings = config_->listeners[seat.listener_];
  const std::uint32_t most = settings.max_client_sessions, rate = settings.max_client_connections;
  if (most == 0 && rate == 0) return std::nullopt;
  const std::lock_guard lock(mutex_);
  const Key key(seat.listener_, network);
  // Those with sessions are no more than there are sessions, so that this is rare.
  if (networks_.size() >= most_idle_networks + sessions_.load() && !networks_.contains(key))
    std::erase_if(networks_, [](const auto& each) { return each.second.sessions == 0; });
  Count& count = networks_[key];
  if (now - count.minute >= window || count.connections == 0) {
    count.minute = now;
    count.connections = 0;
  }
  ++count.connections;
  if (rate != 0 && count.connections > rate) return Refusal::client_connections;
  if (most != 0 && count.sessions >= most) return Refusal::client_sessions;
  ++count.sessions;
  seat.network_ = network;
  return std::nullopt;
}

void Admission::leave_network(Seat& seat, bool was_none) {
  if (!seat.network_) return;
  const std::lock_guard lock(mutex_);
  const auto found = networks_.find(Key(seat.listener_, *seat.network_));
  seat.network_.reset();
  if (was_none && found->second.connections > 0) --found->second.connections;
  if (--found->second.sessions == 0 && config_->listeners[seat.listener_].max_client_connections == 0)
    networks_.erase(found);
}

void Admission::note_memory(std::uint64_t octets) {
  const std::uint64_t most = config_->limits.memory;
  memory_is_full_.store(most != 0 && octets >= most, std::memory_order_relaxed);
}

bool Admission::was_full(std::size_t listener) {
  const bool refused = refused_[listener].exchange(false, std::memory_order_relaxed);
  return refused || memory_is_full_.load(std::memory_order_relaxed) || sessions_.load() >= config_->limits.max_sessions ||
         of_listener_[listener].load() >= config_->listeners[listener].max_sessions;
}

Network Admission::network_of(std::size_t listener, const sockaddr* address) const {
  Network network = config::octets_of(address);
  const unsigned prefix = prefix_of(config_->listeners[listener], network);
  for (unsigned octet = 0; octet < network.size(); ++octet) {
    const unsigned kept = prefix > octet * 8 ? std::min(prefix - octet * 8, 8U) : 0;
    network[octet] = static_cast<std::uint8_t>(network[octet] & (0xFF00U >> kept));
  }
  return network;
}

std::string Admission::text_of(std::size_t listener, const Network& network) const {
  if (network == other_networks) return "others";
  if (config_->listeners[listener].address.is_unix()) return "unix";
  char text[INET6_ADDRSTRLEN] = "";
  const bool four = is_mapped(network);
  ::inet_ntop(four ? AF_INET : AF_INET6, network.data() + (four ? mapped_bits / 8 : 0), text, sizeof text);
  const unsigned prefix = prefix_of(config_->listeners[listener], network) - (four ? mapped_bits : 0);
  return std::string(text) + '/' + std::to_string(prefix);
}

std::size_t Admission::networks() const {
  const std::lock_guard lock(mutex_);
  return networks_.size();
}
