// What the proxy may have banned, and what not, whatever it says.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>

#include "config/endpoint.h"
#include "proxy/supervisor/ban_orders.h"

using config::Offence;
using supervisor::ban_request_in;
using supervisor::BanRequest;
using supervisor::Message;
using namespace std::chrono_literals;

namespace {

config::Netmask net(const std::string& text) { return config::parse_netmask(text).value(); }

std::shared_ptr<config::Config> some_config() {
  auto config = std::make_shared<config::Config>();
  config->listeners.resize(2);
  config->listeners[0].name = "in";
  config->listeners[0].bans.infected = {1, 10min, 90s};
  config->listeners[0].intercept = config::Intercept::redirect;
  config->listeners[0].protected_networks = {net("192.0.2.24/29")};
  config->listeners[0].skip_sources = {net("198.51.100.64/28"), net("2001:db8:e::7")};
  config->listeners[0].xclient_from = {net("198.51.100.3")};
  config->listeners[0].received_from = {net("198.51.100.4")};
  config->listeners[1].name = "out";
  config->listeners[1].direction = config::Direction::outgoing;
  config->listeners[1].bans.errors = {5, 10min, 1h};
  config->listeners[1].xforward_from = {net("2001:db8:f::/48")};
  config->firewall.bans.never = {net("203.0.113.0/28"), net("2001:db8:a::7")};
  config->downstreams["mta"].servers = {config::parse_address("192.0.2.99:25").value(),
                                        config::parse_unix("unix:/run/mta").value()};
  config->dns.forwarders = {config::parse_address("192.0.2.53:53").value()};
  return config;
}
const std::vector<config::Netmask> own{net("203.0.113.200"), net("2001:db8:b::1")};

std::string whom(const std::string& ip, std::uint32_t listener = 0) {
  const auto config = some_config();
  const auto found =
      supervisor::whom_to_ban({listener, Offence::infected, *protocol::parse_ip(ip), false}, *config, own);
  return found ? found->text : "not: " + found.error();
}

}  // namespace

TEST_CASE("a request for a ban survives the way; anything else is none") {
  const auto config = some_config();
  for (const char* ip : {"192.0.2.1", "2001:db8::1"})
    for (const bool told : {false, true}) {
      const BanRequest request{0, Offence::infected, *protocol::parse_ip(ip), told};
      const auto decoded = supervisor::decode(encode(message_of(request)));
      REQUIRE(decoded);
      CHECK(ban_request_in(*decoded, *config) == request);
    }
  const auto mapped = ban_request_in({Message::Kind::offence, 0, "infected ::ffff:192.0.2.1"}, *config);
  REQUIRE(mapped);
  CHECK(mapped->client == *protocol::parse_ip("192.0.2.1"));
  for (const char* text :
       {"", " ", "infected", "infected ", "infected  192.0.2.1", "infected 192.0.2.1 ", "infected 192.0.2.0/24",
        "infected 0.0.0.0/0", "infected 192.0.2.1 told told", "infected nobody", "virus 192.0.2.1", "errors 192.0.2.1",
        "infected 192.0.2.1; reboot", "infected $(reboot)", "infected 192.0.2.1\n192.0.2.2", "infected -192.0.2.1",
        "infected 192.0.2.1 timeout 0", "infected fe80::1%eth0", "infected 192.0.2.256"}) {
    CAPTURE(text);
    CHECK_FALSE(ban_request_in({Message::Kind::offence, 0, text}, *config));
  }
  CHECK_FALSE(ban_request_in({Message::Kind::offence, 0, std::string("infected 192.0.2.1\0", 19)}, *config));
  CHECK_FALSE(ban_request_in({Message::Kind::offence, 2, "infected 192.0.2.1"}, *config));
  CHECK_FALSE(ban_request_in({Message::Kind::offence, 0xffffffff, "infected 192.0.2.1"}, *config));
  CHECK_FALSE(ban_request_in({Message::Kind::offence, 1, "infected 192.0.2.1"}, *config));  // no rule of that listener
  CHECK_FALSE(ban_request_in({Message::Kind::ready, 0, "infected 192.0.2.1"}, *config));
}

TEST_CASE("who is banned: the client's network, IPv6 by its /64, our own clients one by one") {
  CHECK(whom("198.51.100.9") == "198.51.100.9");
  CHECK(whom("2001:db8:1:2:3:4:5:6") == "2001:db8:1:2::/64");
  CHECK(whom("2001:db8:1:2:3:4:5:6", 1) == "2001:db8:1:2:3:4:5:6");
  CHECK(whom("198.51.100.9", 1) == "198.51.100.9");
  // Where somebody who is spared lives in the same network, the client alone.
  CHECK(whom("2001:db8:a::8") == "2001:db8:a::8");
  CHECK(whom("2001:db8:b::8") == "2001:db8:b::8");
  CHECK(whom("2001:db8:e::8") == "2001:db8:e::8");
}

TEST_CASE("whom nothing may ban") {
  for (const char* each : {"203.0.113.0", "203.0.113.15", "2001:db8:a::7"})
    CHECK(whom(each) == "not: firewall.bans.never lists it");
  for (const char* each : {"203.0.113.200", "2001:db8:b::1"}) CHECK(whom(each) == "not: it is an address of this host");
  for (const char* each : {"127.0.0.1", "127.9.9.9", "::1", "0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "ff02::1",
                           "fe80::1", "fe80:0:0:1::1"})
    CHECK(whom(each) == "not: it is no address of one client");
  for (const char* each : {"198.18.25.2", "2001:2:0:25::2"})
    CHECK(whom(each) == "not: it is for tests of networks: firewall verify has it");
  CHECK(whom("192.0.2.25") == "not: it is one of the servers that listener in protects");
  for (const char* each : {"198.51.100.64", "2001:db8:e::7"})
    for (const std::uint32_t listener : {0U, 1U}) CHECK(whom(each, listener) == "not: listener in skips it");
  CHECK(whom("192.0.2.99") == "not: it is a server of downstream mta");
  CHECK(whom("192.0.2.53") == "not: it is a name server of ours");
  for (const char* each : {"198.51.100.3", "198.51.100.4"})
    CHECK(whom(each) == "not: listener in trusts it to speak for others");
  CHECK(whom("2001:db8:f:1::9") == "not: listener out trusts it to speak for others");
  const auto config = some_config();
  const BanRequest told{0, Offence::infected, *protocol::parse_ip("198.51.100.9"), true};
  CHECK(whom_to_ban(told, *config, own).error() == "its packets are those of a peer that speaks for it");
  const BanRequest plain{0, Offence::infected, *protocol::parse_ip("198.51.100.9"), false};
  CHECK(whom_to_ban(plain, *config, {}).error() == "the addresses of this host are not known now");
}

TEST_CASE("a client of whom a peer told is not banned, and the log has it, once in ten seconds") {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  const auto config = some_config();
  {
    admin::Log log(config->log, "test", pipe_ends[1], 0);
    supervisor::BanOrders orders(config, log);
    supervisor::Clock::time_point now{std::chrono::hours(1)};
    const BanRequest told{0, Offence::infected, *protocol::parse_ip("198.51.100.9"), true};
    for (int i = 0; i < 20; ++i, now += 1s) orders.take(message_of(told), now);
    CHECK(orders.waiting() == 0);
  }
  ::close(pipe_ends[1]);
  std::string said(65536, '\0');
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(pipe_ends[0], said.data(), said.size()), 0)));
  ::close(pipe_ends[0]);
  CHECK(said.find("event=not_banned, client=198.51.100.9, listener=in, direction=incoming, reason=infected, its packets "
                  "are those of a peer that speaks for it") != std::string::npos);
  CHECK(std::count(said.begin(), said.end(), '\n') == 2);
}

TEST_CASE("orders of bans: neither twice, nor without bound") {
  int pipe_ends[2];
  REQUIRE(::pipe(pipe_ends) == 0);
  const auto config = some_config();
  {
    admin::Log log(config->log, "test", pipe_ends[1], 0);
    supervisor::BanOrders orders(config, log);
    supervisor::Clock::time_point now{std::chrono::hours(1)};
    const auto ask = [&](const std::string& ip) { orders.take({Message::Kind::offence, 0, "infected " + ip}, now); };
    ask("198.51.100.9");
    ask("198.51.100.9");
    CHECK(orders.waiting() == 1);
    now += 6s;
    ask("198.51.100.9");
    CHECK(orders.waiting() == 2);
    // A longer one is no second one; then the shorter one is.
    const Message longer{Message::Kind::offence, 1, "errors 198.51.100.9"};
    orders.take(longer, now + 1s);
    CHECK(orders.waiting() == 3);
    orders.take(longer, now + 2s);
    ask("198.51.100.9");
    CHECK(orders.waiting() == 3);
    for (const char* each : {"203.0.113.1", "127.0.0.1", "rubbish"}) ask(each);
    CHECK(orders.waiting() == 3);
    // A proxy that asks as fast as it can: so many are looked at in a second, and so many wait.
    for (int second = 0; second < 5; ++second, now += 1s)
      for (int i = 0; i < 1000; ++i)
        ask("10." + std::to_string(second) + "." + std::to_string(i / 250) + "." + std::to_string(i % 250));
    CHECK(orders.waiting() == supervisor::BanOrders::most_waiting);
    orders.end();
    now += 60s;
    ask("198.51.100.77");
    CHECK(orders.waiting() == 0);
  }
  ::close(pipe_ends[1]);
  std::string said(65536, '\0');
  said.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(pipe_ends[0], said.data(), said.size()), 0)));
  ::close(pipe_ends[0]);
  CHECK(said.find("clients are not banned: too many bans at once") != std::string::npos);
  CHECK(said.find("not_banned") != std::string::npos);
  CHECK(said.find("256 clients are not banned any more: gatepost ends") != std::string::npos);
  CHECK(std::count(said.begin(), said.end(), '\n') <= 4);
}
