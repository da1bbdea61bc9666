// Who shows which certificate, and who takes it.
#include "test/unit/io_tls_fixture.h"

namespace {

using namespace io_test;
using config::ClientCertificates;
using config::DownstreamTlsMode;
using io::IoStatus;
using Kind = io::TlsFailure::Kind;

TEST_CASE("tls handshake: certificates by server name") {
  Wish wild;
  wild.names = {"*.example.org", "example.org"};
  Wish rsa;
  rsa.names = {"mx.example.org"};
  rsa.rsa = true;
  Listener listener("default.example.net");
  listener.add(authority().issue(wild)).add(authority().issue("mx.example.org")).add(authority().issue(rsa));
  const ServerContext server = listener.make();
  REQUIRE(server);
  CHECK(listener.problems.empty());
  const auto seen = [&](const std::string& host) {
    Wire wire(server, Downstream().make(), host);
    wire.shake_hands();
    REQUIRE(wire.client.open());
    return wire.client.facts().peer->subject;
  };
  CHECK(seen("mx.example.org") == "CN=mx.example.org");
  CHECK(seen("MX.Example.ORG") == "CN=mx.example.org");
  CHECK(seen("mx.example.org.") == "CN=mx.example.org");
  CHECK(seen("imap.example.org") == "CN=*.example.org");
  CHECK(seen("example.org") == "CN=*.example.org");
  CHECK(seen("a.b.example.org") == "CN=default.example.net");  // a wildcard is one label
  CHECK(seen("unknown.test") == "CN=default.example.net");
  CHECK(seen("192.0.2.1") == "CN=default.example.net");  // an address is not asked for
  CHECK(seen(std::string(200, 'a') + ".example.org") == "CN=*.example.org");
  CHECK(seen("../../etc/passwd") == "CN=default.example.net");
}

TEST_CASE("tls handshake: client certificates") {
  const Authority stranger("Nobody");
  Wish expired_wish;
  expired_wish.names = {"client"};
  expired_wish.from_days = -9;
  expired_wish.to_days = -1;
  const Pem good = authority().issue("client"), foreign = stranger.issue("client"),
            old = authority().issue(expired_wish);
  struct Case {
    ClientCertificates how;
    const Pem* shown;
    bool open;
    bool verified;
  };
  for (const Case& each : std::vector<Case>{{ClientCertificates::none, &good, true, false},
                                            {ClientCertificates::ask, nullptr, true, false},
                                            {ClientCertificates::ask, &good, true, true},
                                            {ClientCertificates::ask, &foreign, true, false},
                                            {ClientCertificates::ask, &old, true, false},
                                            {ClientCertificates::require, nullptr, false, false},
                                            {ClientCertificates::require, &good, true, true},
                                            {ClientCertificates::require, &foreign, false, false},
                                            {ClientCertificates::require, &old, false, false}}) {
    CAPTURE(static_cast<int>(each.how));
    Listener listener("mx.example.org");
    if (each.how != ClientCertificates::none) listener.ask(each.how);
    Downstream downstream = Downstream::verified();
    if (each.shown != nullptr) downstream.show(*each.shown);
    Wire wire(listener.make(), downstream.make());
    wire.shake_hands();
    REQUIRE(wire.server.outcome);
    CHECK(wire.server.open() == each.open);
    if (wire.server.open()) {
      const bool asked = each.how != ClientCertificates::none && each.shown != nullptr;
      REQUIRE(wire.server.facts().peer.has_value() == asked);
      if (!asked) continue;
      CHECK(wire.server.facts().peer->verified == each.verified);
      CHECK(wire.server.facts().peer->why_not.empty() == each.verified);
      CHECK(wire.server.facts().peer->subject == "CN=client");
    } else {
      // TLS 1.3: the client hears of it when it reads.
      CHECK(read_now(*wire.client.stream).end == IoStatus::reset);
      CHECK(wire.client.stream->why().starts_with("peer sent alert: "));
      CHECK(wire.server.failure().text ==
            (each.shown == nullptr ? "peer sent no certificate"
             : each.shown == &old  ? "peer's certificate is refused: certificate has expired"
                                   : "peer's certificate is refused: unable to get local issuer certificate"));
    }
  }
}

TEST_CASE("tls handshake: the server's certificate") {
  const Authority stranger("Nobody");
  Wish address, expired, future;
  address.address = "192.0.2.1";
  expired.names = future.names = {"mx.example.org"};
  expired.from_days = -9;
  expired.to_days = -1;
  future.from_days = 1;
  struct Case {
    const char* what;
    Pem shown;
    ClientContext context;
    const char* host;
    const char* failure;  // part of it; nullptr: good
  };
  const Pem good = authority().issue("mx.example.org");
  const std::string pin = fingerprint(good.certificate), key_pin = fingerprint(good.certificate, true);
  Downstream by_name = Downstream::verified();
  by_name.settings.name = "mx.example.org";
  const ClientContext verified = Downstream::verified().make();
  const std::vector<Case> cases{
      {"good", good, verified, "mx.example.org", nullptr},
      {"good, by another name", good, by_name.make(), "192.0.2.9", nullptr},
      {"wrong name", good, verified, "mx.example.net", "hostname mismatch"},
      {"address for a name", good, verified, "192.0.2.1", "IP address mismatch"},
      {"address", authority().issue(address), verified, "192.0.2.1", nullptr},
      {"other address", authority().issue(address), verified, "192.0.2.2", "IP address mismatch"},
      {"part of a label is no wildcard", authority().issue("m*.example.org"), verified, "mx.example.org",
       "hostname mismatch"},
      {"expired", authority().issue(expired), verified, "mx.example.org", "certificate has expired"},
      {"not valid yet", authority().issue(future), verified, "mx.example.org", "certificate is not yet valid"},
      {"unknown authority", stranger.issue("mx.example.org"), verified, "mx.example.org", "unable to get local issuer"},
      {"pinned", good, Downstream::pinned(pin).make(), "any.name", nullptr},
      {"pinned by key", good, Downstream::pinned(key_pin).make(), "any.name", nullptr},
      {"pinned, unknown authority", stranger.issue("mx.example.org"), Downstream::pinned(pin).make(), "mx.example.org",
       "is none of those configured"},
      {"any will do", stranger.issue(expired), Downstream().make(), "mx.example.org", nullptr},
      {"any will do, opportunistic", stranger.issue(expired), Downstream(DownstreamTlsMode::opportunistic).make(),
       "mx.example.org", nullptr}};
  for (const Case& each : cases) {
    CAPTURE(each.what);
    Listener listener(each.shown);
    Wire wire(listener.make(), each.context, each.host);
    wire.shake_hands();
    REQUIRE(wire.client.outcome);
    CHECK(wire.client.open() == (each.failure == nullptr));
    if (wire.client.open()) {
      CHECK(wire.client.facts().peer->verified == (std::string(each.what).find("any will do") != 0));
      continue;
    }
    CAPTURE(wire.client.failure().text);
    CHECK(wire.client.failure().kind == Kind::unverified);
    CHECK(wire.client.failure().text.find(each.failure) != std::string::npos);
    // The server learns why.
    REQUIRE(wire.server.outcome);
    CHECK(wire.server.failure().kind == Kind::alert);
    CHECK(wire.server.failure().text.starts_with("peer sent alert: "));
  }
}

TEST_CASE("tls handshake: self-signed") {
  const Authority self("mx.example.org");
  Listener listener("mx.example.org");
  Wire wire(listener.make(), Downstream::verified(self.pem()).make());
  wire.shake_hands();
  REQUIRE(wire.client.outcome);
  CHECK_FALSE(wire.client.open());
}

}  // namespace
