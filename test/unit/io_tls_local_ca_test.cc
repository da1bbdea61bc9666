// Which certificate the client of an intercepted connection sees: one for the server that it means.
#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <atomic>
#include <thread>

#include "proxy/io/tls_local_ca.h"
#include "test/unit/io_tls_fixture.h"

namespace {

using namespace io_test;
using io::TlsMeant;
using io::openssl::LocalCa;
using io::openssl::MintedFor;
using Names = std::vector<std::string>;

const Authority& site() {
  static const Authority one("Site Authority");
  return one;
}

TlsMeant meant(const std::string& address, Names names = {}) {
  sockaddr_storage storage{};
  if (auto* four = reinterpret_cast<sockaddr_in*>(&storage);
      ::inet_pton(AF_INET, address.c_str(), &four->sin_addr) == 1)
    storage.ss_family = AF_INET;
  if (auto* six = reinterpret_cast<sockaddr_in6*>(&storage);
      storage.ss_family == 0 && ::inet_pton(AF_INET6, address.c_str(), &six->sin6_addr) == 1)
    storage.ss_family = AF_INET6;
  return {storage, std::move(names)};
}

struct Seen {
  bool open = false, verified = false;
  std::string subject, issuer, fingerprint, asked;
  Names names{};
};

// `asks`: a name, which is sent as SNI and must be in the certificate; an address must be in it, and there is no SNI.
Seen look(const ServerContext& server, const std::string& asks, TlsMeant whom, const Authority& trusted = site()) {
  Wire wire(server, Downstream::verified(trusted.pem()).make(), asks, std::move(whom));
  wire.shake_hands();
  if (!wire.client.open() || !wire.server.open()) return {};
  const io::TlsCertificate& peer = *wire.client.facts().peer;
  return {true,        peer.verified,    peer.subject, peer.issuer, peer.fingerprint, wire.server.facts().server_name,
          peer.names};
}

TEST_CASE("local CA: a certificate for the name that the client asks for, whomever it means") {
  Listener listener;
  const ServerContext server = listener.sign_by(site().own()).make();
  REQUIRE(server);
  for (const std::string name : {"mx.far.example", "smtp.example.net", "xn--bcher-kva.example"}) {
    const Seen seen = look(server, name, meant("198.51.100.25", {"other.example"}));
    CHECK(seen.verified);
    CHECK(seen.names == Names{name});
    CHECK(seen.subject == "CN=" + name);
    CHECK(seen.issuer == "CN=Site Authority");
    CHECK(look(server, name, meant("198.51.100.26")).fingerprint == seen.fingerprint);  // remembered
  }
  CHECK_FALSE(look(server, "mx.far.example", meant("198.51.100.25"), authority()).open);
}

TEST_CASE("local CA: who asks for no name gets the address it means, and the names of that server") {
  Listener listener;
  const ServerContext server = listener.sign_by(site().own()).make();
  for (const std::string address : {"198.51.100.25", "2001:db8::25"}) {
    const Seen seen = look(server, address, meant(address, {"mx.far.example", "*.far.example", "no name", ""}));
    CHECK(seen.verified);
    CHECK(seen.asked.empty());
    CHECK(seen.names == Names{"mx.far.example", "*.far.example"});
    CHECK(look(server, address, meant(address)).verified);
    CHECK_FALSE(look(server, address, meant("198.51.100.99")).open);
  }
  CHECK_FALSE(look(server, "192.0.2.1", {}).open);  // it means nobody: nothing to make a certificate for
}

TEST_CASE("certificates by destination: a name that is known wins, and the others come last") {
  Listener listener("mx.example.org");  // the default
  listener.add_for(authority().issue("one.example"), {"198.51.100.0/24"});
  listener.add_for(authority().issue("two.example"), {"203.0.113.7", "2001:db8:2::/48"});
  const auto shown = [](const ServerContext& server, std::string_view asks, const TlsMeant& whom) {
    Wire wire(server, Downstream().make(), asks, whom);
    wire.shake_hands();
    REQUIRE(wire.client.open());
    return wire.client.facts().peer->names.front();
  };
  const ServerContext plain = listener.make();
  const ServerContext signing = listener.sign_by(site().own()).make();
  for (const ServerContext& server : {plain, signing}) {
    REQUIRE(server);
    CHECK(shown(server, "192.0.2.1", meant("198.51.100.3")) == "one.example");
    CHECK(shown(server, "192.0.2.1", meant("203.0.113.7")) == "two.example");
    CHECK(shown(server, "192.0.2.1", meant("2001:db8:2:1::1")) == "two.example");
    CHECK(shown(server, "one.example", meant("203.0.113.7")) == "one.example");
    CHECK(shown(server, "mx.example.org", meant("203.0.113.7")) == "mx.example.org");
    CHECK(shown(server, "unknown.example", meant("203.0.113.7")) == "two.example");
  }
  CHECK(shown(plain, "unknown.example", meant("203.0.113.8")) == "mx.example.org");
  CHECK(shown(plain, "192.0.2.1", {}) == "mx.example.org");
  CHECK(shown(signing, "unknown.example", meant("203.0.113.8")) == "unknown.example");
}

TEST_CASE("local CA: of any kind of key, and one that has another above it") {
  for (const auto kind : {Authority::Kind::ec, Authority::Kind::rsa, Authority::Kind::ed25519}) {
    CAPTURE(static_cast<int>(kind));
    const Authority one("One", kind);
    Listener listener;
    const ServerContext server = listener.sign_by(one.own()).make();
    REQUIRE(server);
    CHECK(look(server, "mx.far.example", {}, one).verified);
  }
  const Authority below = site().subordinate("Below");
  Pem own = below.own();
  Listener listener;
  CHECK(look(listener.sign_by(own).make(), "mx.far.example", {}).verified);  // it is sent along
  own.certificate += site().pem();
  CHECK(look(listener.sign_by(own).make(), "mx.far.example", {}).verified);
}

TEST_CASE("local CA: sessions are resumed, by TLS 1.2 and 1.3") {
  for (const auto version : {config::TlsVersion::v1_2, config::TlsVersion::v1_3}) {
    Listener listener;
    listener.settings.minimum = version;
    const ServerContext server = listener.sign_by(site().own()).make();
    const ClientContext client = Downstream::verified(site().pem()).make();
    for (const bool again : {false, true}) {
      Wire wire(server, client, "mx.far.example", meant("198.51.100.25"));
      wire.shake_hands();
      REQUIRE(wire.client.open());
      CHECK(wire.server.facts().resumed == again);
      read_now(*wire.client.stream);
    }
  }
}

TEST_CASE("local CA: what cannot sign, in words") {
  const auto problems_of = [](const Pem& pem) {
    Listener listener;
    const ServerContext made = listener.sign_by(pem).make();
    CHECK(static_cast<bool>(made) == std::ranges::all_of(listener.problems, &io::TlsProblem::warning));
    Names lines;
    for (const io::TlsProblem& each : listener.problems) lines.push_back(each.pointer + ": " + each.text);
    return lines;
  };
  CHECK(problems_of(site().own()) == Names{});
  CHECK(problems_of(authority().issue("mx.example.org")) ==
        Names{"/local_ca/certificate: /local.pem begins with a certificate that may sign no others: it needs CA:TRUE, "
              "and keyCertSign where it has a key usage"});
  CHECK(problems_of({site().pem(), authority().own().key}) ==
        Names{"/local_ca/key: /local.key is not the key of the first certificate of /local.pem"});
  CHECK(problems_of({"", ""}).size() == 2);
  CHECK(problems_of(Authority("Old", Authority::Kind::ec, -1).own()) ==
        Names{"/local_ca/certificate: /local.pem has expired: clients that verify it will turn away"});
}

std::unique_ptr<LocalCa> local_ca(const Authority& by) {
  Listener listener;
  listener.sign_by(by.own());
  return LocalCa::make(listener.settings.local_ca, listener.files, listener.problems);
}

TEST_CASE("local CA: certificates are remembered while they are good for a week, and not without end") {
  const auto ca = local_ca(site());
  const std::time_t now = std::time(nullptr), day = 86400;
  const auto print = [&](const std::string& name, std::time_t at) {
    return io::openssl::fingerprint_of(ca->mint({{name}, {}}, at).get());
  };
  const std::string first = print("mx.far.example", now);
  CHECK(print("mx.far.example", now + 22 * day) == first);
  CHECK(print("mx.far.example", now + 24 * day) != first);
  CHECK(ca->remembered() == 1);
  for (std::size_t i = 0; i < LocalCa::most_remembered + 9; ++i) print("mx" + std::to_string(i) + ".example", now);
  CHECK(ca->remembered() == LocalCa::most_remembered);
}

TEST_CASE("local CA: none outlives its authority") {
  const auto ca = local_ca(Authority("Short", Authority::Kind::ec, 2));
  const auto made = ca->mint({{"mx.far.example"}, {}}, std::time(nullptr));
  std::time_t before = std::time(nullptr) + 86400, after = std::time(nullptr) + 3 * 86400;
  CHECK(X509_cmp_time(X509_get0_notAfter(made.get()), &before) > 0);
  CHECK(X509_cmp_time(X509_get0_notAfter(made.get()), &after) < 0);
}

TEST_CASE("local CA: an address is no name, whatever its octets spell") {
  const auto ca = local_ca(site());
  const std::time_t now = std::time(nullptr);
  const auto print = [&](const MintedFor& whom) { return io::openssl::fingerprint_of(ca->mint(whom, now).get()); };
  const std::string of_address = print({{}, {'/', 'a', 'b', 'c'}});
  CHECK(print({{"abc"}, {}}) != of_address);
  CHECK(print({{"abc"}, {'/', 'a', 'b', 'c'}}) != print({{"abc", "abc"}, {}}));
  CHECK(ca->remembered() == 4);
}

TEST_CASE("local CA: who asks for an address by SNI, or for what is no name, is shown the server that it means") {
  Listener listener;
  const ServerContext server = listener.sign_by(site().own()).make();
  // Alternative names as they stand in a certificate (RFC 5280 4.2.1.6): 7 and an address, 2 and a name.
  const std::string address = "\x87\x04\xc6\x33\x64\x19";
  struct Case {
    std::string asked, shown;
  };
  for (const Case& each : std::vector<Case>{{"192.0.2.99", address},
                                            {"*.far.example", address},
                                            {"far example", address},
                                            {"b\xc3\xbc" "cher.example", address},
                                            {"mx.far.example.", "\x82\x0emx.far.example"},
                                            {"MX.FAR.example", "\x82\x0emx.far.example"}}) {
    Wire wire(server, nullptr, "", meant("198.51.100.25"));
    wire.begin();
    wire.server.peer.send(old_hello(TLS1_2_VERSION, each.asked.c_str()));
    wire.loop.settle();
    CAPTURE(each.asked);
    CHECK(wire.server.peer.received().find(each.shown) != std::string::npos);
  }
}

TEST_CASE("local CA: from several threads at once") {
  const auto ca = local_ca(site());
  std::atomic<int> made = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      for (int j = 0; j < 200; ++j) made += ca->mint({{"mx" + std::to_string(j % 50) + ".example"}, {}}, std::time(nullptr)) ? 1 : 0;
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(made == 800);
}

TEST_CASE("local CA: names that it makes certificates for") {
  using io::openssl::is_server_name;
  for (const std::string good : {"a", "mx.example.org", "MX-1.example", "_mta.example", "1.2.3.example"})
    CHECK(is_server_name(good));
  const std::string label(63, 'a');
  CHECK(is_server_name(label + "." + label + "." + label + "." + std::string(61, 'a')));
  for (const std::string& bad : Names{"", ".", "a.", ".a", "a..b", "a b", "a\n", "a,DNS:b", "*.a", "b\xc3\xbc" "cher.example", "192.0.2.25", "127.1", "mx.1",
                                      std::string("a\0b", 3), label + "a", label + "." + label + "." + label + "." + label})
    CHECK_FALSE(is_server_name(bad));
}

}  // namespace
