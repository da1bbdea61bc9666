#include "test/unit/io_tls_fixture.h"

namespace {

using namespace io_test;
using io::IoStatus;
using Kind = io::TlsFailure::Kind;

TEST_CASE("tls handshake: the facts of both ends") {
  Listener listener("mx.example.org");
  Wire wire(listener.make(), Downstream::verified().make());
  wire.shake_hands();
  REQUIRE(wire.server.open());
  REQUIRE(wire.client.open());
  CHECK(wire.server.facts().version == "TLSv1.3");
  CHECK(wire.server.facts().cipher == "TLS_AES_256_GCM_SHA384");
  CHECK(wire.server.facts().bits == 256);
  CHECK(wire.server.facts().server_name == "mx.example.org");
  CHECK_FALSE(wire.server.facts().resumed);
  CHECK_FALSE(wire.server.facts().peer);
  REQUIRE(wire.client.facts().peer);
  CHECK(wire.client.facts().peer->subject == "CN=mx.example.org");
  CHECK(wire.client.facts().peer->issuer == "CN=Test Authority");
  CHECK(wire.client.facts().peer->verified);
  CHECK(wire.client.facts().peer->fingerprint.size() == 64);
  CHECK(wire.server.stream->peer() == "c:1");
}

TEST_CASE("tls handshake: any split of the octets") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  for (const std::size_t octets : std::vector<std::size_t>{1, 2, 5, 17, 1000}) {
    CAPTURE(octets);
    Wire wire(server, Downstream::verified().make());
    wire.shake_hands(octets);
    REQUIRE(wire.server.open());
    REQUIRE(wire.client.open());
    CHECK(write_now(*wire.client.stream, "EHLO a\r\n") == IoStatus::ok);
    wire.carry(octets);
    CHECK(read_now(*wire.server.stream).text == "EHLO a\r\n");
  }
}

TEST_CASE("tls handshake: the wire is cut after every octet") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const ClientContext client = Downstream::verified().make();
  Wire whole(server, client);
  whole.shake_hands(1);
  const std::size_t all = whole.carried;
  REQUIRE(all > 500);
  // FIN at one end, RST at the other, and the other way round; every octet each way in turn.
  for (std::size_t cut = 0; cut < all; cut += cut < 40 || cut + 120 > all ? 1 : 7) {
    for (const bool reset : {false, true}) {
      CAPTURE(cut);
      Wire wire(server, client);
      wire.begin();
      while (wire.carried < cut && wire.carry_once(1)) continue;
      for (End* end : {&wire.server, &wire.client}) {
        if (reset) end->peer.reset();
        else end->peer.finish();
      }
      wire.loop.settle();
      for (const End* end : {&wire.server, &wire.client}) {
        REQUIRE(end->outcome);
        if (end->open()) continue;
        CHECK(end->failure().kind == Kind::gone);
        CHECK(end->failure().text == (reset ? "peer reset the connection" : "peer closed during the handshake"));
        CHECK(read_now(*end->stream).end == IoStatus::reset);
        CHECK(write_now(*end->stream, "x") != IoStatus::ok);
      }
      // Whoever had finished sees the cut as what it is.
      for (const End* end : {&wire.server, &wire.client})
        if (end->open()) CHECK(read_now(*end->stream).end == IoStatus::reset);
    }
  }
}

TEST_CASE("tls handshake: a wire that takes few octets at a time") {
  Listener listener("mx.example.org");
  Wire wire(listener.make(), Downstream::verified().make());
  wire.server.peer.set_window(3);
  wire.client.peer.set_window(3);
  wire.begin();
  for (int turn = 0; turn < 5000 && !(wire.server.open() && wire.client.open()); ++turn) {
    wire.server.peer.grant();
    wire.client.peer.grant();
    wire.loop.settle();
    wire.carry_once(2);
  }
  CHECK(wire.server.open());
  CHECK(wire.client.open());
}

TEST_CASE("tls handshake: what is no ClientHello") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const std::vector<std::string> none{"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\n",
                                      "GET / HTTP/1.0\r\n\r\n",
                                      std::string(5000, '\0'),
                                      std::string("\x16\x03\x01\xff\xff", 5) + std::string(70000, 'x'),
                                      std::string("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10),
                                      std::string("\x80\x2e\x01\x03\x01", 5) + std::string(100, 'a'),
                                      std::string("\x15\x03\x01\x00\x02\x02\x28", 7)};
  for (const std::string& bytes : none) {
    CAPTURE(bytes.substr(0, 10));
    Wire wire(server, nullptr);
    wire.begin();
    wire.server.peer.send(bytes);
    wire.loop.settle();
    if (!wire.server.outcome) wire.server.peer.finish();  // it may have been the beginning of one
    wire.loop.settle();
    REQUIRE(wire.server.outcome);
    REQUIRE_FALSE(wire.server.open());
    CHECK_FALSE(wire.server.failure().text.empty());
    CHECK(read_now(*wire.server.stream).end == IoStatus::reset);
  }
  Wire plain(server, nullptr);
  plain.begin();
  plain.server.peer.send(none[0]);
  plain.loop.settle();
  REQUIRE(plain.server.outcome);
  CHECK(plain.server.failure().kind == Kind::protocol);
  CHECK(plain.server.failure().text.starts_with("peer does not speak TLS here"));
}

TEST_CASE("tls handshake: endless octets end") {
  Listener listener("mx.example.org");
  Wire wire(listener.make(), nullptr);
  wire.begin();
  // A handshake message of 16 MiB in full records: one that OpenSSL would collect, and one of warnings.
  std::string record("\x16\x03\x01\x40\x00", 5);
  std::string first = record + std::string("\x01\xff\xff\xff", 4) + std::string(16380, 'a');
  wire.server.peer.send(first);
  for (int i = 0; i < 40 && !wire.server.outcome; ++i) {
    wire.server.peer.send(record + std::string(16384, 'a'));
    wire.loop.settle();
  }
  REQUIRE(wire.server.outcome);
  CHECK_FALSE(wire.server.open());
}

TEST_CASE("tls handshake: TLS 1.0 and 1.1 are refused, 1.2 where 1.3 is the minimum") {
  for (const int version : {TLS1_VERSION, TLS1_1_VERSION, TLS1_2_VERSION}) {
    Listener listener("mx.example.org");
    if (version == TLS1_2_VERSION) listener.settings.minimum = config::TlsVersion::v1_3;
    Wire wire(listener.make(), nullptr);
    wire.begin();
    wire.server.peer.send(old_hello(version));
    wire.loop.settle();
    REQUIRE(wire.server.outcome);
    REQUIRE_FALSE(wire.server.open());
    CHECK(wire.server.failure().text == "peer offers no version of TLS that is allowed here");
    CHECK(wire.server.peer.received() == std::string("\x15\x03", 2) + wire.server.peer.received()[2] +
                                             std::string("\x00\x02\x02\x46", 4));  // alert: protocol_version
  }
}

TEST_CASE("tls handshake: TLS 1.2, and its ciphers") {
  Listener listener("mx.example.org");
  listener.settings.ciphers = "ECDHE-ECDSA-AES128-GCM-SHA256";
  Wire first(listener.make(), nullptr);
  first.begin();
  first.server.peer.send(old_hello(TLS1_2_VERSION));
  first.loop.settle();
  CHECK_FALSE(first.server.outcome);  // it has answered and waits
  CHECK(first.server.peer.received().starts_with("\x16\x03\x03"));
  listener.settings.ciphers = "ECDHE-RSA-AES128-GCM-SHA256";  // this certificate cannot do that
  Wire second(listener.make(), nullptr);
  second.begin();
  second.server.peer.send(old_hello(TLS1_2_VERSION));
  second.loop.settle();
  REQUIRE(second.server.outcome);
  CHECK(second.server.failure().text == "peer offers no cipher that is allowed here");
}

TEST_CASE("tls handshake: RSA and ECDSA for one name") {
  Wish rsa;
  rsa.names = {"mx.example.org"};
  rsa.rsa = true;
  for (const bool rsa_first : {false, true}) {
    Listener listener;
    listener.add(rsa_first ? authority().issue(rsa) : authority().issue("mx.example.org"));
    listener.add(rsa_first ? authority().issue("mx.example.org") : authority().issue(rsa));
    for (const char* cipher : {"ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256"}) {
      listener.settings.ciphers = cipher;  // of TLS 1.2, where the cipher names the kind of key
      Wire wire(listener.make(), nullptr);
      wire.begin();
      wire.server.peer.send(old_hello(TLS1_2_VERSION));
      wire.loop.settle();
      CHECK_FALSE(wire.server.outcome);
    }
  }
}

TEST_CASE("tls handshake: a server name with NUL, or none at all") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const std::string name = "mx.example.org";
  for (const char replaced : {'x', '\0', '\xff', '\n', '/'}) {
    std::string hello = old_hello(TLS1_2_VERSION, name.c_str());
    const std::size_t at = hello.find(name);
    REQUIRE(at != std::string::npos);
    hello[at + 1] = replaced;
    Wire wire(server, nullptr);
    wire.begin();
    wire.server.peer.send(hello);
    wire.loop.settle();
    // Only the NUL is refused; the others are names that nobody has, and get the first certificate.
    CHECK(wire.server.outcome.has_value() == (replaced == '\0'));
  }
}

TEST_CASE("tls handshake: silence ends at the deadline") {
  Listener listener("mx.example.org");
  Wire wire(listener.make(), Downstream::verified().make());
  wire.begin(wire.loop.now() + std::chrono::seconds(10));
  wire.carry_once(100);
  wire.loop.advance(std::chrono::seconds(9));
  CHECK_FALSE(wire.server.outcome);
  wire.loop.advance(std::chrono::seconds(2));
  for (const End* end : {&wire.server, &wire.client}) {
    REQUIRE(end->outcome);
    CHECK(end->failure().kind == Kind::timeout);
    CHECK(end->failure().text == "peer did not finish the handshake in time");
  }
}

TEST_CASE("tls handshake: a client that offers what nobody has") {
  Listener listener("mx.example.org");
  listener.settings.groups = "P-384";
  Wire wire(listener.make(), Downstream::verified().make());
  wire.shake_hands();  // HelloRetryRequest
  CHECK(wire.server.open());
  CHECK(wire.client.open());
}

TEST_CASE("tls handshake: stopped or destroyed at every wait") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const ClientContext client = Downstream::verified().make();
  for (const bool destroy : {false, true}) {
    for (std::size_t turns = 0; turns < 60; ++turns) {
      Wire wire(server, client);
      wire.begin();
      for (std::size_t i = 0; i < turns; ++i) wire.carry_once(50);
      if (destroy) wire.loop.destroy_roots();
      else wire.loop.stop_all();
      wire.loop.settle();
      const bool open = wire.server.open() && wire.client.open();
      if (!open) CHECK(wire.loop.roots() == 0);
      wire.server.stream.reset();
      wire.carry();
    }
  }
}

}  // namespace
