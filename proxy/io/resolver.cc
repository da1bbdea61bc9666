#include "proxy/io/resolver.h"

#include <fmt/format.h>
#include <netdb.h>
#include <unbound-event.h>
#include <unbound.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "proxy/io/dns_answer.h"
#include "proxy/io/event_loop.h"
#include "proxy/io/hosts_file.h"

namespace io {
namespace {

constexpr int internet = 1;           // the class IN
constexpr int bogus = 1, secure = 2;  // what libunbound says of an answer

void set(ub_ctx* context, const char* option, const char* value) {
  if (::ub_ctx_set_option(context, option, value) != 0)
    throw std::runtime_error(fmt::format("libunbound does not take {} {}", option, value));
}

void configure(ub_ctx* context, const config::Dns& settings) {
  ::ub_ctx_debugout(context, nullptr);  // our log is not its
  set(context, "module-config:", settings.dnssec ? "validator iterator" : "iterator");
  set(context, "cache-max-ttl:", "3600");
  set(context, "rrset-roundrobin:", "no");  // whoever tries addresses in order wants the order of the zone
  // Name servers that were away are found again as soon as they are back.
  set(context, "infra-host-ttl:", "60");
  set(context, "infra-keep-probing:", "yes");
  // At once, each a descriptor while it waits; further questions queue.
  set(context, "outgoing-range:", "64");
  set(context, "outgoing-num-tcp:", "16");
  // Private networks have names: ask for them (RFC 6303 means resolvers of the Internet).
  set(context, "unblock-lan-zones:", "yes");
  set(context, "insecure-lan-zones:", "yes");
}

// "127.0.0.1@5353" as libunbound writes it.
std::string forwarder_text(const config::Endpoint& forwarder) {
  char host[NI_MAXHOST], port[NI_MAXSERV];
  constexpr int numbers = NI_NUMERICHOST | NI_NUMERICSERV;
  if (::getnameinfo(forwarder.get(), forwarder.length, host, sizeof host, port, sizeof port, numbers) != 0) return {};
  return fmt::format("{}@{}", host, port);
}

void choose_servers(ub_ctx* context, const config::Dns& settings) {
  // Without resolv.conf, or with none in it, no forwarder is set: full recursion.
  if (settings.forwarders.empty()) ::ub_ctx_resolvconf(context, nullptr);
  for (const config::Endpoint& forwarder : settings.forwarders)
    if (::ub_ctx_set_fwd(context, forwarder_text(forwarder).c_str()) != 0)
      throw std::runtime_error(fmt::format("libunbound does not take the forwarder {}", forwarder.text));
}

// A file without any record would mean that nothing is ever validated, in silence; libunbound reads a directory for
// ever.
bool holds_anchor(const std::string& path) {
  std::error_code failure;
  if (!std::filesystem::is_regular_file(path, failure)) return false;
  std::ifstream file(path);
  std::string line, word;
  while (std::getline(file, line)) {
    std::istringstream words(line.substr(0, line.find(';')));
    while (words >> word)
      if (word == "DS" || word == "DNSKEY") return true;
  }
  return false;
}

}  // namespace

std::string_view to_string(RecordType type) {
  switch (type) {
    case RecordType::a:
      return "A";
    case RecordType::aaaa:
      return "AAAA";
    case RecordType::mx:
      return "MX";
    case RecordType::ptr:
      return "PTR";
    case RecordType::txt:
      return "TXT";
    case RecordType::tlsa:
      return "TLSA";
  }
  return "?";
}

Lookup not_found(NotFound::Why why, std::string text, std::chrono::seconds ttl, bool is_secure) {
  return std::unexpected(NotFound{why, std::move(text), ttl, is_secure});
}

Task<Lookup> Resolver::look_up(std::string name, RecordType type, Scope& scope, TimePoint until) {
  const TimePoint last = std::min(until, scope.now() + patience_);
  const std::unique_ptr<Query> query = ask(name, type);
  while (!query->answer()) {
    const Woken woken = co_await Wait(scope, last, query->done);
    if (woken == Woken::deadline) break;
  }
  if (!query->answer()) co_return not_found(NotFound::Why::failed, "no answer in time");
  co_return *query->answer();
}

// One question that libunbound has. It outlives the Question when that is destroyed: libunbound cannot be made to stop,
// and as long as it works for us the seat is taken.
struct UnboundResolver::Flight {
  UnboundResolver& owner;
  Question* question;
  std::list<Flight>::iterator place{};
};

class UnboundResolver::Question final : public Query {
 public:
  ~Question() override {
    if (flight != nullptr) flight->question = nullptr;
  }
  using Query::give;
  explicit Question(RecordType asked) : type(asked) {}
  const RecordType type;
  Flight* flight = nullptr;
};

void UnboundResolver::Free::operator()(ub_ctx* context) const { ::ub_ctx_delete(context); }

UnboundResolver::UnboundResolver(EventLoop& loop, const config::Dns& settings, std::shared_ptr<const HostsFile> hosts,
                                 const std::function<void(std::string)>& complain)
    : Resolver(settings.timeout), context_(::ub_ctx_create_event(loop.base_)), hosts_(std::move(hosts)) {
  if (context_ == nullptr) throw std::runtime_error("libunbound gives no context");
  configure(context_.get(), settings);
  choose_servers(context_.get(), settings);
  const bool anchored = settings.dnssec && holds_anchor(settings.trust_anchor);
  if (anchored) ::ub_ctx_add_ta_file(context_.get(), settings.trust_anchor.c_str());
  // This also ends the configuration: all files are read here. RFC 6761 keeps "test" for tests, ours among them.
  const int status = ::ub_ctx_zone_add(context_.get(), "test.", "transparent");
  if (settings.dnssec && (status != 0 || !anchored))
    unusable_ = fmt::format("{} cannot be read as a trust anchor", settings.trust_anchor);
  else if (status != 0) throw std::runtime_error(fmt::format("libunbound does not start: {}", ::ub_strerror(status)));
  if (!unusable_.empty()) complain(unusable_ + ": no name is resolved");
}

UnboundResolver::~UnboundResolver() {
  for (const Flight& flight : flights_)
    if (flight.question != nullptr) flight.question->flight = nullptr;
  for (Flight& flight : flights_) flight.question = nullptr;
  context_.reset();  // its last calls still find their flights
}

std::unique_ptr<Query> UnboundResolver::ask(const std::string& name, RecordType type) {
  auto question = std::make_unique<Question>(type);
  std::optional<Lookup> known;
  if (!is_domain_name(name)) known = not_found(NotFound::Why::no_such_name, "no domain name");
  else if (hosts_) known = hosts_->look_up(name, type);
  if (!known && !unusable_.empty()) known = not_found(NotFound::Why::failed, unusable_);
  if (!known && flights_.size() >= most_in_flight) known = not_found(NotFound::Why::failed, "too many questions");
  if (known) question->give(std::move(*known));
  else launch(*question, name);
  return question;
}

void UnboundResolver::launch(Question& question, const std::string& name) {
  const auto flight = flights_.insert(flights_.begin(), Flight{*this, &question});
  flight->place = flight;
  question.flight = &*flight;
  const int status = ::ub_resolve_event(context_.get(), name.c_str(), static_cast<int>(question.type), internet,
                                        &*flight, &UnboundResolver::arrived, nullptr);
  if (status == 0) return;  // the answer may have come within the call: the flight is gone then
  question.flight = nullptr;
  flights_.erase(flight);
  question.give(not_found(NotFound::Why::failed, ::ub_strerror(status)));
}

// libunbound calls this from the loop, or while it is being asked. C: nothing may pass through it.
void UnboundResolver::arrived(void* mine, int code, void* packet, int size, int security, char* why_bogus,
                              int) noexcept {
  auto& flight = *static_cast<Flight*>(mine);
  Question* question = std::exchange(flight.question, nullptr);
  flight.owner.flights_.erase(flight.place);
  if (question == nullptr) return;
  question->flight = nullptr;
  try {
    const std::span octets(static_cast<const std::uint8_t*>(packet), static_cast<std::size_t>(std::max(size, 0)));
    if (code != 0 || packet == nullptr) question->give(not_found(NotFound::Why::failed, rcode_text(code)));
    else if (security == bogus)
      question->give(not_found(NotFound::Why::bogus, why_bogus != nullptr ? why_bogus : "does not validate"));
    else question->give(parse_answer(octets, question->type, security == secure));
  } catch (const std::exception&) {
    question->give(not_found(NotFound::Why::failed, "out of memory"));  // short enough to need none
  }
}

std::string reverse_name(const sockaddr* address) {
  std::string name;
  if (address->sa_family == AF_INET) {
    sockaddr_in four{};
    std::memcpy(&four, address, sizeof four);
    const std::uint32_t octets = ntohl(four.sin_addr.s_addr);
    for (unsigned shift = 0; shift < 32; shift += 8) name += fmt::format("{}.", octets >> shift & 0xFFU);
    return name + "in-addr.arpa";
  }
  if (address->sa_family != AF_INET6) return name;
  sockaddr_in6 six{};
  std::memcpy(&six, address, sizeof six);
  if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) {
    for (int i = 15; i >= 12; --i) name += fmt::format("{}.", six.sin6_addr.s6_addr[i]);
    return name + "in-addr.arpa";
  }
  for (int i = 15; i >= 0; --i)
    name += fmt::format("{:x}.{:x}.", six.sin6_addr.s6_addr[i] & 0xFU, six.sin6_addr.s6_addr[i] >> 4U);
  return name + "ip6.arpa";
}

}  // namespace io
