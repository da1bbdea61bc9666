#include <fcntl.h>
#include <malloc.h>
#include <sys/socket.h>

#include <atomic>
#include <thread>

#include "proxy/io/tcp_stream.h"
#include "test/unit/io_loop_fixture.h"
#include "test/unit/io_tls_fixture.h"

namespace {

using io::IoStatus;
using io::TcpStream;
using io::TlsStream;
using scanner::OwnedFd;

// Contexts for both ends, and sockets between them.
struct Sockets : io_test::LoopRun {
  Sockets() : scope(loop) {
    io_test::Listener listener("mx.example.org");
    server = listener.make();
    client = io_test::Downstream::verified().make();
  }
  ~Sockets() { loop.destroy_roots(); }
  std::unique_ptr<io::Stream> tcp(int fd) {
    const sockaddr unix_address{AF_UNIX, {}};
    return std::make_unique<TcpStream>(loop, OwnedFd(fd), &unix_address, sizeof unix_address);
  }
  struct Both {
    std::unique_ptr<TlsStream> server, client;
  };
  Both connect() {
    int pair[2];
    REQUIRE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) == 0);
    Both both;
    both.server = std::make_unique<TlsStream>(tcp(pair[0]), server);
    both.client = std::make_unique<TlsStream>(tcp(pair[1]), client, "mx.example.org");
    return both;
  }
  io::Task<> shake(TlsStream& stream, int& left, io::Signal& done) {
    const TlsStream::Handshake outcome = co_await stream.handshake(scope, loop.now() + std::chrono::seconds(20));
    CHECK(outcome.has_value());
    if (--left == 0) done.raise();
  }
  io::Task<> shake_hands(Both& both) {
    int left = 2;
    io::Signal done;
    loop.spawn(shake(*both.server, left, done));
    loop.spawn(shake(*both.client, left, done));
    while (left > 0) co_await io::Wait(scope, io::never, done);
  }
  io::Scope scope;
  io_test::ServerContext server;
  io_test::ClientContext client;
};

// Octets; the sanitizer's allocator tells nothing, and finds leaks itself.
std::size_t allocated() {
#if defined(__SANITIZE_ADDRESS__)
  return 0;
#else
  return ::mallinfo2().uordblks;
#endif
}

std::size_t descriptors() {
  std::size_t count = 0;
  for (int fd = 0; fd < 1000; ++fd) count += ::fcntl(fd, F_GETFD) >= 0 ? 1 : 0;
  return count;
}

struct Transfers : Sockets {
  io::Task<> send(TlsStream& stream, std::size_t size) {
    const std::string piece(100000, 'x');
    for (std::size_t sent = 0; sent < size; sent += piece.size()) {
      const IoStatus status = co_await write_all(stream, scope, loop.now() + std::chrono::seconds(20), piece);
      CHECK(status == IoStatus::ok);
    }
    finish_one();
  }
  io::Task<> receive(TlsStream& stream, std::size_t size) {
    std::size_t got = 0;
    while (got < size) {
      const io::Scratch space = io::scratch();
      const io::IoResult result = stream.read(space.data, space.size);
      if (result.status == IoStatus::ok) {
        got += result.count;
      } else {
        REQUIRE(result.status == IoStatus::would_block);
        co_await io::Wait(scope, io::never, stream.readable);
      }
    }
    CHECK(got == size);
    finish_one();
  }
  void finish_one() {
    if (--left == 0) done.raise();
  }
  int left = 0;
  io::Signal done;
};

TEST_CASE("tls over sockets: much both ways at once") {
  Transfers test;
  test.finish([](Transfers& run) -> io::Task<> {
    Sockets::Both both = run.connect();
    co_await run.shake_hands(both);
    constexpr std::size_t size = 20'000'000;
    run.left = 4;
    run.loop.spawn(run.send(*both.server, size));
    run.loop.spawn(run.send(*both.client, size));
    run.loop.spawn(run.receive(*both.server, size));
    run.loop.spawn(run.receive(*both.client, size));
    while (run.left > 0) co_await io::Wait(run.scope, io::never, run.done);
  }(test));
}

TEST_CASE("tls over sockets: a thousand handshakes leave nothing behind") {
  Sockets test;
  const std::size_t before = descriptors();
  test.finish([](Sockets& run) -> io::Task<> {
    std::size_t after_warm_up = 0;
    for (int i = 0; i < 1000; ++i) {
      Sockets::Both both = run.connect();
      co_await run.shake_hands(both);
      const IoStatus status = co_await write_all(*both.client, run.scope, io::never, "QUIT\r\n");
      CHECK(status == IoStatus::ok);
      if (i == 200) after_warm_up = allocated();
    }
    const std::size_t at_end = allocated();
    CHECK(at_end < after_warm_up + 50000);
  }(test));
  CHECK(descriptors() == before);
}

TEST_CASE("tls over sockets: an idle session holds little memory") {
  Sockets test;
  test.finish([](Sockets& run) -> io::Task<> {
    std::vector<Sockets::Both> all;
    std::size_t before = 0;
    constexpr std::size_t warm = 20, count = 100;
    for (std::size_t i = 0; i < warm + count; ++i) {
      if (i == warm) before = allocated();
      all.push_back(run.connect());
      co_await run.shake_hands(all.back());
      io_test::read_now(*all.back().client);
      io_test::write_now(*all.back().client, "NOOP\r\n");
      io_test::read_now(*all.back().server);
      io_test::write_now(*all.back().server, "250 ok\r\n");
      io_test::read_now(*all.back().client);
    }
    for (std::size_t i = warm; i < all.size(); ++i) all[i].client.reset();  // what is left is a listener's side
    const std::size_t each = (allocated() - before) / count;
    MESSAGE("octets per idle connection: ", each);
    CHECK(each < 20480);
  }(test));
}

TEST_CASE("tls over sockets: loops in several threads share one context") {
  io_test::Listener listener("mx.example.org");
  const io_test::ServerContext server = listener.make();
  const io_test::ClientContext client = io_test::Downstream::verified().make();
  std::vector<std::thread> threads;
  std::atomic<int> resumed = 0;
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&] {
      Sockets test;
      test.server = server;
      test.client = client;
      test.finish([](Sockets& run, std::atomic<int>& count) -> io::Task<> {
        for (int turn = 0; turn < 50; ++turn) {
          Sockets::Both both = run.connect();
          int left = 1;
          io::Signal done;
          run.loop.spawn(run.shake(*both.client, left, done));
          const TlsStream::Handshake outcome = co_await both.server->handshake(run.scope, io::never);
          REQUIRE(outcome);
          count += outcome->resumed ? 1 : 0;
          while (left > 0) co_await io::Wait(run.scope, io::never, done);
          // The tickets come before the first octet.
          co_await write_all(*both.server, run.scope, io::never, "x");
          while (io_test::read_now(*both.client).text.empty())
            co_await io::Wait(run.scope, io::never, both.client->readable);
        }
      }(test, resumed));
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(resumed > 50);
}

}  // namespace
