#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cstring>
#include <string>
#include <vector>

#include "scanner/packet_socket.h"

using namespace scanner;

namespace {

bool is_open(int fd) { return ::fcntl(fd, F_GETFD) != -1; }

// The lowest free descriptor: unchanged when nothing was leaked in between.
int lowest_free() {
  const int fd = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ::close(fd);
  return fd;
}

bool same_file(int a, int b) {
  struct stat one {
  }, two{};
  return ::fstat(a, &one) == 0 && ::fstat(b, &two) == 0 && one.st_dev == two.st_dev && one.st_ino == two.st_ino;
}

// What a peer that breaks the rules sends: any number of descriptors with any packet.
void send_raw(int socket, std::string packet, const std::vector<int>& fds) {
  iovec part{packet.data(), packet.size()};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 16)] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * fds.size());
  cmsghdr* c = CMSG_FIRSTHDR(&message);
  c->cmsg_level = SOL_SOCKET;
  c->cmsg_type = SCM_RIGHTS;
  c->cmsg_len = CMSG_LEN(sizeof(int) * fds.size());
  std::memcpy(CMSG_DATA(c), fds.data(), sizeof(int) * fds.size());
  REQUIRE(::sendmsg(socket, &message, MSG_NOSIGNAL) >= 0);
}

}  // namespace

TEST_CASE("packet socket: packets keep their edges and their descriptor") {
  auto [a, b] = make_packet_pair();
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::would_block);
  CHECK(send_packet(a.get(), "one") == PacketStatus::ok);
  CHECK(send_packet(a.get(), std::string("t\0o", 3), null.get()) == PacketStatus::ok);
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::ok);
  CHECK(bytes == "one");
  CHECK(!fd);
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::ok);
  CHECK(bytes == std::string("t\0o", 3));
  REQUIRE(fd);
  CHECK(same_file(fd.get(), null.get()));
  CHECK((::fcntl(fd.get(), F_GETFD) & FD_CLOEXEC) != 0);
  const int received = fd.get();
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::would_block);
  CHECK(!is_open(received));  // what the caller left in fd is closed
  CHECK(bytes.empty());
}

TEST_CASE("packet socket: the largest packet passes, larger and empty ones are not sent") {
  auto [a, b] = make_packet_pair();
  const std::string largest(65536, 'x');
  CHECK(send_packet(a.get(), largest) == PacketStatus::ok);
  CHECK(send_packet(a.get(), largest + 'x') == PacketStatus::malformed);
  CHECK(send_packet(a.get(), "") == PacketStatus::malformed);
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::ok);
  CHECK(bytes == largest);
}

TEST_CASE("packet socket: surplus descriptors make a packet malformed and are closed") {
  auto [a, b] = make_packet_pair();
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int before = lowest_free();
  for (const std::size_t count : {2u, 4u, 5u, 16u}) {
    send_raw(a.get(), "many", std::vector<int>(count, null.get()));
    std::string bytes = "old";
    OwnedFd fd;
    CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::malformed);
    CHECK(!fd);
    CHECK(lowest_free() == before);
  }
  CHECK(send_packet(a.get(), "next") == PacketStatus::ok);
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::ok);
  CHECK(bytes == "next");
}

TEST_CASE("packet socket: a packet larger than the limit is malformed, its descriptor closed") {
  auto [a, b] = make_packet_pair();
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int before = lowest_free();
  send_raw(a.get(), std::string(65537, 'x'), {null.get()});
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::malformed);
  CHECK(!fd);
  CHECK(lowest_free() == before);
}

TEST_CASE("packet socket: an empty packet means closed, and its descriptor is closed") {
  auto [a, b] = make_packet_pair();
  const OwnedFd null(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int before = lowest_free();
  send_raw(a.get(), "", {null.get()});
  std::string bytes;
  {
    OwnedFd fd;
    CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::closed);
  }
  CHECK(lowest_free() == before);
}

TEST_CASE("packet socket: a peer that is gone") {
  auto [a, b] = make_packet_pair();
  CHECK(send_packet(a.get(), "last words") == PacketStatus::ok);
  a.reset();
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::ok);
  CHECK(bytes == "last words");
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::closed);
  CHECK(send_packet(b.get(), "hello?") == PacketStatus::closed);  // and no SIGPIPE
  CHECK(receive_packet(-1, bytes, fd) == PacketStatus::failed);
  CHECK(send_packet(-1, "x") == PacketStatus::failed);
}

TEST_CASE("packet socket: a peer that closed with unread packets") {
  auto [a, b] = make_packet_pair();
  CHECK(send_packet(b.get(), "never read") == PacketStatus::ok);
  a.reset();
  std::string bytes;
  OwnedFd fd;
  CHECK(receive_packet(b.get(), bytes, fd) == PacketStatus::closed);
}

TEST_CASE("packet socket: a peer that does not read blocks nobody") {
  auto [a, b] = make_packet_pair();
  PacketStatus status = PacketStatus::ok;
  std::size_t sent = 0;
  while (status == PacketStatus::ok && sent < 100'000)
    if (status = send_packet(a.get(), std::string(1000, 'x')); status == PacketStatus::ok) ++sent;
  CHECK(status == PacketStatus::would_block);
  std::string bytes;
  OwnedFd fd;
  std::size_t received = 0;
  while (receive_packet(b.get(), bytes, fd) == PacketStatus::ok) received += bytes.size() == 1000;
  CHECK(received == sent);
  CHECK(send_packet(a.get(), "again") == PacketStatus::ok);
}

TEST_CASE("owned descriptor: moves, releases and closes once") {
  OwnedFd one(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const int number = one.get();
  OwnedFd two(std::move(one));
  CHECK(!one);
  CHECK(two.get() == number);
  two.reset(number);  // itself: stays open
  CHECK(is_open(number));
  one = std::move(two);
  CHECK(one.release() == number);
  CHECK(is_open(number));
  OwnedFd(number).reset();
  CHECK(!is_open(number));
}

TEST_CASE("packet socket: a bundle gives the descriptors that were put into it, once") {
  const int before = lowest_free();
  {
    std::vector<OwnedFd> given;
    for (std::size_t i = 0; i < scanner::most_bundled; ++i) given.emplace_back(::dup(STDERR_FILENO));
    struct stat wanted, got;
    REQUIRE(::fstat(STDERR_FILENO, &wanted) == 0);
    auto bundle = scanner::bundle(given);
    REQUIRE(bundle);
    given.clear();
    const std::vector<OwnedFd> taken = scanner::unbundle(*bundle);
    REQUIRE(taken.size() == scanner::most_bundled);
    for (const OwnedFd& each : taken) {
      CHECK((::fcntl(each.get(), F_GETFD) & FD_CLOEXEC) != 0);
      REQUIRE(::fstat(each.get(), &got) == 0);
      CHECK((got.st_dev == wanted.st_dev && got.st_ino == wanted.st_ino));
    }
    CHECK(scanner::unbundle(*bundle).empty());
    CHECK(scanner::unbundle(taken.front()).empty());  // is none
    CHECK(scanner::bundle({}).error() == EINVAL);
    given.resize(scanner::most_bundled + 1);
    CHECK(!scanner::bundle(given));
    // Nobody takes it out: what is in it ends with it.
    given.clear();
    given.emplace_back(::dup(STDERR_FILENO));
    CHECK(scanner::bundle(given));
  }
  CHECK(lowest_free() == before);
}
