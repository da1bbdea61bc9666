// A listener that finds neither descriptors nor memory goes on listening when there is some again.
#include <doctest/doctest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <new>
#include <optional>

#include "proxy/io/listener.h"
#include "test/unit/io_loop_fixture.h"

namespace {

int accepts_that_fail = 0;
unsigned allocations_left = 0;  // the last of them fails; 0: none does
unsigned fails_at = 0;          // what it begins with

void* allocate(std::size_t size) {
  if (allocations_left != 0 && --allocations_left == 0) throw std::bad_alloc();
  void* const space = std::malloc(size == 0 ? 1 : size);
  if (space == nullptr) throw std::bad_alloc();
  return space;
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
void operator delete(void* space) noexcept { std::free(space); }
void operator delete[](void* space) noexcept { std::free(space); }
void operator delete(void* space, std::size_t) noexcept { std::free(space); }
void operator delete[](void* space, std::size_t) noexcept { std::free(space); }

// In front of libc's.
extern "C" int accept4(int fd, sockaddr* address, socklen_t* length, int flags) {
  allocations_left = 0;
  if (accepts_that_fail == 0) return static_cast<int>(::syscall(SYS_accept4, fd, address, length, flags));
  --accepts_that_fail;
  allocations_left = fails_at;
  errno = EMFILE;
  return -1;
}

namespace {

using scanner::OwnedFd;

OwnedFd new_socket() { return OwnedFd(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

io::Task<> until_raised(io::Scope& scope, io::Signal& signal, const int& count) {
  while (count == 0) co_await io::Wait(scope, io::never, signal);
}

}  // namespace

TEST_CASE("listener: out of descriptors, and out of memory for the pause") {
  for (unsigned nth = 0; nth <= 6; ++nth) {
    CAPTURE(nth);
    OwnedFd listening = new_socket();
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    auto* const name = reinterpret_cast<sockaddr*>(&address);
    REQUIRE(::bind(listening.get(), name, length) == 0);
    REQUIRE(::listen(listening.get(), 64) == 0);
    REQUIRE(::getsockname(listening.get(), name, &length) == 0);
    const OwnedFd client = new_socket();
    ::connect(client.get(), name, length);
    io_test::LoopRun run;
    io::Scope scope(run.loop);
    io::Signal signal;
    int welcomed = 0;
    fails_at = nth;
    accepts_that_fail = 2;  // the listener's own, and that for turning away
    std::optional<io::Listener> listener;
    const auto welcome = [&](const io::Accepted&) {
      ++welcomed;
      signal.raise();
    };
    listener.emplace(run.loop, std::move(listening), "421 busy\r\n", welcome, [](int) {});
    run.finish(until_raised(scope, signal, welcomed));
    CHECK(welcomed == 1);
    CHECK(accepts_that_fail == 0);
  }
}

TEST_CASE("a descriptor whose watch cannot go on stays paused, and the caller hears of it") {
  struct Nobody final : io::FdWatch::Owner {
    void on_ready(io::FdWatch::Ready) override {}
  };
  io::EventLoop loop;
  Nobody nobody;
  OwnedFd socket = new_socket();
  const int number = socket.get();
  io::FdWatch watch(loop, number, io::FdWatch::Mode::readable, nobody);
  watch.pause();
  socket.reset();
  CHECK_FALSE(watch.resume());
  CHECK_FALSE(watch.resume());
  const OwnedFd other = new_socket();
  REQUIRE(other.get() == number);
  CHECK(watch.resume());
  CHECK(watch.resume());
}
