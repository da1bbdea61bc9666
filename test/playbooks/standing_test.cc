// What is known of a server, and doubted when somebody says so (dialogue.md D5: "on reload").
#include <doctest/doctest.h>

#include "config/endpoint.h"
#include "test/playbooks/harness.h"

namespace {

using playbook::Peer;

struct Learning : playbook::World {
  Learning() {
    learns = true;
    listener().address = *config::parse_address("192.0.2.25:2525");
  }
  // The relay probe on this connection, up to the reply that decides.
  void probed(std::size_t connection) {
    downstream_sends(connection, "220 mta.example.net ESMTP\r\n");
    downstream_sends(connection, "250 mta.example.net\r\n");
    downstream_sends(connection, "250 2.1.0 Ok\r\n");
    downstream_sends(connection, "501 5.1.3 Bad recipient address syntax\r\n");
  }
  void decided(std::size_t connection, const char* reply) {
    downstream_sends(connection, reply);
    downstream_sends(connection, "250 2.0.0 Ok\r\n");
    downstream_sends(connection, "221 2.0.0 Bye\r\n");
  }
};

constexpr const char* refuses = "554 5.7.1 Relay access denied\r\n";
constexpr const char* relays = "250 2.1.5 Ok\r\n";

TEST_CASE("an examination that was under way when somebody said that servers may have changed is made again") {
  Learning world;
  world.start();
  world.probed(2);
  world.reload();
  world.decided(2, refuses);
  CHECK(world.connector.attempts() == 3);
  CHECK(world.client.take(Peer::unlimited).empty());
  world.probed(3);
  world.decided(3, relays);
  CHECK(world.client.take(Peer::unlimited).starts_with("421 4.3.5"));
}

TEST_CASE("what is known is doubted behind the banner, too, and the session that had begun waits for it") {
  Learning world;
  world.start();
  world.probed(2);
  world.decided(2, refuses);
  world.reload();
  world.downstream_sends(1, "220 mta.example.net ESMTP\r\n");
  CHECK(world.connector.attempts() == 3);
  world.probed(3);
  world.decided(3, refuses);
  CHECK(world.client.take(Peer::unlimited) == "220 gw.example.org ESMTP gatepost\r\n");
  std::size_t told = 0;
  for (const std::string& line : world.log) told += line.find("event=identity,") != std::string::npos;
  CHECK(told == 2);
}

}  // namespace
