#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <netinet/in.h>

#include <atomic>
#include <cstring>
#include <list>
#include <thread>
#include <vector>

#include "config/endpoint.h"
#include "proxy/admission.h"

namespace {

using std::chrono::seconds;

config::Endpoint client(const std::string& ip) {
  return config::parse_address(ip.find(':') == std::string::npos ? ip + ":40000" : "[" + ip + "]:40000").value();
}

struct Door {
  Door() : config(std::make_shared<config::Config>()) {
    config->listeners.resize(2);
    config->listeners[0].name = "in";
    config->listeners[1].name = "lmtp";
    config->listeners[1].address = config::parse_unix("unix:/run/lmtp").value();
  }
  config::Listener& listener() { return config->listeners[0]; }
  // "" or the reason.
  std::string come(const std::string& ip, std::size_t at = 0) {
    if (!admission) admission.emplace(config);
    const config::Endpoint peer = ip == "unix" ? config->listeners[1].address : client(ip);
    auto seat = admission->admit(at, peer.get(), now);
    if (!seat) return std::string(to_string(seat.error()));
    seats.push_back(std::move(*seat));
    return "";
  }
  std::shared_ptr<config::Config> config;
  std::optional<Admission> admission;
  std::list<Admission::Seat> seats;
  io::TimePoint now{seconds(1000)};
};

std::string network(const std::string& ip, unsigned four = 32, unsigned six = 64) {
  Door door;
  door.listener().client_prefix_v4 = four;
  door.listener().client_prefix_v6 = six;
  const Admission admission(door.config);
  return admission.text_of(0, admission.network_of(0, client(ip).get()));
}

}  // namespace

TEST_CASE("admission: client networks") {
  CHECK(network("192.0.2.77") == "192.0.2.77/32");
  CHECK(network("192.0.2.77", 24) == "192.0.2.0/24");
  CHECK(network("192.0.2.77", 31) == "192.0.2.76/31");
  CHECK(network("192.0.2.77", 8) == "192.0.0.0/8");
  CHECK(network("::ffff:192.0.2.77", 24) == "192.0.2.0/24");
  CHECK(network("2001:db8:1:2:3::4") == "2001:db8:1:2::/64");
  CHECK(network("2001:db8:ffff:2::", 32, 33) == "2001:db8:8000::/33");
  CHECK(network("2001:db8::4", 32, 128) == "2001:db8::4/128");
  CHECK(network("::1") == "::/64");
}

TEST_CASE("admission: totals and listeners, and a seat that is given back") {
  Door door;
  door.config->limits.max_sessions = 3;
  door.listener().max_sessions = 2;
  CHECK(door.come("192.0.2.1") == "");
  CHECK(door.come("192.0.2.1") == "");
  CHECK(door.come("192.0.2.1") == "max_sessions");
  CHECK(door.come("unix", 1) == "");
  CHECK(door.come("unix", 1) == "limits.max_sessions");
  door.seats.pop_front();
  CHECK(door.come("unix", 1) == "");
  CHECK(door.come("192.0.2.1") == "limits.max_sessions");
  door.seats.clear();
  CHECK(door.come("192.0.2.1") == "");
}

TEST_CASE("admission: sessions per client network") {
  Door door;
  door.listener().max_client_sessions = 2;
  door.listener().client_prefix_v4 = 24;
  door.config->listeners[1].max_client_sessions = 1;
  CHECK(door.come("192.0.2.1") == "");
  CHECK(door.come("192.0.2.2") == "");
  CHECK(door.come("192.0.2.3") == "max_client_sessions");
  CHECK(door.come("192.0.3.3") == "");
  CHECK(door.come("127.0.0.1") == "");
  CHECK(door.come("127.0.0.1") == "");
  CHECK(door.come("127.0.0.1") == "max_client_sessions");
  CHECK(door.come("unix", 1) == "");
  CHECK(door.come("unix", 1) == "max_client_sessions");
  door.seats.pop_front();
  CHECK(door.come("192.0.2.3") == "");
  door.seats.clear();
  CHECK(door.admission->networks() == 0);
}

TEST_CASE("admission: connections per client network and minute, refused ones among them") {
  Door door;
  door.listener().max_client_connections = 2;
  CHECK(door.come("192.0.2.1") == "");
  door.seats.clear();
  door.now += seconds(59);
  CHECK(door.come("192.0.2.1") == "");
  CHECK(door.come("192.0.2.1") == "max_client_connections");
  CHECK(door.come("192.0.2.2") == "");
  door.now += seconds(1);
  CHECK(door.come("192.0.2.1") == "");
}

TEST_CASE("admission: connections of a minute, of a listener and of all") {
  Door door;
  door.now = io::TimePoint(seconds(6000));  // a minute begins
  door.listener().max_connections = 2;
  door.config->limits.max_connections = 3;
  CHECK(door.come("192.0.2.1") == "");
  CHECK(door.come("192.0.2.2") == "");
  for (int i = 0; i < 9; ++i) CHECK(door.come("192.0.2.3") == "max_connections");
  CHECK(door.come("unix", 1) == "");
  CHECK(door.come("unix", 1) == "limits.max_connections");
  door.seats.clear();
  door.now += seconds(59);
  CHECK(door.come("192.0.2.4") == "max_connections");
  CHECK(door.admission->was_full(0));
  door.now += seconds(1);
  CHECK(door.come("192.0.2.4") == "");
  CHECK(door.come("unix", 1) == "");
}

TEST_CASE("admission: a rate that all loops count together") {
  Door door;
  door.listener().max_connections = 500;
  door.admission.emplace(door.config);
  std::atomic<int> admitted = 0;
  std::vector<std::thread> loops;
  for (int i = 0; i < 4; ++i)
    loops.emplace_back([&] {
      for (int j = 0; j < 1000; ++j) admitted += door.admission->admit(0, client("192.0.2.1").get(), door.now) ? 1 : 0;
    });
  for (std::thread& loop : loops) loop.join();
  CHECK(admitted == 500);
}

TEST_CASE("admission: memory") {
  Door door;
  door.config->limits.memory = 1000;
  CHECK(door.come("192.0.2.1") == "");
  door.admission->note_memory(1000);
  CHECK(door.come("192.0.2.1") == "limits.memory");
  door.admission->note_memory(999);
  CHECK(door.come("192.0.2.1") == "");
}

TEST_CASE("admission: behind a PROXY header the told client counts, not the peer") {
  Door door;
  door.listener().max_client_sessions = 1;
  door.listener().proxy_header = config::ProxyHeader::v2;
  door.listener().proxy_from.push_back(*config::parse_netmask("127.0.0.1"));
  CHECK(door.come("127.0.0.1") == "");
  CHECK(door.come("127.0.0.1") == "");
  Admission::Seat& first = door.seats.front();
  Admission::Seat& second = door.seats.back();
  const config::Endpoint told = client("192.0.2.9"), other = client("192.0.2.10");
  CHECK_FALSE(door.admission->recount(first, told.get(), door.now));
  CHECK(door.admission->recount(second, told.get(), door.now) == Refusal::client_sessions);
  CHECK_FALSE(door.admission->recount(first, other.get(), door.now));
  CHECK_FALSE(door.admission->recount(second, told.get(), door.now));
  door.seats.clear();
  CHECK(door.admission->networks() == 0);
}

TEST_CASE("admission: by XCLIENT the told client counts from then on, and the peer no more") {
  Door door;
  door.listener().max_client_sessions = 1;
  door.listener().max_client_connections = 2;
  door.listener().xclient_from.push_back(*config::parse_netmask("127.0.0.1"));
  const config::Endpoint told = client("192.0.2.9"), other = client("192.0.2.10");
  CHECK(door.come("127.0.0.1") == "");
  CHECK(door.come("127.0.0.1") == "max_client_sessions");  // it has not said for whom it speaks
  CHECK_FALSE(door.admission->recount(door.seats.front(), told.get(), door.now));
  CHECK(door.come("192.0.2.9") == "max_client_sessions");
  // Only the connections that the peer has kept are its own: here the one that was refused.
  CHECK(door.come("127.0.0.1") == "");
  CHECK_FALSE(door.admission->recount(door.seats.back(), other.get(), door.now));
  CHECK(door.come("127.0.0.1") == "");
  // Two of 192.0.2.9 so far; the next one who is told to be it is one too many.
  CHECK(door.admission->recount(door.seats.back(), told.get(), door.now) == Refusal::client_connections);
  door.seats.clear();
  CHECK(door.come("192.0.2.10") == "");
  CHECK(door.come("192.0.2.10") == "max_client_connections");
}

TEST_CASE("admission: the table is bounded, whoever comes; those who are here stay counted") {
  Door door;
  door.listener().max_client_connections = 1;
  door.listener().max_client_sessions = 1;
  door.listener().max_sessions = door.config->limits.max_sessions = 10'000'000;
  door.listener().client_prefix_v6 = 128;
  REQUIRE(door.come("192.0.2.1") == "");
  for (unsigned i = 0; i < Admission::most_idle_networks + 1000; ++i) {
    sockaddr_in6 six{};
    six.sin6_family = AF_INET6;
    six.sin6_addr.s6_addr[0] = 0x20;
    std::memcpy(&six.sin6_addr.s6_addr[8], &i, sizeof i);
    REQUIRE(door.admission->admit(0, reinterpret_cast<const sockaddr*>(&six), door.now));
    REQUIRE(door.admission->networks() <= Admission::most_idle_networks + 2);
  }
  door.now += std::chrono::minutes(2);
  CHECK(door.come("192.0.2.1") == "max_client_sessions");
}

TEST_CASE("admission: loops at the same time never admit one too many, and all seats come back") {
  Door door;
  door.listener().max_sessions = 10;
  door.listener().max_client_sessions = 6;
  Admission admission(door.config);
  std::atomic<int> inside{0}, most{0};
  std::vector<std::thread> loops;
  for (int t = 0; t < 4; ++t)
    loops.emplace_back([&, t] {
      const config::Endpoint peer = client("192.0.2." + std::to_string(t % 2));
      for (int i = 0; i < 5000; ++i) {
        std::list<Admission::Seat> seats;
        for (int k = 0; k < 5; ++k) {
          auto seat = admission.admit(0, peer.get(), io::Clock::now());
          if (!seat) continue;
          const int here = ++inside;
          int before = most;
          while (here > before && !most.compare_exchange_weak(before, here)) {
          }
          seats.push_back(std::move(*seat));
        }
        inside -= static_cast<int>(seats.size());
      }
    });
  for (std::thread& loop : loops) loop.join();
  CHECK(most <= 10);
  CHECK(most > 0);
  CHECK(admission.networks() == 0);
  for (int i = 0; i < 6; ++i)
    door.seats.push_back(std::move(admission.admit(0, client("192.0.2.1").get(), {}).value()));
  CHECK_FALSE(admission.admit(0, client("192.0.2.1").get(), {}));
  door.seats.clear();
}

TEST_CASE("refusals: one line at once, then one per 10 s with what came in between, and none for ever") {
  Refusals refusals;
  io::TimePoint now{seconds(1000)};
  const Network a{1}, b{2};
  const auto add = [&](Refusal reason, const Network& from) {
    const auto line = refusals.add(reason, 0, from, now);
    return line ? line->count : 0;
  };
  CHECK(add(Refusal::client_sessions, a) == 1);
  CHECK(add(Refusal::client_sessions, a) == 0);
  CHECK(add(Refusal::client_sessions, b) == 1);
  CHECK(add(Refusal::client_connections, a) == 1);
  CHECK(add(Refusal::sessions, a) == 1);
  CHECK(add(Refusal::sessions, b) == 0);  // full for everybody: no matter who
  CHECK(refusals.due(now + seconds(9)).empty());
  now += seconds(10);
  CHECK(add(Refusal::client_sessions, a) == 2);
  CHECK(add(Refusal::client_sessions, a) == 0);
  const auto due = refusals.due(now);
  REQUIRE(due.size() == 1);
  CHECK(due[0].reason == Refusal::sessions);
  CHECK(due[0].count == 1);
  now += seconds(10);
  const auto later = refusals.due(now);
  REQUIRE(later.size() == 1);
  CHECK(later[0].network == a);
  CHECK(later[0].count == 1);
  CHECK(refusals.due(now + seconds(60)).empty());
  CHECK(add(Refusal::client_sessions, b) == 1);
}

TEST_CASE("refusals: all of them are counted, whatever the log was told") {
  Refusals refusals;
  const io::TimePoint now{seconds(1000)};
  CHECK(refusals.in_all().empty());
  for (int i = 0; i < 3; ++i) refusals.add(Refusal::xclient_from, 0, Network{1}, now);
  refusals.add(Refusal::xclient_from, 0, Network{2}, now);
  refusals.add(Refusal::xclient_from, 1, Network{1}, now);
  refusals.add(Refusal::sessions, 0, Network{1}, now);
  const auto all = refusals.in_all();
  REQUIRE(all.size() == 3);
  CHECK(all[0].reason == Refusal::sessions);
  CHECK(all[0].count == 1);
  CHECK(to_string(all[1].reason) == "xclient_from");
  CHECK(all[1].listener == 0);
  CHECK(all[1].count == 4);
  CHECK(all[2].listener == 1);
  CHECK(all[2].count == 1);
  // What tells who the client is has a reply of its own.
  CHECK(farewell(Refusal::xclient_from).empty());
  CHECK(is_for_network(Refusal::proxy_from));
}

TEST_CASE("refusals: peers that introduce others do not take the place of clients that were turned away") {
  Refusals refusals;
  const io::TimePoint now{seconds(1000)};
  const auto network = [](unsigned i) {
    Network out{};
    std::memcpy(out.data(), &i, sizeof i);
    return out;
  };
  for (unsigned i = 1; i <= 5000; ++i) refusals.add(Refusal::xclient_from, 0, network(i), now);
  const auto line = refusals.add(Refusal::client_sessions, 0, network(7), now);
  REQUIRE(line);
  CHECK(line->network == network(7));
  refusals.due(now + seconds(10));
  refusals.due(now + seconds(20));  // they are forgotten, and there is room
  const auto later = refusals.add(Refusal::xclient_from, 0, network(6000), now + seconds(30));
  REQUIRE(later);
  CHECK(later->network == network(6000));
}

TEST_CASE("refusals: from more networks than can be known, all further ones are one") {
  Refusals refusals;
  const io::TimePoint now{seconds(1000)};
  std::size_t lines = 0;
  std::uint64_t others = 0;
  for (unsigned i = 1; i <= 5000; ++i) {
    Network network{};
    std::memcpy(network.data(), &i, sizeof i);
    const auto line = refusals.add(Refusal::client_sessions, 0, network, now);
    if (line) ++lines;
    if (line && line->network == other_networks) others += line->count;
  }
  CHECK(lines == Refusals::most_known + 1);
  CHECK(others == 1);
  const auto due = refusals.due(now + seconds(10));
  REQUIRE(due.size() == 1);
  CHECK(due[0].network == other_networks);
  CHECK(due[0].count == 5000 - Refusals::most_known - 1);
}
