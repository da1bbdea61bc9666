#include <doctest/doctest.h>

#include <arpa/inet.h>

#include <optional>
#include <string>
#include <vector>

#include "proxy/io/address_cache.h"
#include "proxy/io/tcp_stream.h"
#include "test/playbooks/fake_resolver.h"
#include "test/playbooks/test_loop.h"

namespace {

using io::AddressCache;
using io::RecordType;
using io::Task;
using std::chrono::hours;
using std::chrono::seconds;
using Why = io::NotFound::Why;

io::Lookup found(std::vector<std::string> addresses, int ttl) {
  io::Found answer;
  for (const std::string& text : addresses) {
    io::AddressRecord record;
    record.family = text.find(':') == std::string::npos ? AF_INET : AF_INET6;
    REQUIRE(::inet_pton(record.family, text.c_str(), record.octets.data()) == 1);
    answer.records.emplace_back(record);
  }
  answer.ttl = seconds(ttl);
  return answer;
}
io::Lookup denied(Why why = Why::no_data) {
  return io::not_found(why, why == Why::no_data ? "no record" : "no such name");
}
io::Lookup failed() { return io::not_found(Why::failed, "server failure (SERVFAIL)"); }

// One session's wish: "…" while it waits, then the addresses or the error.
struct Wish {
  std::string result = "...";
};

struct World {
  World() : cache(loop, resolver, [this](const std::string& sentence) { said.push_back(sentence); }) {}
  ~World() { loop.destroy_roots(); }

  Task<> run(Wish& wish, io::Duration patience) {
    io::Scope scope(loop);
    config::Endpoint server;
    server.text = "MX.test:25";
    server.host = "MX.test";
    server.port = 25;
    const auto addresses = co_await cache.addresses(server, scope, scope.now() + patience);
    wish.result = addresses ? "" : "error: " + addresses.error();
    if (!addresses) co_return;
    for (const config::Endpoint& each : *addresses) {
      CHECK_FALSE(each.is_name());
      wish.result += (wish.result.empty() ? "" : " ") + io::format_address(each.get());
      last_text = each.text;
    }
  }
  void begin(Wish& wish, io::Duration patience = seconds(60)) {
    loop.spawn(run(wish, patience));
    loop.settle();
  }
  std::string ask() {
    Wish wish;
    begin(wish);
    loop.advance(seconds(0));
    if (wish.result == "...") loop.advance(seconds(10));
    loop.destroy_roots();
    return wish.result;
  }
  void set(io::Lookup six, io::Lookup four) {
    resolver.set("mx.test", RecordType::aaaa, std::move(six));
    resolver.set("mx.test", RecordType::a, std::move(four));
    loop.settle();
  }
  void silent() {
    resolver.forget("mx.test", RecordType::aaaa);
    resolver.forget("mx.test", RecordType::a);
  }
  std::size_t questions() const { return resolver.asked("mx.test", RecordType::a); }

  playbook::TestLoop loop;
  playbook::FakeResolver resolver;
  std::vector<std::string> said;
  AddressCache cache;
  std::string last_text;
};

TEST_CASE("address cache: both families, kept for their time to live") {
  World world;
  world.set(found({"2001:db8::1"}, 300), found({"192.0.2.2", "192.0.2.1"}, 20));
  CHECK(world.ask() == "[2001:db8::1]:25 192.0.2.2:25 192.0.2.1:25");
  CHECK(world.last_text == "MX.test[192.0.2.1]:25");
  world.set(denied(), found({"192.0.2.9"}, 20));
  world.loop.advance(seconds(19));
  CHECK(world.ask() == "[2001:db8::1]:25 192.0.2.2:25 192.0.2.1:25");
  CHECK(world.questions() == 1);
  world.loop.advance(seconds(1));
  CHECK(world.ask() == "192.0.2.9:25");
  CHECK(world.questions() == 2);
  CHECK(world.said.empty());
}

TEST_CASE("address cache: a second at least, an hour at most") {
  World world;
  world.set(denied(), found({"192.0.2.1"}, 0));
  for (int i = 0; i < 5; ++i) CHECK(world.ask() == "192.0.2.1:25");
  CHECK(world.questions() == 1);
  world.loop.advance(seconds(1));
  world.set(denied(), found({"192.0.2.2"}, 1'000'000));
  CHECK(world.ask() == "192.0.2.2:25");
  world.loop.advance(hours(1) - seconds(1));
  CHECK(world.ask() == "192.0.2.2:25");
  CHECK(world.questions() == 2);
  world.loop.advance(seconds(1));
  CHECK(world.ask() == "192.0.2.2:25");
  CHECK(world.questions() == 3);
}

TEST_CASE("address cache: many sessions, one question") {
  World world;
  std::vector<Wish> wishes(100);
  for (Wish& wish : wishes) world.begin(wish);
  CHECK(world.questions() == 1);
  CHECK(world.resolver.open() == 2);
  world.set(denied(), found({"192.0.2.1"}, 60));
  for (const Wish& wish : wishes) CHECK(wish.result == "192.0.2.1:25");
}

TEST_CASE("address cache: who gives up, or disappears, leaves the others alone") {
  World world;
  Wish hasty, patient;
  world.begin(hasty, seconds(2));
  world.begin(patient);
  world.loop.advance(seconds(2));
  CHECK(hasty.result == "error: no answer in time");
  CHECK(patient.result == "...");
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(patient.result == "192.0.2.1:25");
  World ended;
  Wish lost;
  ended.begin(lost);
  ended.loop.destroy_roots();  // in any order
  CHECK(ended.resolver.open() == 0);
  CHECK(lost.result == "...");
}

TEST_CASE("address cache: no such name, no address") {
  World world;
  world.set(denied(Why::no_such_name), denied(Why::no_such_name));
  CHECK(world.ask() == "error: no such name");
  CHECK(world.ask() == "error: no such name");
  CHECK(world.questions() == 1);  // within the same second
  world.set(denied(), denied());
  world.loop.advance(seconds(1));
  CHECK(world.ask() == "error: no address");
  world.loop.advance(seconds(1));
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(world.ask() == "192.0.2.1:25");
}

TEST_CASE("address cache: old addresses serve for an hour while the DNS fails, said once") {
  World world;
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(world.ask() == "192.0.2.1:25");
  world.set(failed(), failed());
  world.loop.advance(seconds(60));
  for (int i = 0; i < 10; ++i) {
    CHECK(world.ask() == "192.0.2.1:25");
    world.loop.advance(seconds(30));
  }
  REQUIRE(world.said.size() == 1);
  CHECK(world.said.front() ==
        "the name mx.test cannot be resolved (server failure (SERVFAIL)); the addresses that it had are used for up to "
        "an hour");
  CHECK(world.questions() == 11);
  world.loop.advance(hours(1));
  CHECK(world.ask() == "error: server failure (SERVFAIL)");
  world.set(denied(), found({"192.0.2.2"}, 60));
  world.loop.advance(seconds(1));
  CHECK(world.ask() == "192.0.2.2:25");
  REQUIRE(world.said.size() == 2);
  CHECK(world.said.back() == "the name mx.test is resolved again");
}

TEST_CASE("address cache: with old addresses only the first session waits for a silent DNS") {
  World world;
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(world.ask() == "192.0.2.1:25");
  world.silent();
  world.loop.advance(seconds(60));
  Wish first, second;
  world.begin(first);
  CHECK(first.result == "...");
  world.loop.advance(seconds(5));
  CHECK(first.result == "192.0.2.1:25");
  world.loop.advance(seconds(1));
  world.begin(second);
  CHECK(second.result == "192.0.2.1:25");
  CHECK(world.questions() == 3);
  world.set(denied(), found({"192.0.2.2"}, 60));  // the question of the second is answered
  CHECK(world.ask() == "192.0.2.2:25");
  CHECK(world.questions() == 3);
}

TEST_CASE("address cache: a denial ends old addresses") {
  World world;
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(world.ask() == "192.0.2.1:25");
  world.set(denied(Why::no_such_name), denied(Why::no_such_name));
  world.loop.advance(seconds(60));
  CHECK(world.ask() == "error: no such name");
}

TEST_CASE("address cache: without old addresses a silent DNS costs the patience of the resolver") {
  World world;
  Wish wish;
  world.begin(wish);
  world.loop.advance(seconds(4));
  CHECK(wish.result == "...");
  world.loop.advance(seconds(1));
  CHECK(wish.result == "error: no answer in time");
  CHECK(world.resolver.open() == 0);
}

TEST_CASE("address cache: one family without answer") {
  World world;
  SUBCASE("it fails") {
    world.set(failed(), found({"192.0.2.1"}, 300));
    CHECK(world.ask() == "192.0.2.1:25");
  }
  SUBCASE("it is bogus") {
    world.set(io::not_found(Why::bogus, "forged"), found({"192.0.2.1"}, 300));
    CHECK(world.ask() == "192.0.2.1:25");
  }
  SUBCASE("it is silent: a second more") {
    world.resolver.set("mx.test", RecordType::a, found({"192.0.2.1"}, 300));
    Wish wish;
    world.begin(wish);
    CHECK(wish.result == "...");
    world.loop.advance(seconds(1));
    CHECK(wish.result == "192.0.2.1:25");
  }
  world.set(found({"2001:db8::1"}, 300), found({"192.0.2.1"}, 300));
  world.loop.advance(seconds(29));
  CHECK(world.ask() == "192.0.2.1:25");
  world.loop.advance(seconds(1));
  CHECK(world.ask() == "[2001:db8::1]:25 192.0.2.1:25");
}

TEST_CASE("address cache: bogus is no answer") {
  World world;
  world.set(io::not_found(Why::bogus, "signature expired"), io::not_found(Why::bogus, "signature expired"));
  CHECK(world.ask() == "error: signature expired");
}

TEST_CASE("address cache: more addresses than anybody tries") {
  World world;
  std::vector<std::string> many;
  for (int i = 0; i < 200; ++i) many.push_back("10.0.0." + std::to_string(i));
  world.set(found({"2001:db8::1"}, 60), found(many, 60));
  const std::string all = world.ask();
  CHECK(all.starts_with("[2001:db8::1]:25 10.0.0.0:25 "));
  CHECK(all.ends_with(" 10.0.0.31:25"));
}

TEST_CASE("address cache: stopped while it asks") {
  World world;
  Wish wish;
  world.begin(wish);
  world.loop.stop_all();
  world.loop.settle();
  CHECK(world.resolver.open() == 0);
  CHECK(world.loop.roots() == 0);
  CHECK(wish.result == "...");
  world.set(denied(), found({"192.0.2.1"}, 60));
  CHECK(world.ask() == "192.0.2.1:25");
}

}  // namespace
