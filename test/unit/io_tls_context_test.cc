#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "test/unit/io_tls_fixture.h"

template <>
struct doctest::StringMaker<std::vector<std::string>> {
  static doctest::String convert(const std::vector<std::string>& lines) {
    std::string all;
    for (const std::string& line : lines) all += "\n  " + line;
    return all.c_str();
  }
};

namespace {

using namespace io_test;
using config::ClientCertificates;
using io::IoStatus;
using io::TicketKeys;
using io::TlsFiles;
using io::TlsProblem;
using Lines = std::vector<std::string>;

Lines lines_of(const std::vector<TlsProblem>& problems) {
  Lines lines;
  for (const TlsProblem& each : problems)
    lines.push_back((each.warning ? "warning " : "") + each.pointer + ": " + each.text);
  return lines;
}

// Shakes hands and lets the client have its ticket.
bool resumed(const ServerContext& server, const ClientContext& client, std::string_view host = "mx.example.org") {
  Wire wire(server, client, host);
  wire.shake_hands();
  REQUIRE(wire.server.open());
  REQUIRE(wire.client.open());
  CHECK(wire.server.facts().resumed == wire.client.facts().resumed);
  CHECK(wire.client.facts().peer->verified);
  CHECK(wire.client.facts().peer->subject == "CN=mx.example.org");
  read_now(*wire.client.stream);
  return wire.server.facts().resumed;
}

TEST_CASE("tls tickets: a session is resumed, by another context with the same keys too") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const ClientContext client = Downstream::verified().make();
  CHECK_FALSE(resumed(server, client));
  CHECK(resumed(server, client));
  CHECK(resumed(server, client));  // each resumption brings the next ticket
  const ServerContext reloaded = listener.make("in", server->tickets());
  CHECK(resumed(reloaded, client));
  CHECK(resumed(server, client));
}

TEST_CASE("tls tickets: not for another listener, other keys, other demands on clients, another host") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.make();
  const auto resumed_at = [&](const ServerContext& other) {
    const ClientContext client = Downstream::verified().make();
    CHECK_FALSE(resumed(server, client));
    return resumed(other, client);
  };
  CHECK(resumed_at(server));
  CHECK_FALSE(resumed_at(listener.make("other", server->tickets())));
  CHECK_FALSE(resumed_at(listener.make("in")));
  Listener asking("mx.example.org");
  CHECK_FALSE(resumed_at(asking.ask(ClientCertificates::ask).make("in", server->tickets())));
  const ClientContext client = Downstream::verified().make();
  Downstream named = Downstream::verified();
  named.settings.name = "mx.example.org";
  const ClientContext by_name = named.make();
  CHECK_FALSE(resumed(server, by_name, "one.example.org"));
  CHECK_FALSE(resumed(server, by_name, "two.example.org"));
  CHECK(resumed(server, by_name, "one.example.org"));
}

TEST_CASE("tls tickets: a resumed session keeps the client's certificate and its verdict") {
  Listener listener("mx.example.org");
  const ServerContext server = listener.ask(ClientCertificates::ask).make();
  const Authority stranger("Nobody");
  for (const bool good : {true, false}) {
    Downstream downstream = Downstream::verified();
    downstream.show(good ? authority().issue("client") : stranger.issue("client"));
    const ClientContext client = downstream.make();
    for (const bool again : {false, true}) {
      Wire wire(server, client);
      wire.shake_hands();
      REQUIRE(wire.server.open());
      CHECK(wire.server.facts().resumed == again);
      REQUIRE(wire.server.facts().peer);
      CHECK(wire.server.facts().peer->verified == good);
      read_now(*wire.client.stream);
    }
  }
}

TEST_CASE("tls tickets: none where the listener gives none") {
  Listener listener("mx.example.org");
  listener.settings.session_tickets = false;
  const ServerContext server = listener.make();
  const ClientContext client = Downstream::verified().make();
  CHECK_FALSE(resumed(server, client));
  CHECK_FALSE(resumed(server, client));
}

TEST_CASE("tls tickets: keys change") {
  TicketKeys keys;
  io::TimePoint now{std::chrono::hours(100)};
  const TicketKeys::Key first = keys.current(now);
  const auto known = [&](const TicketKeys::Key& key) { return keys.find(key.name.data(), now); };
  CHECK_FALSE(known(first)->former);
  now += TicketKeys::period - std::chrono::seconds(1);
  CHECK(keys.current(now).name == first.name);
  now += std::chrono::seconds(1);
  const TicketKeys::Key second = keys.current(now);
  CHECK(second.name != first.name);
  CHECK(second.cipher != first.cipher);
  CHECK(second.mac != first.mac);
  REQUIRE(known(first));
  CHECK(known(first)->former);
  CHECK(known(first)->key.cipher == first.cipher);
  now += TicketKeys::period;
  CHECK_FALSE(known(first));
  CHECK(known(second)->former);
  now += 2 * TicketKeys::period;
  CHECK_FALSE(known(second));
  const TicketKeys::Key other{};
  CHECK_FALSE(known(other));
}

TEST_CASE("tls contexts: bad pairs, in words") {
  const Pem good = authority().issue("mx.example.org"), other = authority().issue("mx.example.org");
  Wish locked_wish, small_wish, old_wish;
  locked_wish.names = small_wish.names = old_wish.names = {"mx.example.org"};
  locked_wish.passphrase = "secret";
  small_wish.rsa = true;
  small_wish.bits = 512;
  old_wish.from_days = -3;
  old_wish.to_days = -1;
  const auto problems_of = [](const Pem& pem) {
    Listener listener(pem);
    const ServerContext made = listener.make();
    const bool only_warnings = std::ranges::all_of(listener.problems, &TlsProblem::warning);
    CHECK(static_cast<bool>(made) == only_warnings);
    return lines_of(listener.problems);
  };
  CHECK(problems_of(good) == Lines{});
  CHECK(problems_of({good.certificate, other.key}) ==
        Lines{"/certificates/0/key: /0.key is not the key of the first certificate of /0.pem"});
  CHECK(problems_of({"", good.key}) == Lines{"/certificates/0/certificate: /0.pem holds no certificate in PEM"});
  CHECK(problems_of({good.key, good.key}) == Lines{"/certificates/0/certificate: /0.pem holds no certificate in PEM"});
  CHECK(problems_of({good.certificate, good.certificate}) ==
        Lines{"/certificates/0/key: /0.key holds no private key in PEM that can be read"});
  CHECK(problems_of(authority().issue(locked_wish)) ==
        Lines{"/certificates/0/key: /0.key is protected by a passphrase, which nobody could type in: remove it with "
              "openssl pkey"});
  CHECK(problems_of(authority().issue(small_wish)) ==
        Lines{"/certificates/0/certificate: cannot be used: ee key too small"});
  CHECK(problems_of(authority().issue(old_wish)) ==
        Lines{"warning /certificates/0/certificate: /0.pem has expired: clients that verify it will turn away"});
  CHECK(problems_of({"garbage", "garbage"}).size() == 2);
  // Half-written files, cut anywhere: never a context, and never a crash.
  for (std::size_t cut = 1; cut + 2 < good.certificate.size(); cut += 37) {
    CHECK(problems_of({good.certificate.substr(0, cut), good.key}).size() == 1);
    if (cut + 2 < good.key.size()) CHECK(problems_of({good.certificate, good.key.substr(0, cut)}).size() == 1);
    CHECK(problems_of({good.certificate + good.certificate.substr(0, cut), good.key}).size() <= 1);
  }
}

TEST_CASE("tls contexts: other bad settings") {
  Listener listener("mx.example.org");
  listener.settings.ciphers = "NONSENSE";
  listener.settings.groups = "X25519:P-NONE";
  listener.ask(ClientCertificates::require, "no certificate");
  CHECK_FALSE(listener.make());
  CHECK(lines_of(listener.problems) == Lines{"/ciphers: no cipher of TLS 1.2 fits this: no cipher match",
                                             "/groups: OpenSSL does not know one of these groups",
                                             "/client_ca: /ca holds no certificate in PEM"});
  Listener missing;
  missing.settings.certificates = {{"/gone.pem", "/gone.key", {}}};
  CHECK_FALSE(missing.make());
  Downstream downstream = Downstream::verified("");
  downstream.show({authority().issue("a").certificate, authority().issue("b").key});
  CHECK_FALSE(downstream.make());
  CHECK(lines_of(downstream.problems) == Lines{"/ca: /ca holds no certificate in PEM",
                                               "/key: /own.key is not the key of the first certificate of /own.pem"});
}

TEST_CASE("tls contexts: the chain is sent") {
  // leaf <- intermediate <- root is more than Authority makes; a second certificate behind the leaf shows that it goes.
  Pem pem = authority().issue("mx.example.org");
  pem.certificate += authority().pem();
  Listener with(pem), without("mx.example.org");
  Wire long_chain(with.make(), Downstream::verified().make()),
      short_chain(without.make(), Downstream::verified().make());
  long_chain.shake_hands();
  short_chain.shake_hands();
  CHECK(long_chain.client.open());
  CHECK(long_chain.carried > short_chain.carried + 300);
}

// A directory of its own, gone at the end.
class Directory {
 public:
  Directory() {
    std::string name = std::filesystem::temp_directory_path() / "io_tls_test.XXXXXX";
    REQUIRE(mkdtemp(name.data()) != nullptr);
    path_ = name;
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  ~Directory() { std::filesystem::remove_all(path_); }
  std::string write(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories((path_ / name).parent_path());
    std::ofstream(path_ / name, std::ios::binary) << text;
    return path_ / name;
  }
  std::string at(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

config::Config config_with(const std::string& certificate, const std::string& key) {
  config::Config made;
  made.listeners.emplace_back().name = "plain";
  config::Listener& listener = made.listeners.emplace_back();
  listener.name = "in";
  listener.tls.mode = config::ListenerTlsMode::starttls;
  listener.tls.certificates.push_back({certificate, key, {}});
  made.downstreams["mta"].tls.mode = config::DownstreamTlsMode::opportunistic;
  made.downstreams["plain"];
  return made;
}

TEST_CASE("tls files: read, sealed, unsealed, made into contexts") {
  const Directory directory;
  const Pem pem = authority().issue("mx.example.org");
  config::Config config = config_with(directory.write("a.pem", pem.certificate), directory.write("a.key", pem.key));
  directory.write("ca/one.crt", authority().pem());
  directory.write("ca/readme", "not read");
  std::filesystem::create_symlink("nowhere", directory.at("ca/dangling.pem"));
  config.downstreams["strict"].tls.mode = config::DownstreamTlsMode::verified;
  config.downstreams["strict"].tls.ca = directory.at("ca");
  std::vector<TlsProblem> problems;
  const TlsFiles files = TlsFiles::read(config, problems);
  CHECK(lines_of(problems) == Lines{});
  CHECK(*files.find(directory.at("a.key")) == pem.key);
  CHECK(*files.find(directory.at("ca")) == authority().pem() + "\n");
  const auto sealed = files.seal();
  REQUIRE(sealed);
  CHECK(::ftruncate(sealed->get(), 5) != 0);
  CHECK(::write(sealed->get(), "x", 1) < 0);
  for (int again = 0; again < 2; ++again) {
    const auto unsealed = TlsFiles::unseal(sealed->get());
    REQUIRE(unsealed);
    CHECK(*unsealed->find(directory.at("a.pem")) == pem.certificate);
    const auto contexts = io::TlsContexts::make(config, *unsealed, problems);
    REQUIRE(contexts);
    REQUIRE(contexts->listeners.size() == 2);
    CHECK_FALSE(contexts->listeners[0]);
    CHECK(contexts->downstream("mta"));
    CHECK_FALSE(contexts->downstream("plain"));
    Wire wire(contexts->listeners[1], contexts->downstream("strict"));
    wire.shake_hands();
    CHECK(wire.client.open());
  }
}

TEST_CASE("tls files: what is no sealed set of files") {
  const auto unseal = [](const std::string& bytes) {
    const scanner::OwnedFd fd(::memfd_create("test", MFD_CLOEXEC));
    REQUIRE(::write(fd.get(), bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size()));
    return TlsFiles::unseal(fd.get()).has_value();
  };
  TlsFiles files;
  files.put("/a", "content");
  const auto sealed = files.seal();
  std::string good(200, ' ');
  good.resize(static_cast<std::size_t>(::pread(sealed->get(), good.data(), good.size(), 0)));
  CHECK(unseal(good));
  CHECK_FALSE(unseal(good + "x"));
  CHECK_FALSE(unseal(""));
  CHECK_FALSE(unseal("x" + good));
  for (std::size_t cut = 1; cut < good.size(); ++cut)
    CHECK(unseal(good.substr(0, good.size() - cut)) ==
          (good.size() - cut == std::string_view("gatepost-tls-1\n").size()));
  std::string huge = good;
  huge[22] = '\x7f';  // in the first length
  CHECK_FALSE(unseal(huge));
  CHECK_FALSE(TlsFiles::unseal(-1));
}

TEST_CASE("tls files: what cannot be read") {
  const Directory directory;
  const Pem pem = authority().issue("mx.example.org");
  const std::string fifo = directory.at("fifo"), key = directory.write("a.key", pem.key);
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  const auto problems_of = [](const config::Config& config) { return lines_of(io::check_tls(config)); };
  CHECK(problems_of(config_with(directory.at("gone"), key)) ==
        Lines{"/listeners/1/tls/certificates/0/certificate: " + directory.at("gone") +
              " cannot be read: No such file or directory"});
  CHECK(problems_of(config_with(directory.at(""), key)) ==
        Lines{"/listeners/1/tls/certificates/0/certificate: " + directory.at("") + " cannot be read: Is a directory"});
  CHECK(problems_of(config_with(fifo, key)) ==
        Lines{"/listeners/1/tls/certificates/0/certificate: " + fifo + " cannot be read: not a regular file"});
  CHECK(problems_of(config_with("/dev/zero", key))[0].ends_with("cannot be read: not a regular file"));
  const std::string huge = directory.write("huge", std::string((4U << 20U) + 1, 'x'));
  CHECK(problems_of(config_with(huge, key))[0].ends_with("larger than 4 MiB, so this is no certificate"));
  config::Config config = config_with(directory.write("a.pem", pem.certificate), key);
  CHECK(problems_of(config) == Lines{});
  config.listeners[1].tls.client_ca = directory.at("empty");
  std::filesystem::create_directory(directory.at("empty"));
  CHECK(problems_of(config)[0].starts_with("/listeners/1/tls/client_ca: "));
  config = config_with(directory.at("a.pem"), key);
  config.downstreams["mta"].tls.mode = config::DownstreamTlsMode::verified;
  config.downstreams["mta"].tls.ca = key;
  CHECK(problems_of(config) == Lines{"/downstreams/mta/tls/ca: " + key + " holds no certificate in PEM"});
}

TEST_CASE("tls contexts: reload keeps ticket keys by name, and a bad set keeps the old") {
  const Directory directory;
  const Pem pem = authority().issue("mx.example.org");
  const config::Config config =
      config_with(directory.write("a.pem", pem.certificate), directory.write("a.key", pem.key));
  std::vector<TlsProblem> problems;
  const auto first = io::TlsContexts::make(config, TlsFiles::read(config, problems), problems);
  REQUIRE(first);
  const Pem renewed = authority().issue("mx.example.org");
  directory.write("a.pem", renewed.certificate);
  // Half of the renewal is there: nothing is made of that.
  CHECK_FALSE(io::TlsContexts::make(config, TlsFiles::read(config, problems), problems, first.get(), &config));
  CHECK(lines_of(problems) == Lines{"/listeners/1/tls/certificates/0/key: " + directory.at("a.key") +
                                    " is not the key of the first certificate of " + directory.at("a.pem")});
  directory.write("a.key", renewed.key);
  problems.clear();
  const auto second = io::TlsContexts::make(config, TlsFiles::read(config, problems), problems, first.get(), &config);
  REQUIRE(second);
  const ClientContext client = Downstream::verified().make();
  Wire before(first->listeners[1], client);
  before.shake_hands();
  read_now(*before.client.stream);
  CHECK(resumed(second->listeners[1], client));
  // The session from before lives on.
  CHECK(write_now(*before.client.stream, "NOOP\r\n") == IoStatus::ok);
  before.carry();
  CHECK(read_now(*before.server.stream).text == "NOOP\r\n");
  const auto fresh = [&](const std::shared_ptr<const io::TlsContexts>& contexts) {
    Wire wire(contexts->listeners[1], Downstream::verified().make());
    wire.shake_hands();
    return wire.client.facts().peer->fingerprint;
  };
  CHECK(fresh(first) != fresh(second));
}

}  // namespace
