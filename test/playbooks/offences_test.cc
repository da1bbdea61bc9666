// What a session tells of its client, who may be banned for it (config/bans.h).
#include <doctest/doctest.h>

#include "test/playbooks/harness.h"

namespace {

using config::Offence;
using playbook::Peer;
using playbook::World;
using Told = std::vector<std::string>;

struct Register final : session::Occupancy {
  bool recount(const sockaddr*, std::string_view&) override { return true; }
  void introduced_unlisted(session::Introducing, const session::ClientFacts&) override {}
  void offended(Offence what, const session::ClientFacts& client) override {
    told.push_back(std::string(config::to_string(what)) + (client.told ? " told " + client.ip : ""));
  }
  void passed_on() override { told.emplace_back("passed on"); }
  void cut(bool in_transaction) override { told.emplace_back(in_transaction ? "cut in a transaction" : "cut"); }
  Told told;
};

struct Watched : World {
  Watched() { arrival.occupancy = &watch; }
  void greeted(const char* extensions = "250 PIPELINING\r\n") {
    start();
    downstream_sends(1, "220 mta\r\n");
    client_sends("EHLO client.example.com\r\n");
    downstream_sends(1, std::string("250-mta\r\n") + extensions);
    client.take(Peer::unlimited);
  }
  // A whole message on which the scanner says this.
  void message(scanner::Outcome outcome) {
    scanner::Finding finding;
    finding.outcome = outcome;
    finding.name = "Thing";
    if (outcome == scanner::Outcome::error) finding.failure = scanner::Failure::crashed;
    if (outcome == scanner::Outcome::unscannable) finding.unscannable = scanner::Unscannable::encrypted;
    scanner::Report report;
    if (outcome != scanner::Outcome::clean) report.findings.push_back(finding);
    scanner.report(report);
    client_sends("MAIL FROM:<anna@example.com>\r\nRCPT TO:<bert@example.net>\r\n");
    downstream_sends(1, "250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n");
    client_sends("DATA\r\n");
    client.take(Peer::unlimited);
    client_sends("Subject: x\r\n\r\nHello\r\n.\r\n");
  }
  std::string heard_by_client() {
    std::string text(client.received());
    client.take(Peer::unlimited);
    return text;
  }
  Register watch;
};

TEST_CASE("TLS that is passed on is told once, when it is") {
  Watched world;
  world.listener().tls.mode = config::ListenerTlsMode::pass;
  world.greeted("250 STARTTLS\r\n");
  world.client_sends("STARTTLS\r\n");
  world.downstream_sends(1, "454 4.7.0 Not now\r\n");
  CHECK(world.watch.told.empty());
  world.client_sends("STARTTLS\r\n");
  world.downstream_sends(1, "220 2.0.0 Go on\r\n");
  CHECK(world.watch.told == Told{"passed on"});
  world.client_sends(std::string("\x16\x03\x01hello", 8));
  CHECK(world.watch.told == Told{"passed on"});
}

TEST_CASE("a session that is stopped tells whether a transaction was cut; one that ends by itself tells nothing") {
  for (const char* said : {"", "MAIL FROM:<anna@example.com>\r\n", "QUIT\r\n"}) {
    CAPTURE(said);
    Watched world;
    world.greeted();
    world.client_sends(said);
    if (*said == 'M') world.downstream_sends(1, "250 2.1.0 Ok\r\n");
    world.loop.stop_all();
    world.settle();
    CHECK(world.watch.told == (*said == 'Q' ? Told{} : Told{*said == 'M' ? "cut in a transaction" : "cut"}));
  }
}

TEST_CASE("offences: infected mail, refused or not; nothing else that a scanner says") {
  for (const auto action : {config::Action::refuse, config::Action::defer, config::Action::relay}) {
    Watched world;
    world.scans = true;
    world.config.defaults.infected = action;
    world.greeted();
    world.message(scanner::Outcome::infected);
    if (action == config::Action::relay) {
      world.downstream_sends(1, "354 Go ahead\r\n");
      world.downstream_sends(1, "250 2.0.0 Ok\r\n");
    }
    CHECK(world.watch.told == Told{"infected"});
    if (action == config::Action::refuse) CHECK(world.heard_by_client().starts_with("550 5.7.1"));
  }
  for (const auto outcome : {scanner::Outcome::clean, scanner::Outcome::suspicious, scanner::Outcome::unscannable,
                             scanner::Outcome::error}) {
    Watched world;
    world.scans = true;
    world.greeted();
    world.message(outcome);
    CHECK(world.watch.told.empty());
  }
}

TEST_CASE("offences: each infected message of a session, which goes on") {
  Watched world;
  world.scans = true;
  world.greeted();
  for (int i = 1; i <= 3; ++i) {
    world.message(scanner::Outcome::infected);
    CHECK(world.heard_by_client().starts_with("550 5.7.1"));
    world.downstream_sends(1, "250 Reset\r\n");
    CHECK(world.watch.told.size() == static_cast<std::size_t>(i));
  }
  CHECK(world.session_runs());
}

TEST_CASE("offences: speech before the banner") {
  Watched world;
  world.start();
  world.client_sends("EHLO client.example.com\r\n");
  world.downstream_sends(1, "220 mta\r\n");
  CHECK(world.watch.told == Told{"early_talk"});
  CHECK(world.heard_by_client().starts_with("554 5.5.1"));
}

TEST_CASE("offences: a session that ends for its errors is one of them") {
  SUBCASE("negative replies") {
    Watched world;
    world.listener().max_errors = 2;
    world.greeted();
    for (int i = 0; i < 2; ++i) world.client_sends("RUBBISH\r\n");
    world.pass(std::chrono::seconds(5));
    CHECK(world.watch.told.empty());
    world.client_sends("RUBBISH\r\n");
    CHECK(world.watch.told == Told{"errors"});
  }
  SUBCASE("junk") {
    Watched world;
    world.listener().max_junk = 2;
    world.greeted();
    for (int i = 0; i < 3; ++i) world.client_sends("NOOP\r\n");
    CHECK(world.watch.told == Told{"errors"});
  }
  SUBCASE("a browser") {
    Watched world;
    world.greeted();
    world.client_sends("GET / HTTP/1.1\r\nHost: mail.example\r\n\r\n");
    CHECK(world.watch.told == Told{"errors"});
  }
}

TEST_CASE("offences: AUTH that the server refuses for good") {
  Watched world;
  world.listener().auth = config::AuthOffer::always;
  world.greeted("250 AUTH PLAIN\r\n");
  const auto attempt = [&](const char* answer) {
    world.client_sends("AUTH PLAIN AGFubmEAc2VjcmV0\r\n");
    world.downstream_sends(1, answer);
  };
  attempt("454 4.7.0 Try later\r\n");
  CHECK(world.watch.told.empty());
  attempt("535 5.7.8 No\r\n");
  attempt("535 5.7.8 No\r\n");
  CHECK(world.watch.told == Told{"auth_failures", "auth_failures"});
  for (const char* other : {"501 5.5.2 What?\r\n", "503 5.5.1 Not now\r\n", "504 5.5.4 Not that one\r\n",
                            "534 5.7.9 Too weak\r\n", "538 5.7.11 Not without TLS\r\n"})
    attempt(other);
  CHECK(world.watch.told.size() == 2);
  attempt("235 2.7.0 Ok\r\n");
  CHECK(world.watch.told.size() == 2);
}

TEST_CASE("offences: an AUTH that its client cancels, or that is malformed, is no guess at a password") {
  for (const char* response : {"*\r\n", "not base64!\r\n"}) {
    Watched world;
    world.listener().auth = config::AuthOffer::always;
    world.greeted("250 AUTH PLAIN\r\n");
    world.client_sends("AUTH PLAIN\r\n");
    world.downstream_sends(1, "334 \r\n");
    world.client.take(Peer::unlimited);
    world.client_sends(response);
    world.downstream_sends(1, "501 5.7.0 Cancelled\r\n");
    CHECK(world.heard_by_client().starts_with("501 "));
    CHECK(world.watch.told.empty());
  }
}

TEST_CASE("offences: of whom a peer speaks, and nobody where nobody counts") {
  Watched world;
  world.listener().xclient_from = {config::parse_netmask("0.0.0.0/0").value(), config::parse_netmask("::/0").value()};
  world.start();
  world.downstream_sends(1, "220 mta\r\n");
  world.client_sends("XCLIENT ADDR=198.51.100.7\r\n");
  world.client_sends("GET / HTTP/1.1\r\n");
  CHECK(world.watch.told == Told{"errors told 198.51.100.7"});
  Watched alone;
  alone.arrival.occupancy = nullptr;
  alone.greeted();
  alone.client_sends("GET / HTTP/1.1\r\n");
  CHECK(alone.heard_by_client().starts_with("221 "));
}

}  // namespace
