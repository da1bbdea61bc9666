// What a dialogue cannot say: two things that happen in the same turn of the loop.
#include <doctest/doctest.h>

#include <algorithm>

#include "test/playbooks/harness.h"

namespace {

using playbook::Peer;
using playbook::World;

// given: a client with a transaction, the downstream in its state after RCPT.
struct Begun : World {
  Begun() {
    start();
    downstream_sends(1, "220 mta\r\n");
    client_sends("EHLO client.example.com\r\n");
    downstream_sends(1, "250-mta\r\n250 PIPELINING\r\n");
    client_sends("MAIL FROM:<anna@example.com>\r\nRCPT TO:<bert@example.net>\r\n");
    downstream_sends(1, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
    client.take(Peer::unlimited);
    downstream(1).take(Peer::unlimited);
  }
  void client_sends_a_message() {
    client_sends("DATA\r\n");
    client_sends("Hello\r\n.\r\n");
    client.take(Peer::unlimited);
  }
};

TEST_CASE("room and stop in one turn: nothing is added to half a reply") {
  Begun world;
  world.stall(world.client, 5);
  world.client_sends("NOOP\r\n");
  CHECK(world.client.received() == "250 2");
  world.client.set_window(Peer::unlimited);  // raised, not yet heard
  world.loop.stop_all();
  world.settle();
  CHECK(world.client.received() == "250 2");
  CHECK(world.left_behind().empty());
}

TEST_CASE("the downstream's 250 and stop in one turn: the 250 was not read, so it is not promised") {
  Begun world;
  world.client_sends_a_message();
  world.downstream_sends(1, "354 Go ahead\r\n");
  CHECK(world.messages_downstream() == 1);
  world.downstream_witness(1).downstream_sent("250 2.0.0 Ok\r\n");
  world.downstream(1).send("250 2.0.0 Ok\r\n");
  world.loop.stop_all();
  world.settle();
  CHECK(world.client.received().starts_with("451 4.4.2"));
  REQUIRE_FALSE(world.log.empty());
  CHECK(world.log.back().find("outcome=unknown") != std::string::npos);
  CHECK(world.left_behind().empty());
}

TEST_CASE("the verdict and the client's end in one turn: nothing goes downstream") {
  World scanned;
  scanned.scans = true;
  scanned.start();
  scanned.downstream_sends(1, "220 mta\r\n");
  scanned.client_sends("HELO client.example.com\r\n");
  scanned.downstream_sends(1, "250 mta\r\n");
  scanned.client_sends("MAIL FROM:<anna@example.com>\r\n");
  scanned.downstream_sends(1, "250 Ok\r\n");
  scanned.client_sends("RCPT TO:<bert@example.net>\r\n");
  scanned.downstream_sends(1, "250 Ok\r\n");
  scanned.scanner.stay_silent();
  scanned.client_sends("DATA\r\n");
  scanned.client_sends("Hello\r\n.\r\n");
  CHECK(scanned.scanner.open_jobs() == 1);
  scanned.client.reset();
  scanned.scanner.report(scanner::Report());
  scanned.settle();
  CHECK(scanned.messages_downstream() == 0);
  CHECK(scanned.scanner.open_jobs() == 0);
  scanned.pass(std::chrono::minutes(1));
  CHECK(scanned.left_behind().empty());
}

TEST_CASE("the downstream's answer and the deadline in one turn: the answer counts") {
  Begun world;
  world.client_sends_a_message();
  world.downstream_sends(1, "354 Go ahead\r\n");
  world.downstream_witness(1).downstream_sent("250 2.0.0 Ok\r\n");
  world.downstream(1).send("250 2.0.0 Ok\r\n");
  world.pass(std::chrono::minutes(10));
  CHECK(world.client.received().starts_with("250 2.0.0 Ok\r\n"));
}

TEST_CASE("a slot is held until the client has its reply, and not longer") {
  Begun world;
  world.client_sends_a_message();
  CHECK(world.in_flight.open_slots() == 0);
  world.stall(world.client, 3);
  world.downstream_sends(1, "354 Go ahead\r\n");
  CHECK(world.in_flight.open_slots() == 1);
  world.downstream_sends(1, "250 2.0.0 Ok\r\n");
  CHECK(world.in_flight.open_slots() == 1);
  world.read_on(world.client);
  CHECK(world.client.received() == "250 2.0.0 Ok\r\n");
  CHECK(world.in_flight.open_slots() == 0);
}

TEST_CASE("a slot is given back when the final dot did not go out") {
  Begun world;
  world.stall(world.downstream(1), 8);  // DATA, and two octets of the content
  world.client_sends_a_message();
  world.downstream_sends(1, "354 Go ahead\r\n");
  CHECK(world.in_flight.open_slots() == 1);
  world.stall(world.client, 3);
  world.downstream_sends(1, "552 5.3.4 Too big\r\n");
  CHECK(world.in_flight.open_slots() == 0);  // although the client has not read its reply
  CHECK(world.messages_downstream() == 0);
}

TEST_CASE("a thousand sessions leave no memory in the spool and no root behind") {
  for (int i = 0; i < 1000; ++i) {
    Begun world;
    world.client_sends_a_message();
    world.loop.destroy_roots();
    CHECK(world.left_behind().empty());
  }
}

TEST_CASE("a hundred thousand chunks of one octet: one message, and no memory for each (T:B5)") {
  World world;
  world.start();
  world.downstream_sends(1, "220 mta\r\n");
  world.client_sends("EHLO client.example.com\r\n");
  world.downstream_sends(1, "250-mta\r\n250 CHUNKING\r\n");
  world.client_sends("MAIL FROM:<anna@example.com>\r\n");
  world.downstream_sends(1, "250 Ok\r\n");
  world.client_sends("RCPT TO:<bert@example.net>\r\n");
  world.downstream_sends(1, "250 Ok\r\n");
  world.client.take(Peer::unlimited);
  world.downstream(1).take(Peer::unlimited);
  constexpr int thousands = 100;
  std::string piece;
  for (int i = 0; i < 1000; ++i) piece += "BDAT 1\r\nx";
  for (int i = 0; i < thousands; ++i) {
    world.client_sends(piece);
    const std::string replies = world.client.take(Peer::unlimited);
    REQUIRE(std::count(replies.begin(), replies.end(), '\n') == 1000);
  }
  world.client_sends("BDAT 2 LAST\r\n\r\n");
  CHECK(world.downstream(1).take(Peer::unlimited) ==
        "BDAT 100002 LAST\r\n" + std::string(std::size_t{1000} * thousands, 'x') + "\r\n");
  world.downstream_sends(1, "250 2.0.0 Ok\r\n");
  CHECK(world.client.take(Peer::unlimited) == "250 2.0.0 Ok\r\n");
  CHECK(world.broken_rule().empty());
}

}  // namespace
