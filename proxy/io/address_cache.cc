#include "proxy/io/address_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <ranges>
#include <utility>

#include "proxy/io/hosts_file.h"
#include "proxy/io/tcp_stream.h"

namespace io {
namespace {

template <class Socket>
config::Endpoint filled(const Socket& socket) {
  config::Endpoint endpoint;
  endpoint.length = sizeof socket;
  std::memcpy(&endpoint.address, &socket, sizeof socket);
  return endpoint;
}

// "mx.example.org[192.0.2.1]:25", as MTAs write it.
config::Endpoint endpoint_of(const AddressRecord& record, const config::Endpoint& server) {
  config::Endpoint endpoint;
  if (record.family == AF_INET) {
    sockaddr_in four{};
    four.sin_family = AF_INET;
    four.sin_port = htons(server.port);
    std::memcpy(&four.sin_addr, record.octets.data(), sizeof four.sin_addr);
    endpoint = filled(four);
  } else {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_port = htons(server.port);
    std::memcpy(&six.sin6_addr, record.octets.data(), sizeof six.sin6_addr);
    endpoint = filled(six);
  }
  endpoint.text = fmt::format("{}[{}]:{}", server.host, format_ip(endpoint.get()), server.port);
  return endpoint;
}

bool is_found(const Query& query) { return query.answer() && query.answer()->has_value(); }
bool is_denied(const Query& query) {
  using enum NotFound::Why;
  return query.answer() && !query.answer()->has_value() &&
         (query.answer()->error().why == no_such_name || query.answer()->error().why == no_data);
}
std::string why_not(const Query& query) { return query.answer() ? query.answer()->error().text : "no answer in time"; }

}  // namespace

// However a question ends, nobody waits for it any more.
class AddressCache::Asking {
 public:
  explicit Asking(Entry& entry) : entry_(entry) { entry_.asking = true; }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  ~Asking() {
    entry_.asking = false;
    entry_.waiters.wake_all();
  }

 private:
  Entry& entry_;
};

Task<AddressCache::Addresses> AddressCache::addresses(config::Endpoint server, Scope& scope, TimePoint until) {
  std::string name = folded(server.host);
  Entry& entry = entries_[name];
  const auto fresh = [&] { return scope.now() < entry.fresh_until; };
  const auto stale = [&] { return scope.now() < entry.stale_until; };
  if (!fresh() && !entry.asking && scope.now() >= entry.quiet_until) loop_.spawn(ask(std::move(name), entry));
  if (!fresh() && !(stale() && entry.failing)) {
    Waiter waiter(entry.waiters);
    while (entry.asking)
      if (co_await Wait(scope, until, waiter.woken) == Woken::deadline) break;
  }
  if (!fresh() && !stale()) co_return std::unexpected(entry.asking ? "no answer in time" : entry.trouble);
  std::vector<config::Endpoint> found;
  for (const AddressRecord& record : entry.addresses) found.push_back(endpoint_of(record, server));
  co_return found;
}

Task<> AddressCache::ask(std::string name, Entry& entry) {
  const Asking asking(entry);
  Scope scope(loop_);
  const auto six = resolver_.ask(name, RecordType::aaaa);
  const auto four = resolver_.ask(name, RecordType::a);
  TimePoint until = scope.now() + resolver_.patience();
  while (!six->answer() || !four->answer()) {
    if (is_found(*six) || is_found(*four)) until = std::min(until, scope.now() + second_half_wait);
    if (co_await Wait(scope, until, six->done, four->done) == Woken::deadline) break;
  }
  learn(name, entry, *six, *four);
}

void AddressCache::learn(const std::string& name, Entry& entry, const Query& six, const Query& four) {
  entry.quiet_until = loop_.now() + least_kept;
  if (!is_found(six) && !is_found(four)) {
    if (!is_denied(six)) return fail(name, entry, why_not(six));
    if (!is_denied(four)) return fail(name, entry, why_not(four));
    const bool no_name = six.answer()->error().why == NotFound::Why::no_such_name;
    entry.trouble = no_name ? why_not(six) : "no address";
    entry.addresses.clear();
    entry.fresh_until = entry.stale_until = TimePoint();
    entry.failing = false;
    return;
  }
  std::vector<AddressRecord> addresses;
  Duration kept = most_kept;
  for (const Query* query : {&six, &four}) {
    if (!is_found(*query)) {
      if (!is_denied(*query)) kept = std::min<Duration>(kept, half_kept);
      continue;
    }
    kept = std::min<Duration>(kept, (*query->answer())->ttl);
    for (const Record& record : (*query->answer())->records | std::views::take(most_addresses))
      addresses.push_back(std::get<AddressRecord>(record));
  }
  entry.addresses = std::move(addresses);
  entry.fresh_until = loop_.now() + std::max<Duration>(kept, least_kept);
  entry.stale_until = entry.fresh_until + stale_for;
  if (std::exchange(entry.failing, false)) say_(fmt::format("the name {} is resolved again", name));
}

void AddressCache::fail(const std::string& name, Entry& entry, std::string why) {
  entry.trouble = std::move(why);
  const bool served = loop_.now() < entry.stale_until;
  if (served && !std::exchange(entry.failing, true))
    say_(fmt::format("the name {} cannot be resolved ({}); the addresses that it had are used for up to an hour", name,
                     entry.trouble));
}

}  // namespace io
