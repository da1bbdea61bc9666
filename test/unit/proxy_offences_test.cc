#include <doctest/doctest.h>

#include "proxy/offences.h"

namespace {

using config::Offence;
using namespace std::chrono_literals;

struct Street {
  Street() : config(std::make_shared<config::Config>()) {
    config->listeners.resize(3);
    config->listeners[1].client_prefix_v4 = 24;
    config->listeners[2].direction = config::Direction::outgoing;
    for (config::Listener& each : config->listeners) {
      each.bans.infected = {3, 10min, 1h};
      each.bans.errors = {1, 10min, 1h};
    }
  }
  bool add(const std::string& ip, Offence what = Offence::infected, std::uint32_t listener = 0, bool told = false) {
    return offences.add({listener, what, *protocol::parse_ip(ip), told}, now);
  }
  std::shared_ptr<config::Config> config;
  io::TimePoint now{std::chrono::hours(100)};
  Offences offences{config};
};

TEST_CASE("offences: so many within a time, whenever that time begins") {
  Street street;
  CHECK_FALSE(street.add("192.0.2.1"));
  street.now += 9min;
  CHECK_FALSE(street.add("192.0.2.1"));
  street.now += 1min - 1ms;
  SUBCASE("the third in the last moment") { CHECK(street.add("192.0.2.1")); }
  SUBCASE("the first is over") {
    street.now += 1ms;
    CHECK_FALSE(street.add("192.0.2.1"));
    street.now += 8min;
    CHECK(street.add("192.0.2.1"));
  }
  SUBCASE("counted anew afterwards") {
    CHECK(street.add("192.0.2.1"));
    CHECK_FALSE(street.add("192.0.2.1"));
    CHECK_FALSE(street.add("192.0.2.1"));
    CHECK(street.add("192.0.2.1"));
  }
}

TEST_CASE("offences: one is enough where the rule says so, and none where there is no rule") {
  Street street;
  CHECK(street.add("192.0.2.1", Offence::errors));
  CHECK(street.add("192.0.2.1", Offence::errors));
  for (int i = 0; i < 20; ++i) CHECK_FALSE(street.add("192.0.2.1", Offence::auth_failures));
  CHECK(street.offences.known() == 0);
}

TEST_CASE("offences: each client, kind and listener has its own count; a client is its network") {
  Street street;
  for (const char* each : {"192.0.2.1", "192.0.2.2", "2001:db8::1", "2001:db8:0:1::1"}) {
    CHECK_FALSE(street.add(each));
    CHECK_FALSE(street.add(each));
  }
  CHECK(street.add("::ffff:192.0.2.1"));  // the same one, by another kind of socket
  CHECK(street.add("2001:db8::ffff"));    // of the same /64
  CHECK_FALSE(street.add("192.0.2.2", Offence::infected, 1));
  CHECK_FALSE(street.add("192.0.2.77", Offence::infected, 1));
  CHECK(street.add("192.0.2.200", Offence::infected, 1));
  // Our own clients share a prefix without having done anything together.
  CHECK_FALSE(street.add("2001:db8::1", Offence::infected, 2));
  CHECK_FALSE(street.add("2001:db8::2", Offence::infected, 2));
  CHECK_FALSE(street.add("2001:db8::3", Offence::infected, 2));
  // Who was only told of is not who has come himself.
  CHECK_FALSE(street.add("192.0.2.2", Offence::infected, 0, true));
  CHECK(street.add("192.0.2.2"));
}

TEST_CASE("offences: no more memory than for so many, whoever comes; the oldest is forgotten") {
  Street street;
  CHECK_FALSE(street.add("192.0.2.1"));
  CHECK_FALSE(street.add("192.0.2.1"));
  for (unsigned i = 0; i < Offences::most + 10; ++i) {
    protocol::IpAddress ip{protocol::IpAddress::Family::ipv4,
                           {10, std::uint8_t(i >> 16), std::uint8_t(i >> 8), std::uint8_t(i)}};
    REQUIRE_FALSE(street.offences.add({0, Offence::infected, ip, false}, street.now));
  }
  CHECK(street.offences.known() == Offences::most);
  CHECK_FALSE(street.add("192.0.2.1"));
  CHECK_FALSE(street.add("10.0.0.9"));  // forgotten, too
  CHECK_FALSE(street.add("10.0.1.0"));
  CHECK(street.add("10.0.1.0"));
  // And in the end all of it goes by itself.
  street.now += 24h;
  CHECK_FALSE(street.add("192.0.2.1"));
  CHECK(street.offences.known() == 1);
}

}  // namespace
