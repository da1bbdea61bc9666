// The examination of a server, and what is kept of it.
#include <algorithm>
#include <utility>

#include "proxy/session/identity.h"
#include "proxy/session/relay_probe.h"

namespace session {

using io::Task;

namespace {

constexpr io::Duration silence = std::chrono::seconds(2);  // after connecting: perhaps a PROXY header is waited for
constexpr io::Duration kept = std::chrono::hours(24);
constexpr io::Duration kept_when_bad = std::chrono::minutes(1);
constexpr io::Duration kept_unreached = std::chrono::seconds(5);
constexpr io::Duration kept_unreached_but_known = std::chrono::minutes(10);
constexpr io::Duration between_doubts = std::chrono::minutes(1);
constexpr std::size_t most_entries = 1000;

std::string key_of(const config::Downstream& settings, std::string_view address, bool exempt) {
  std::string key;
  key.reserve(settings.name.size() + address.size() + 8);
  return key.append(settings.name).append(1, ' ').append(address).append(exempt ? " exempt" : "");
}
std::string key_of(const Server& server) { return key_of(*server.settings, server.endpoint.text, server.exempt); }

Standing conclude(const Server& server, Channel channel, const ProbeReport& report, bool asked) {
  Standing standing;
  standing.reached = report.reached;
  standing.channel = channel;
  standing.evidence = report.evidence;
  standing.banner = report.banner;
  standing.offered = report.offered;
  // Behind a PROXY header it has to be seen to relay: that it speaks at all shows that it has read the header.
  const bool unproven = report.proof == Proof::none && !server.settings->accept_source_loss && !is_proxy(channel);
  standing.relays = report.reached && asked && (report.proof == Proof::relays || unproven);
  return standing;
}

void log_line(const Services& services, admin::Level level, const std::string& sentence) {
  admin::Record record(services.config->log.format, level, "");
  record.message(sentence);
  services.log(level, std::move(record));
}

}  // namespace

Task<Standing> examine(Services services, Server server, bool recipients, io::Scope& scope) {
  const config::Downstream& settings = *server.settings;
  ProbeOrder order;
  order.as = channel_of(settings.identity);
  order.recipients = recipients;
  order.patience = settings.connect_timeout + settings.greeting_timeout;
  if (order.as != Channel::undecided) {
    const ProbeReport report = co_await probe(services, server, order, scope);
    co_return conclude(server, order.as, report, recipients);
  }
  order.as = Channel::none;
  order.stop_at_xclient = true;
  ProbeOrder quick = order;
  quick.patience = std::min(order.patience, silence);
  ProbeReport report = co_await probe(services, server, quick, scope);
  if (report.silent && !settings.tls.implicit) {
    ProbeOrder proxied = order;
    proxied.as = Channel::proxy_v2;
    proxied.recipients = true;
    proxied.stop_at_xclient = false;
    const ProbeReport behind_header = co_await probe(services, server, proxied, scope);
    if (behind_header.proof == Proof::refuses) co_return conclude(server, Channel::proxy_v2, behind_header, true);
  }
  if (report.silent) report = co_await probe(services, server, order, scope);
  const bool offered = tells_address(report.offered.xclient);
  co_return conclude(server, offered ? Channel::xclient : Channel::none, report, recipients && !offered);
}

// However an examination ends, nobody waits for it any more.
class Identities::Examination {
 public:
  explicit Examination(Entry& entry) : entry_(entry) { entry_.examining = true; }
  Examination(const Examination&) = delete;
  Examination& operator=(const Examination&) = delete;
  ~Examination() {
    entry_.examining = false;
    entry_.waiters.wake_all();
  }

 private:
  Entry& entry_;
};

const Standing* Identities::known(const Server& server) const {
  return known(*server.settings, server.endpoint.text, server.exempt);
}

const Standing* Identities::known(const config::Downstream& settings, std::string_view address, bool exempt) const {
  const auto found = entries_.find(key_of(settings, address, exempt));
  if (found == entries_.end() || loop_.now() >= found->second.fresh_until) return nullptr;
  return &found->second.standing;
}

Task<Standing> Identities::standing(Services services, Server server, io::Scope& scope, io::TimePoint until) {
  if (entries_.size() >= most_entries)
    std::erase_if(entries_, [&](const auto& each) {
      const Entry& entry = each.second;
      return !entry.examining && entry.waiters.empty() && scope.now() >= entry.fresh_until;
    });
  Entry& entry = entries_[key_of(server)];
  const auto fresh = [&] { return scope.now() < entry.fresh_until; };
  io::Waiter waiter(entry.waiters);
  if (!fresh() && !entry.examining) loop_.spawn(look(services, server, entry));
  while (!fresh() && entry.examining)
    if (co_await io::Wait(scope, until, waiter.woken) == io::Woken::deadline) break;
  if (fresh()) co_return entry.standing;
  Standing nothing;
  nothing.evidence = "could not be examined in time";
  co_return nothing;
}

Task<> Identities::look(Services services, Server server, Entry& entry) {
  const Examination examination(entry);
  io::Scope scope(loop_);
  Standing found;
  entry.again = false;
  found = co_await examine(services, server, !server.exempt, scope);
  while (std::exchange(entry.again, false)) {
    services.tls = tls_;
    found = co_await examine(services, server, !server.exempt, scope);
  }
  settle(services, server, entry, std::move(found));
}

void Identities::settle(const Services& services, const Server& server, Entry& entry, Standing found) {
  const io::TimePoint now = loop_.now();
  if (!found.reached && entry.standing.reached && !entry.standing.relays && entry.examined != io::TimePoint{} &&
      entry.fresh_until != io::TimePoint{}) {
    entry.fresh_until = now + kept_unreached_but_known;  // its day is over, and it does not answer just now
    return;
  }
  entry.standing = std::move(found);
  entry.examined = now;
  const Standing& standing = entry.standing;
  entry.fresh_until = now + (!standing.reached ? kept_unreached : standing.relays ? kept_when_bad : kept);
  if (standing.relays && may_complain(server))
    log_line(services, admin::Level::error, open_relay_sentence(server, standing));
  if (standing.relays) return;
  if (!standing.reached || entry.logged_channel == standing.channel) return;
  entry.logged_channel = standing.channel;
  admin::Record record(services.config->log.format, admin::Level::info, "");
  record.text("event", "identity").text("downstream", server.settings->name).text("server", server.endpoint.text);
  record.text("identity", to_string(standing.channel));
  if (!standing.evidence.empty()) record.quoted("detail", standing.evidence);
  services.log(admin::Level::info, std::move(record));
}

void Identities::learn(const Services& services, const Server& server, Standing standing) {
  standing.reached = true;
  settle(services, server, entries_[key_of(server)], std::move(standing));
}

void Identities::doubt(const Server& server) {
  const auto found = entries_.find(key_of(server));
  if (found == entries_.end() || loop_.now() < found->second.examined + between_doubts) return;
  found->second.fresh_until = io::TimePoint{};
}

void Identities::doubt_all(std::shared_ptr<const io::TlsContexts> tls) {
  tls_ = std::move(tls);
  for (auto& [key, entry] : entries_) {
    entry.fresh_until = io::TimePoint{};
    entry.logged_channel = Channel::undecided;
    entry.again = entry.examining;
  }
}

bool Identities::may_complain(const Server& server) {
  return complaints_.may_be_told(key_of(server), loop_.now());
}

}  // namespace session
