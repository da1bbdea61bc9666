#include "proxy/supervisor/ban_orders.h"

#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <sstream>

#include "config/duration.h"
#include "firewall/bans.h"
#include "firewall/local_addresses.h"
#include "proxy/supervisor/privileges.h"

namespace supervisor {
namespace {

using admin::Level;
using std::chrono::seconds;

constexpr seconds longest_work{60}, between_tokens{1}, between_lines{10}, same_again{5};
constexpr std::size_t most_recent = 4096;
constexpr unsigned most_refused_lines = 5;  // of one second
constexpr std::size_t longest_answer = 1024;

// What the child says of an order: "banned SECONDS NETWORK", or "before ..." where that ban was there already. Anything
// else is why it failed.
constexpr std::string_view banned_word = "banned", before_word = "before";

std::string answer_of(const std::expected<firewall::Standing, std::string>& done) {
  if (!done) return done.error().empty() ? "failed" : done.error().substr(0, longest_answer);
  return fmt::format("{} {} {}", done->before ? before_word : banned_word, done->ban.left.count(), done->ban.network);
}

std::optional<firewall::Standing> standing_in(const std::string& answer) {
  std::istringstream words(answer);
  std::string word, network;
  seconds::rep left = 0;
  if (!(words >> word >> left >> network) || !words.eof() || (word != banned_word && word != before_word))
    return std::nullopt;
  return firewall::Standing{{network, seconds(left)}, word == before_word};
}

config::Netmask address_alone(const protocol::IpAddress& client) {
  return config::network_around(mapped(unmapped(client)).octets, 128);
}

config::Netmask literal(std::string_view text) { return *config::parse_netmask(text); }

// Nobody comes from there, or what is there is needed by more than one.
const std::vector<config::Netmask>& special_networks() {
  static const std::vector<config::Netmask> all{literal("0.0.0.0/8"), literal("127.0.0.0/8"), literal("224.0.0.0/3"),
                                                literal("::"),        literal("::1"),         literal("fe80::/10"),
                                                literal("ff00::/8")};
  return all;
}

std::vector<config::Netmask> addresses_of(const std::vector<config::Endpoint>& endpoints) {
  std::vector<config::Netmask> all;
  for (const config::Endpoint& each : endpoints)
    if (each.get()->sa_family == AF_INET || each.get()->sa_family == AF_INET6)
      all.push_back(config::network_around(config::octets_of(each.get()), 128));
  return all;
}

struct Spared {
  std::vector<config::Netmask> networks;
  std::string why;
};

std::vector<Spared> spared_by(const config::Config& config) {
  std::vector<Spared> all{{config.firewall.bans.never, "firewall.bans.never lists it"},
                          {special_networks(), "it is no address of one client"},
                          {{literal("198.18.0.0/15"), literal("2001:2::/48")}, "it is for tests of networks: firewall verify has it"},
                          {addresses_of(config.dns.forwarders), "it is a name server of ours"}};
  for (const config::Listener& each : config.listeners) {
    all.push_back({each.protected_networks, "it is one of the servers that listener " + each.name + " protects"});
    all.push_back({each.skip_sources, "listener " + each.name + " skips it"});
    for (const auto* trusted : {&each.proxy_from, &each.xclient_from, &each.xforward_from, &each.received_from})
      all.push_back({*trusted, "listener " + each.name + " trusts it to speak for others"});
  }
  for (const auto& [name, downstream] : config.downstreams)
    all.push_back({addresses_of(downstream.servers), "it is a server of downstream " + name});
  return all;
}

bool any_overlap(const std::vector<config::Netmask>& all, const config::Netmask& network) {
  return std::ranges::any_of(all, [&](const config::Netmask& each) { return overlap(each, network); });
}

}  // namespace

std::expected<config::Netmask, std::string> whom_to_ban(const BanRequest& request, const config::Config& config,
                                                        const std::vector<config::Netmask>& own) {
  if (request.told) return std::unexpected<std::string>("its packets are those of a peer that speaks for it");
  if (own.empty()) return std::unexpected<std::string>("the addresses of this host are not known now");
  std::vector<Spared> spared = spared_by(config);
  spared.push_back({own, "it is an address of this host"});
  const auto why_not = [&](const config::Netmask& network) -> const std::string* {
    const auto found =
        std::ranges::find_if(spared, [&](const Spared& each) { return any_overlap(each.networks, network); });
    return found == spared.end() ? nullptr : &found->why;
  };
  const config::Netmask wide = client_network(config.listeners.at(request.listener), request.client);
  if (why_not(wide) == nullptr) return wide;
  config::Netmask single = address_alone(request.client);
  if (const std::string* why = why_not(single)) return std::unexpected(*why);
  return single;
}

std::string BanOrders::Order::reason() const {
  return fmt::format("{}, listener {}", to_string(request.what), listener->name);
}

void BanOrders::take(const Message& message, Clock::time_point now) {
  const auto request = ended_ ? std::nullopt : ban_request_in(message, *config_);
  if (!request) return;
  if (now - judged_since_ >= seconds{1}) {
    judged_since_ = now;
    judged_ = refused_ = 0;
  }
  if (++judged_ > most_judged || waiting_.size() >= most_waiting) return drop(now);
  const auto network = whom_to_ban(*request, *config_, firewall::own_addresses());
  if (!network) return refuse(*request, network.error(), now);
  const config::Listener& listener = config_->listeners[request->listener];
  const auto time = std::chrono::ceil<seconds>(listener.bans.rule_for(request->what).time);
  if (known(network->text, std::min(same_again, (time + seconds{1}) / 2), time, now)) return;
  waiting_.push_back({*request, *network, time, &listener});
}

void BanOrders::end() {
  ended_ = true;
  if (!waiting_.empty())
    log_.say(0, Level::info, fmt::format("{} clients are not banned any more: gatepost ends", waiting_.size()));
  waiting_.clear();
}

// Heard a moment ago: a client goes on in the session that it has. If not, it counts from now on.
bool BanOrders::known(const std::string& name, seconds pause, seconds time, Clock::time_point now) {
  const auto found = recent_.find(name);
  if (found != recent_.end() && now < found->second.until && time <= found->second.time) return true;
  if (recent_.size() >= most_recent)
    std::erase_if(recent_, [now](const auto& each) { return now >= each.second.until; });
  if (recent_.size() >= most_recent) recent_.clear();
  recent_[name] = {now + pause, time};
  return false;
}

void BanOrders::refuse(const BanRequest& request, const std::string& why, Clock::time_point now) {
  const std::string client = to_text(request.client);
  if (known("not " + client, between_lines, {}, now) || ++refused_ > most_refused_lines) return;
  admin::Record line = log_.record(Level::warning);
  line.text("event", "not_banned").text("client", client);
  line.listener(config_->listeners[request.listener]).text("reason", to_string(request.what));
  line.message(why);
  log_.write(0, Level::warning, std::move(line));
}

void BanOrders::drop(Clock::time_point now) {
  ++dropped_;
  tell_dropped(now);
}

void BanOrders::tell_dropped(Clock::time_point now) {
  if (dropped_ == 0 || (told_dropped_ != Clock::time_point{} && now - told_dropped_ < between_lines)) return;
  told_dropped_ = now;
  log_.say(0, Level::error,
           fmt::format("{} clients are not banned: too many bans at once", std::exchange(dropped_, 0)));
}

void BanOrders::refill(Clock::time_point now) {
  if (refilled_ == Clock::time_point{}) refilled_ = now;
  const auto tokens = static_cast<std::uint64_t>((now - refilled_) / between_tokens);
  refilled_ += between_tokens * tokens;
  budget_ = static_cast<unsigned>(std::min<std::uint64_t>(most_at_once, budget_ + tokens));
}

void BanOrders::act(Clock::time_point now) {
  worker_.kill_overdue(now);
  refill(now);
  tell_dropped(now);
  if (worker_.running() || !worker_.due(now) || waiting_.empty() || budget_ == 0) return;
  while (!waiting_.empty() && budget_ > 0 && under_way_.size() < most_of_one_child) {
    under_way_.push_back(std::move(waiting_.front()));
    waiting_.pop_front();
    --budget_;
  }
  const pid_t parent = ::getpid();
  const auto body = [this, parent](scanner::OwnedFd control) {
    if (!die_with(parent)) return EX_OSERR;
    for (const Order& each : under_way_) {
      const auto client = address_alone(each.request.client);
      const auto done = firewall::ban_for_offence(each.network, client, each.time, each.reason());
      scanner::send_packet(control.get(), answer_of(done));
    }
    return EX_OK;
  };
  if (worker_.fork(body, {})) return worker_.expect_end(now + longest_work);
  const std::string why = fmt::format("no process for it: {}", std::strerror(errno));
  for (const Order& each : under_way_) tell(each, why);
  under_way_.clear();
  worker_.buried(now);  // and so a pause before the next try
}

std::optional<Clock::time_point> BanOrders::next_due(Clock::time_point now) const {
  if (worker_.running()) return worker_.kill_at();
  std::optional<Clock::time_point> due;
  if (dropped_ != 0) due = told_dropped_ + between_lines;
  if (waiting_.empty()) return due;
  const Clock::time_point next = std::max(worker_.start_at(), budget_ > 0 ? now : refilled_ + between_tokens);
  return due ? std::min(*due, next) : next;
}

void BanOrders::add_poll(std::vector<pollfd>& polls) const {
  if (worker_.control() >= 0) polls.push_back({worker_.control(), POLLIN, 0});
}

void BanOrders::hear() {
  while (const auto answer = worker_.heard()) {
    if (under_way_.empty()) continue;
    tell(under_way_.front(), *answer);
    under_way_.pop_front();
  }
}

bool BanOrders::bury(pid_t pid, Clock::time_point now) {
  if (pid <= 0 || worker_.pid() != pid) return false;
  hear();  // what it said before it died
  for (const Order& each : under_way_) tell(each, "its process was killed");
  under_way_.clear();
  worker_.buried(now);
  return true;
}

// The one line for the operator: who, why, how long, and how to lift it.
void BanOrders::tell(const Order& order, const std::string& outcome) {
  const auto banned = standing_in(outcome);
  if (!banned && ended_) return;
  if (!banned) recent_.erase(order.network.text);
  const Level level = banned ? Level::warning : Level::error;
  admin::Record line = log_.record(level);
  line.text("event", banned ? "banned" : "ban_failed").text("client", to_text(order.request.client));
  const std::string& network = banned ? banned->ban.network : order.network.text;
  line.text("network", network).listener(*order.listener).text("reason", to_string(order.request.what));
  const seconds time = banned ? banned->ban.left : order.time;
  line.text("for", time == seconds{0} ? "until removed" : config::format_duration(time));
  if (banned) line.quoted("lift", "gatepost bans remove " + network);
  if (!banned) line.message(outcome);
  else if (banned->before) line.message("that ban was there already");
  log_.write(0, level, std::move(line));
}

}  // namespace supervisor
