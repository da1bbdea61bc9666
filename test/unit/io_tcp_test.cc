#include <doctest/doctest.h>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "config/endpoint.h"
#include "proxy/io/connect.h"
#include "proxy/io/listener.h"
#include "proxy/io/tcp_stream.h"
#include "test/unit/io_loop_fixture.h"

namespace {

using io::IoStatus;
using io::Listener;
using io::Stream;
using io::Task;
using io::TcpStream;
using io::Wait;
using scanner::OwnedFd;

config::Endpoint endpoint_of(int socket) {
  config::Endpoint endpoint;
  endpoint.length = sizeof endpoint.address;
  REQUIRE(::getsockname(socket, reinterpret_cast<sockaddr*>(&endpoint.address), &endpoint.length) == 0);
  endpoint.text = io::format_address(endpoint.get());
  return endpoint;
}

// Bound to a free port of 127.0.0.1; it listens unless `listening` is false (then nobody else gets that port either).
OwnedFd bound_socket(bool listening = true) {
  OwnedFd socket(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  REQUIRE(::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  if (listening) REQUIRE(::listen(socket.get(), 64) == 0);
  return socket;
}

// A listener and whom it welcomed.
struct Server : io_test::LoopRun {
  Server() : scope(loop) {
    OwnedFd socket = bound_socket();
    endpoint = endpoint_of(socket.get());
    listener.emplace(
        loop, std::move(socket), "421 busy\r\n",
        [this](io::Accepted accepted) {
          const auto* peer = reinterpret_cast<const sockaddr*>(&accepted.peer);
          streams.push_back(std::make_unique<TcpStream>(loop, std::move(accepted.socket), peer, accepted.peer_length));
          welcomed.raise();
        },
        [this](int) { ++starved; });
  }
  ~Server() { loop.destroy_roots(); }
  Task<> welcome(std::size_t count) {
    while (streams.size() < count) co_await Wait(scope, io::never, welcomed);
  }
  Task<std::unique_ptr<Stream>> connect() {
    io::TcpConnector connector(loop);
    const std::vector<config::Endpoint> servers{endpoint};
    auto connected = co_await connector.connect(servers, scope, std::chrono::seconds(5), io::never);
    REQUIRE(connected.has_value());
    co_return std::move(connected->stream);
  }
  // Reads until `size` octets have come or the stream ends.
  Task<std::string> read(Stream& stream, std::size_t size, IoStatus* end = nullptr) {
    std::string all;
    while (all.size() < size) {
      char piece[4096];
      const io::IoResult got = stream.read(piece, sizeof piece);
      if (got.status == IoStatus::ok) {
        all.append(piece, got.count);
      } else if (got.status == IoStatus::would_block) {
        co_await Wait(scope, io::never, stream.readable);
      } else {
        if (end != nullptr) *end = got.status;
        break;
      }
    }
    co_return all;
  }
  config::Endpoint endpoint;
  io::Signal welcomed;
  io::Scope scope;
  std::vector<std::unique_ptr<TcpStream>> streams;
  std::optional<Listener> listener;
  int starved = 0;
};

// A client of a UNIX socket, whose queue has no room at first.
Task<> unix_conversation(io_test::LoopRun& run, const config::Endpoint& endpoint, const OwnedFd& listening) {
  io::Scope scope(run.loop);
  io::TcpConnector connector(run.loop);
  const std::vector<config::Endpoint> servers{endpoint};
  std::vector<std::unique_ptr<Stream>> streams;
  while (true) {
    const io::TimePoint begun = scope.now();
    auto connected = co_await connector.connect(servers, scope, std::chrono::milliseconds(120), io::never);
    if (!connected) {
      CHECK(connected.error().text == endpoint.text + ": busy");
      CHECK(scope.now() - begun >= std::chrono::milliseconds(120));
      break;
    }
    CHECK(connected->stream->peer() == endpoint.text);
    streams.push_back(std::move(connected->stream));
    REQUIRE(streams.size() < 10);
  }
  const OwnedFd served(::accept(listening.get(), nullptr, nullptr));
  auto connected = co_await connector.connect(servers, scope, std::chrono::seconds(5), io::never);
  CHECK(connected.has_value());
  const auto sent = co_await write_all(*streams.front(), scope, io::never, "question");
  CHECK(sent == IoStatus::ok);
  char question[9] = "";
  CHECK(::read(served.get(), question, 8) == 8);
  CHECK(std::string_view(question) == "question");
}

Task<> conversation(Server& server) {
  const auto client = co_await server.connect();
  co_await server.welcome(1);
  TcpStream& accepted = *server.streams.front();
  CHECK(client->peer() == server.endpoint.text);
  CHECK(accepted.peer().starts_with("127.0.0.1:"));
  const auto sent = co_await write_all(*client, server.scope, io::never, "question");
  CHECK(sent == IoStatus::ok);
  const std::string question = co_await server.read(accepted, 8);
  CHECK(question == "question");
  // Half-close: the other direction goes on.
  client->shutdown_write();
  IoStatus end = IoStatus::ok;
  const std::string nothing = co_await server.read(accepted, 1, &end);
  CHECK(nothing.empty());
  CHECK(end == IoStatus::closed);
  const auto answered = co_await write_all(accepted, server.scope, io::never, "answer");
  CHECK(answered == IoStatus::ok);
  const std::string answer = co_await server.read(*client, 6);
  CHECK(answer == "answer");
  server.streams.clear();
  const std::string more = co_await server.read(*client, 1, &end);
  CHECK(end == IoStatus::closed);
}

TEST_CASE("tcp: connect, both directions, half-close, close") {
  Server server;
  server.finish(conversation(server));
}

TEST_CASE("tcp: a UNIX socket, and its queue that is full for a while") {
  io_test::LoopRun run;
  const std::string path = (std::filesystem::temp_directory_path() / ("gp-io-" + std::to_string(::getpid()))).string();
  const config::Endpoint endpoint = config::parse_unix("unix:" + path).value();
  const OwnedFd listening(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  REQUIRE(::bind(listening.get(), endpoint.get(), endpoint.length) == 0);
  REQUIRE(::listen(listening.get(), 0) == 0);
  run.finish(unix_conversation(run, endpoint, listening));
  std::filesystem::remove(path);
}

Task<> bytes_with_their_end(Server& server) {
  // Bytes and FIN that are there before anybody looks: neither may be missed (edge-triggered).
  const auto client = co_await server.connect();
  co_await write_all(*client, server.scope, io::never, "QUIT\r\n");
  client->shutdown_write();
  co_await server.welcome(1);
  IoStatus end = IoStatus::ok;
  const std::string all = co_await server.read(*server.streams.front(), 100, &end);
  CHECK(all == "QUIT\r\n");
  CHECK(end == IoStatus::closed);
}

TEST_CASE("tcp: bytes and their end together") {
  Server server;
  server.finish(bytes_with_their_end(server));
}

Task<> bytes_with_a_reset(Server& server) {
  // One event tells of both, and says no more of the RST than of room to write.
  const auto client = co_await server.connect();
  co_await server.welcome(1);
  co_await write_all(*server.streams.front(), server.scope, io::never, "250-half a reply\r\n");
  server.streams.front()->abort_on_close();
  server.streams.clear();
  std::string half = co_await server.read(*client, 1);
  CHECK(half == "250-half a reply\r\n");
  client->look_again();
  IoStatus end = IoStatus::ok;
  half = co_await server.read(*client, 1, &end);
  CHECK(half.empty());
  CHECK(end == IoStatus::reset);
}

TEST_CASE("tcp: bytes and a reset together, on a connection of our own") {
  Server server;
  server.finish(bytes_with_a_reset(server));
}

Task<> aborted(Server& server) {
  auto client = co_await server.connect();
  co_await server.welcome(1);
  client->abort_on_close();
  client.reset();
  IoStatus end = IoStatus::ok;
  const std::string nothing = co_await server.read(*server.streams.front(), 1, &end);
  CHECK(end == IoStatus::reset);
  const auto sent = co_await write_all(*server.streams.front(), server.scope, io::never, "x");
  CHECK(sent != IoStatus::ok);
}

TEST_CASE("tcp: abort_on_close is a reset for the peer") {
  Server server;
  server.finish(aborted(server));
}

Task<> send_large(Server& server, Stream& from, const std::string& content, bool& done) {
  const auto sent = co_await write_all(from, server.scope, io::never, content);
  CHECK(sent == IoStatus::ok);
  done = true;
}

Task<> back_pressure(Server& server) {
  const auto client = co_await server.connect();
  co_await server.welcome(1);
  TcpStream& accepted = *server.streams.front();
  std::string content(20'000'000, '\0');
  for (std::size_t i = 0; i < content.size(); ++i) content[i] = static_cast<char>(i * 31 % 251);
  bool done = false;
  server.loop.spawn(send_large(server, *client, content, done));
  CHECK_FALSE(done);
  // Nobody reads: a deadline ends a write that makes no progress.
  const auto stuck = co_await write_all(accepted, server.scope, io::never, "unread");
  CHECK(stuck == IoStatus::ok);
  const std::string all = co_await server.read(accepted, content.size());
  CHECK(all == content);
  while (!done) co_await Wait(server.scope, server.loop.now() + std::chrono::milliseconds(1));
}

TEST_CASE("tcp: 20 MB through small buffers") {
  Server server;
  server.finish(back_pressure(server));
}

Task<> nobody_reads(Server& server) {
  const auto client = co_await server.connect();
  const std::string content(50'000'000, 'x');
  const auto until = server.loop.now() + std::chrono::milliseconds(50);
  const auto status = co_await write_all(*client, server.scope, until, content);
  CHECK(status == IoStatus::timeout);
  CHECK(server.loop.now() >= until);
}

TEST_CASE("tcp: a write to somebody who does not read ends at its deadline") {
  Server server;
  server.finish(nobody_reads(server));
}

Task<> from_file(Server& server) {
  const OwnedFd file(::open(std::filesystem::temp_directory_path().c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600));
  REQUIRE(static_cast<bool>(file));
  const std::string content = std::string(100, 'a') + std::string(3'000'000, 'b');
  REQUIRE(::pwrite(file.get(), content.data(), content.size(), 0) == static_cast<ssize_t>(content.size()));
  const auto client = co_await server.connect();
  co_await server.welcome(1);
  std::size_t sent = 0;
  std::string got;
  while (sent < 3'000'000) {
    const io::IoResult result = client->send_file(file.get(), static_cast<off_t>(100 + sent), 3'000'000 - sent);
    if (result.status == IoStatus::ok) {
      sent += result.count;
      continue;
    }
    REQUIRE(result.status == IoStatus::would_block);
    got += co_await server.read(*server.streams.front(), 1);
  }
  got += co_await server.read(*server.streams.front(), 3'000'000 - got.size());
  CHECK(got == std::string(3'000'000, 'b'));
  const io::IoResult beyond = client->send_file(file.get(), 5'000'000, 10);
  CHECK(beyond.status == IoStatus::reset);  // shorter than promised
}

TEST_CASE("tcp: a file from an offset") {
  Server server;
  server.finish(from_file(server));
}

Task<> failover(Server& server) {
  const OwnedFd deaf = bound_socket(false);
  io::TcpConnector connector(server.loop);
  std::vector<config::Endpoint> servers{endpoint_of(deaf.get()), server.endpoint};
  auto connected = co_await connector.connect(servers, server.scope, std::chrono::seconds(5), io::never);
  REQUIRE(connected.has_value());
  CHECK(connected->stream->peer() == server.endpoint.text);
  servers.pop_back();
  auto refused = co_await connector.connect(servers, server.scope, std::chrono::seconds(5), io::never);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().text == servers.front().text + ": Connection refused");
}

TEST_CASE("connect: the next server is tried, and every failure is named") {
  Server server;
  server.finish(failover(server));
}

Task<> silent_server(Server& server) {
  // Its queue of connections is full and nobody accepts: SYNs are not answered any more.
  const OwnedFd deaf = bound_socket(false);
  REQUIRE(::listen(deaf.get(), 0) == 0);
  io::TcpConnector connector(server.loop);
  const std::vector<config::Endpoint> servers{endpoint_of(deaf.get())};
  std::vector<std::unique_ptr<Stream>> filling;
  std::string why;
  while (why.empty() && filling.size() < 10) {
    auto connected = co_await connector.connect(servers, server.scope, std::chrono::milliseconds(50), io::never);
    if (connected) filling.push_back(std::move(connected->stream));
    else why = connected.error().text;
  }
  CHECK(why == servers.front().text + ": timed out");
}

TEST_CASE("connect: a server that does not answer costs its time and no more") {
  Server server;
  server.finish(silent_server(server));
}

// In a process of its own with hardly any descriptors. 0 = as it should be.
Task<> out_of_descriptors(Server& server, int& verdict) {
  std::vector<OwnedFd> eaten;
  rlimit limit{64, 64};
  verdict = 1;
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) co_return;
  std::vector<OwnedFd> clients;
  // More than can be turned away in one turn: the rest keeps the listener readable.
  for (int i = 0; i < 20; ++i) clients.emplace_back(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  while (true) {
    OwnedFd eater(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (!eater) break;
    eaten.push_back(std::move(eater));
  }
  verdict = 2;
  for (const OwnedFd& client : clients) ::connect(client.get(), server.endpoint.get(), server.endpoint.length);
  while (server.starved == 0) co_await Wait(server.scope, server.loop.now() + std::chrono::milliseconds(5));
  verdict = 3;  // they were turned away with a word
  char word[64] = {};
  if (::recv(clients.front().get(), word, sizeof word, 0) <= 0 || std::string(word) != "421 busy\r\n") co_return;
  verdict = 4;  // no spinning: one report per pause of half a second
  const auto begin = server.loop.now();
  while (server.loop.now() < begin + std::chrono::milliseconds(100))
    co_await Wait(server.scope, begin + std::chrono::milliseconds(100));
  if (server.starved != 1) co_return;
  verdict = 5;  // descriptors are back: so is the listener
  eaten.clear();
  clients.clear();
  const OwnedFd late(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  ::connect(late.get(), server.endpoint.get(), server.endpoint.length);
  co_await server.welcome(1);
  verdict = 0;
}

TEST_CASE("listener: survives running out of descriptors without spinning") {
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    int verdict = 20;
    {
      Server server;
      server.finish(out_of_descriptors(server, verdict));
    }
    ::_exit(verdict);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("addresses as text") {
  sockaddr_in6 six{};
  six.sin6_family = AF_INET6;
  six.sin6_port = htons(25);
  REQUIRE(::inet_pton(AF_INET6, "2001:db8::1", &six.sin6_addr) == 1);
  CHECK(io::format_address(reinterpret_cast<const sockaddr*>(&six)) == "[2001:db8::1]:25");
  REQUIRE(::inet_pton(AF_INET6, "::ffff:192.0.2.1", &six.sin6_addr) == 1);
  CHECK(io::format_address(reinterpret_cast<const sockaddr*>(&six)) == "192.0.2.1:25");
  CHECK(io::format_ip(reinterpret_cast<const sockaddr*>(&six)) == "192.0.2.1");
}

}  // namespace
