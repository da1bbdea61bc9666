#include "proxy/refusals.h"

std::string_view to_string(Refusal reason) {
  switch (reason) {
    case Refusal::memory:
      return "limits.memory";
    case Refusal::sessions:
      return "limits.max_sessions";
    case Refusal::listener_sessions:
      return "max_sessions";
    case Refusal::connections:
      return "limits.max_connections";
    case Refusal::listener_connections:
      return "max_connections";
    case Refusal::client_sessions:
      return "max_client_sessions";
    case Refusal::client_connections:
      return "max_client_connections";
    case Refusal::not_intercepted:
      return "not_intercepted";
    case Refusal::port_not_intercepted:
      return "port_not_intercepted";
    case Refusal::destination_not_protected:
      return "destination_not_protected";
    case Refusal::loop:
      return "loop";
    case Refusal::proxy_from:
      return "proxy_from";
    case Refusal::xclient_from:
      return "xclient_from";
    case Refusal::xforward_from:
      return "xforward_from";
  }
  return "";
}

bool is_for_network(Refusal reason) {
  return reason >= Refusal::client_sessions;
}

std::string_view farewell(Refusal reason) {
  if (reason >= Refusal::not_intercepted) return {};
  if (reason == Refusal::memory) return "421 4.3.2 Not enough memory for more sessions, please try again later\r\n";
  if (!is_for_network(reason)) return "421 4.3.2 Too many connections, please try again later\r\n";
  return "421 4.7.0 Too many connections from your network, please try again later\r\n";
}

std::optional<RefusedClients> Refusals::add(Refusal reason, std::size_t listener, Network network, io::TimePoint now) {
  if (!is_for_network(reason)) network = {};
  const std::lock_guard lock(mutex_);
  ++in_all_[{reason, listener}];
  Key key{reason, listener, network};
  auto found = known_.find(key);
  if (found == known_.end()) {
    std::size_t& share = shares_[is_of_introduction(reason) ? 1 : 0];
    if (share >= most_known) std::get<Network>(key) = other_networks;
    bool is_new = false;
    std::tie(found, is_new) = known_.try_emplace(key);
    if (is_new) ++share;
  }
  Count& count = found->second;
  ++count.untold;
  if (count.told != io::TimePoint{} && now - count.told < between) return std::nullopt;
  count.told = now;
  return RefusedClients{reason, listener, std::get<Network>(key), std::exchange(count.untold, 0)};
}

std::vector<RefusedClients> Refusals::due(io::TimePoint now) {
  std::vector<RefusedClients> lines;
  const std::lock_guard lock(mutex_);
  for (auto each = known_.begin(); each != known_.end();) {
    auto& [key, count] = *each;
    if (now - count.told < between) {
      ++each;
    } else if (count.untold == 0) {
      --shares_[is_of_introduction(std::get<Refusal>(key)) ? 1 : 0];
      each = known_.erase(each);
    } else {
      lines.push_back(
          {std::get<Refusal>(key), std::get<std::size_t>(key), std::get<Network>(key), std::exchange(count.untold, 0)});
      count.told = now;
      ++each;
    }
  }
  return lines;
}

std::vector<RefusedInAll> Refusals::in_all() const {
  const std::lock_guard lock(mutex_);
  std::vector<RefusedInAll> all;
  for (const auto& [key, count] : in_all_) all.push_back({key.first, key.second, count});
  return all;
}
