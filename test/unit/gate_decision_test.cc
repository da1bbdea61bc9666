#include <doctest/doctest.h>
#include <netinet/in.h>

#include <algorithm>
#include <random>
#include <set>

#include "config_fixture.h"
#include "firewall/gate/decision.h"
#include "firewall/gate/kernel_counts.h"
#include "firewall/marks.h"

namespace {

using gate::Address;
using gate::Clock;
using gate::ConnectionRates;
using gate::Decision;
using gate::Fault;
using gate::Gate;
using gate::Listener;
using gate::network_of;
using gate::Settings;
using gate::Syn;
using std::chrono::seconds;

const Clock::time_point start = Clock::time_point(std::chrono::minutes(1000));

Address v4(std::uint32_t host) {
  Address out{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  for (unsigned i = 0; i < 4; ++i) out[12 + i] = static_cast<std::uint8_t>(host >> (24 - 8 * i));
  return out;
}
Address v6(std::uint64_t network, std::uint64_t host) {
  Address out{};
  for (unsigned i = 0; i < 8; ++i) {
    out[i] = static_cast<std::uint8_t>(network >> (56 - 8 * i));
    out[8 + i] = static_cast<std::uint8_t>(host >> (56 - 8 * i));
  }
  return out;
}
Syn from(const Address& source) {
  return {.source = source, .destination = v4(0xC0000219), .source_port = 1, .destination_port = 25};
}

TEST_CASE("gate rates: a sliding minute") {
  ConnectionRates rates(1);
  for (std::uint32_t i = 1; i <= 60; ++i) CHECK(rates.count(1, v4(1), start + seconds(i - 1)) == i);
  // Sixty a minute go on: it stays at about sixty, and does not begin again.
  for (std::uint32_t i = 0; i < 600; ++i) {
    const std::uint32_t now = rates.count(1, v4(1), start + seconds(60 + i));
    CHECK(now >= 60);
    CHECK(now <= 61);
  }
  // Half a minute of silence takes half of it, a minute and more all.
  CHECK(rates.count(1, v4(1), start + seconds(690)) == 31);
  CHECK(rates.count(1, v4(1), start + seconds(840)) == 1);
}

TEST_CASE("gate rates: networks and listeners are counted by themselves") {
  ConnectionRates rates(2);
  for (std::uint32_t i = 1; i <= 3; ++i) {
    CHECK(rates.count(1, v4(1), start) == i);
    CHECK(rates.count(1, v4(2), start) == i);
    CHECK(rates.count(2, v4(1), start) == i);
    CHECK(rates.count(1, v6(1, 0), start) == i);
  }
}

TEST_CASE("gate rates: a flood from everywhere forgets those who connect least") {
  ConnectionRates rates(3);
  for (int i = 0; i < 1000; ++i) rates.count(1, v4(7), start);
  for (std::uint64_t i = 0; i < 4 * ConnectionRates::sets * ConnectionRates::ways; ++i)
    rates.count(1, v6(i + 1, 0), start);
  CHECK(rates.count(1, v4(7), start) == 1001);
}

TEST_CASE("gate rates: what a network is") {
  CHECK(network_of(v4(0xCB007109), 24, 64) == v4(0xCB007100));
  CHECK(network_of(v4(0xCB007109), 32, 64) == v4(0xCB007109));
  CHECK(network_of(v4(0xCB007109), 0, 64) == v4(0));
  CHECK(network_of(v6(0x20010DB8'0000FFFF, 9), 24, 64) == v6(0x20010DB8'0000FFFF, 0));
  CHECK(network_of(v6(0x20010DB8'0000FFFF, 9), 24, 56) == v6(0x20010DB8'0000FF00, 0));
  CHECK(network_of(v6(0x20010DB8'0000FFFF, 9), 24, 128) == v6(0x20010DB8'0000FFFF, 9));
  CHECK(network_of(v6(0x20010DB8'0000FFFF, 9), 24, 0) == v6(0, 0));
}

Settings settings(bool open) {
  Settings out{.open = open, .length = 1};
  out.listeners.push_back({.name = "in", .queue = 5, .connections = 2, .prefix_v4 = 24});
  out.listeners.push_back({.name = "out", .queue = 6});
  return out;
}

TEST_CASE("gate decision: take, pass, reset, drop") {
  Gate gate(settings(false), 4);
  CHECK(gate.decide(5, from(v4(0xCB007101)), start) == Decision::take);
  CHECK(gate.decide(5, from(v4(0xCB007102)), start) == Decision::take);
  CHECK(gate.decide(5, from(v4(0xCB007103)), start) == Decision::reset);  // the same /24
  CHECK(gate.decide(5, from(v4(0xCB007203)), start) == Decision::take);
  CHECK(gate.decide(5, from(v4(0xCB007103)), start + seconds(120)) == Decision::take);
  const Syn other = from(v4(0x0A000001));
  for (int i = 0; i < 10; ++i) CHECK(gate.decide(6, other, start) == Decision::take);  // no limit here
  CHECK(gate.decide(7, other, start) == Decision::drop);  // nobody's queue
  CHECK(gate.decide(5, std::unexpected(Fault::truncated), start) == Decision::drop);
  CHECK(gate.counts() == gate::Counts{.take = 14, .reset = 1, .drop = 2});
}

TEST_CASE("gate decision: while the proxy is not ready") {
  for (const bool open : {false, true}) {
    Gate gate(settings(open), 5);
    gate.set_ready(false);
    const Decision decision = open ? Decision::pass : Decision::reset;
    CHECK(gate.decide(5, from(v4(1)), start) == decision);
    CHECK(gate.counts().unready == 1);
    // A flood is not let by either.
    for (int i = 0; i < 3; ++i) gate.decide(5, from(v4(1)), start);
    CHECK(gate.decide(5, from(v4(1)), start) == Decision::reset);
    gate.set_ready(true);
    CHECK(gate.decide(5, from(v4(0x02000000)), start) == Decision::take);
  }
}

TEST_CASE("gate decision: while a listener is full") {
  for (const bool open : {true, false}) {
    Settings settings;
    settings.open = open;
    settings.listeners = {{.name = "a", .queue = 7}, {.name = "b", .queue = 8}};
    Gate gate(settings, 1);
    gate.set_full(8, true);
    gate.set_full(9, true);  // nobody's
    CHECK(gate.decide(7, from(v4(1)), start) == Decision::take);
    CHECK(gate.decide(8, from(v4(1)), start) == (open ? Decision::pass : Decision::reset));
    gate.set_ready(false);
    CHECK(gate.decide(8, from(v4(1)), start) == (open ? Decision::pass : Decision::reset));
    gate.set_ready(true);
    gate.set_full(8, false);
    CHECK(gate.decide(8, from(v4(1)), start) == Decision::take);
    gate.set_full(7, true);
    CHECK(gate.counts().full == 1);
    CHECK(gate.counts().unready == 1);
  }
}

TEST_CASE("gate: what the kernel says of the queues") {
  using gate::KernelCounts;
  const std::vector<std::uint16_t> queues{100, 101};
  const std::string line = "  100  12345     0 2   512     7     9       40  1\n";
  CHECK(gate::kernel_counts(line, queues) == KernelCounts{7, 9});
  CHECK(gate::kernel_counts(line + "  101 4294967295 4096 2 512 1 0 1 1\n", queues) == KernelCounts{8, 9});
  CHECK(gate::kernel_counts("  102  1 0 2 512 7 9 40 1\n" + line, queues) == KernelCounts{7, 9});
  for (std::size_t length = 0; length < 30; ++length)
    CHECK(gate::kernel_counts(line.substr(0, length), queues) == KernelCounts{});
  for (const char* odd :
       {"", "\n\n\n", "100", "100 a", "-1 2 3 4 5 6 7 8 9\n", "100 1 2 3 4 99999999999999999999999 1 1 1\n"})
    CHECK(gate::kernel_counts(odd, queues) == KernelCounts{});
}

TEST_CASE("gate decision: marks of others stay, and ours is never nothing") {
  for (const std::uint32_t before : {0U, 0xFFFFFFFFU, 0x00000042U, 0xF0000000U, firewall::mark_own}) {
    std::set<std::uint32_t> seen;
    for (const Decision decision : {Decision::take, Decision::pass, Decision::reset}) {
      const std::uint32_t after = mark_after(before, decision);
      CHECK((after & ~firewall::mark_mask) == (before & ~firewall::mark_mask));
      CHECK((after & firewall::mark_mask) != 0);
      CHECK((after & firewall::mark_mask) != firewall::mark_own);
      CHECK((after & firewall::mark_mask) != firewall::mark_divert);
      seen.insert(after);
    }
    CHECK(seen.size() == 3);
  }
}

TEST_CASE("gate settings: from the configuration, as JSON and back") {
  const auto loaded = config::build(
      {{"f",
        R"({"listeners":[)" + config_test::listener() +
            R"(,{"name":"taken","address":"0.0.0.0:2525","downstream":"original","intercept":"redirect",)"
            R"("scopes":["forward"],"protected":["192.0.2.0/24"],"max_client_connections":30,"client_prefix_v4":24,)"
            R"("skip_sources":["203.0.113.0/24"]}],)"
            R"("downstreams":{"mta":{"servers":["127.0.0.1:26"]}},)"
            R"("firewall":{"gate":{"queue":100,"on_failure":"open","length":77}}})"}},
      config_test::machine());
  REQUIRE(loaded);
  Settings made = gate::settings_of(*loaded->config);
  CHECK(made.open);
  CHECK(made.length == 77);
  REQUIRE(made.listeners.size() == 1);
  CHECK(made.listeners[0] == Listener{.name = "taken",
                                      .queue = 101,
                                      .connections = 30,
                                      .prefix_v4 = 24,
                                      .prefix_v6 = 64});
  config::Config banning = *loaded->config;
  banning.listeners[1].bans.rate = {.after = 7, .time = std::chrono::hours(1)};
  CHECK(gate::settings_of(banning).listeners[0].connections == 37);
  banning.listeners[1].bans.rate.after = 0xffffffff;
  CHECK(gate::settings_of(banning).listeners[0].connections == 0xffffffff);
  banning.listeners[1].max_client_connections = 0;
  CHECK(gate::settings_of(banning).listeners[0].connections == 0);
  made.uid = 64101;
  made.gid = 64102;
  CHECK(gate::settings_from_json(to_json(made)) == made);
}

TEST_CASE("gate settings: what is wrong with them") {
  const auto error_of = [](const std::string& text) {
    const auto made = gate::settings_from_json(text);
    return made ? std::string("good") : made.error();
  };
  const auto with = [](const std::string& head, const std::string& listener) {
    return "{" + head + R"(,"uid":0,"gid":0,"listeners":[)" + listener + "]}";
  };
  const std::string head = R"("open":false,"length":1)";
  const std::string one = R"({"name":"x","queue":1,"connections":0,"prefix_v4":32,"prefix_v6":64})";
  CHECK(error_of(with(head, one)) == "good");
  const std::string at = "the settings of the gate: ";
  CHECK(error_of(with(R"("open":1,"length":1)", one)) == at + "open must be true or false");
  CHECK(error_of(with(R"("open":false,"length":0)", one)) == at + "length must be a number from 1 to 4294967295");
  CHECK(error_of(with(head, "")) == at + "there are no listeners");
  CHECK(error_of(with(head, one + "," + one)) == at + "two listeners have the queue 1");
  CHECK(error_of(with(head, R"({"queue":65536,"connections":0,"prefix_v4":32,"prefix_v6":64})")) ==
        at + "queue must be a number from 0 to 65535");
  CHECK(error_of(with(head, R"({"queue":1,"connections":0,"prefix_v4":33,"prefix_v6":64})")) ==
        at + "prefix_v4 must be a number from 0 to 32");
  CHECK(error_of("{").starts_with("the settings of the gate:"));
  CHECK(error_of("[]") == at + "is no JSON object");
}

}  // namespace
