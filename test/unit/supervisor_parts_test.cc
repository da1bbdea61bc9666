#include <doctest/doctest.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "proxy/supervisor/backoff.h"
#include "proxy/supervisor/child.h"
#include "proxy/supervisor/control.h"
#include "proxy/supervisor/heartbeat.h"
#include "proxy/supervisor/outbox.h"
#include "proxy/supervisor/privileges.h"
#include "proxy/supervisor/readiness.h"
#include "proxy/supervisor/sockets.h"
#include "proxy/supervisor/window.h"

using namespace supervisor;
using std::chrono::milliseconds;

TEST_CASE("control messages survive the way; anything else is none") {
  for (const auto kind : {Message::Kind::scanner_socket, Message::Kind::drain, Message::Kind::silent}) {
    const Message message{kind, 0xfffffffe, "keeper"};
    const std::string bytes = encode(message);
    CHECK(decode(bytes) == message);
    for (std::size_t length = 0; length < bytes.size(); ++length) CHECK_FALSE(decode(bytes.substr(0, length)));
    CHECK_FALSE(decode(bytes + "x"));
  }
  std::string bytes = encode({Message::Kind::ready, 0, {}});
  for (int value = 0; value < 256; ++value) {
    bytes[1] = static_cast<char>(value);
    CHECK(decode(bytes).has_value() == (value >= 1 && value <= static_cast<int>(Message::Kind::full)));
  }
}

TEST_CASE("messages that find no room wait, in order, with their descriptors") {
  auto [ours, theirs] = scanner::make_packet_pair();
  Outbox outbox;
  constexpr int many = 2000;
  for (int i = 0; i < many; ++i) {
    scanner::OwnedFd file(i % 100 == 0 ? ::open("/dev/null", O_RDONLY | O_CLOEXEC) : -1);
    outbox.send(ours.get(), "message " + std::to_string(i), std::move(file));
  }
  CHECK(outbox.size() > 0);
  CHECK(outbox.count("message 1999") == 1);
  std::string packet;
  scanner::OwnedFd fd;
  for (int i = 0; i < many; ++i) {
    auto status = scanner::receive_packet(theirs.get(), packet, fd);
    if (status == scanner::PacketStatus::would_block) {
      outbox.flush(ours.get());
      status = scanner::receive_packet(theirs.get(), packet, fd);
    }
    REQUIRE(status == scanner::PacketStatus::ok);
    CHECK(packet == "message " + std::to_string(i));
    CHECK(static_cast<bool>(fd) == (i % 100 == 0));
    fd.reset();
  }
  CHECK(outbox.empty());
  theirs.reset();
  outbox.send(ours.get(), "for nobody");
  CHECK(outbox.empty());
}

TEST_CASE("back-off: from 0.1 s doubled to 30 s; a good life begins anew") {
  Backoff backoff;
  std::vector<long> pauses;
  for (int i = 0; i < 11; ++i) pauses.push_back(backoff.after(milliseconds{i}).count());
  CHECK(pauses == std::vector<long>{100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000});
  CHECK(backoff.after(milliseconds{59'999}).count() == 30'000);
  CHECK(backoff.after(milliseconds{60'000}).count() == 100);
  CHECK(backoff.after(milliseconds{0}).count() == 200);
}

TEST_CASE("a heartbeat: asked once in a while, silent when no word comes in time") {
  const Heartbeat::Time start{};
  const auto at = [start](int ms) { return start + milliseconds{ms}; };
  Heartbeat heartbeat;
  CHECK_FALSE(heartbeat.next());
  heartbeat.heard(at(0));  // of somebody who is gone
  CHECK_FALSE((heartbeat.next() || heartbeat.due(at(99'000)) || heartbeat.silent(at(99'000))));
  heartbeat.begin(at(0));
  CHECK_FALSE(heartbeat.silent(at(14'999)));
  CHECK((heartbeat.silent(at(15'000)) && heartbeat.next() == at(15'000)));
  CHECK_FALSE(heartbeat.due(at(99'000)));
  heartbeat.heard(at(14'000));
  CHECK((heartbeat.next() == at(15'000) && !heartbeat.silent(at(99'000))));
  CHECK((!heartbeat.due(at(14'999)) && heartbeat.due(at(15'000))));
  heartbeat.asked(at(15'100));
  CHECK((heartbeat.next() == at(19'100) && !heartbeat.due(at(99'000))));
  CHECK((!heartbeat.silent(at(19'099)) && heartbeat.silent(at(19'100))));
  heartbeat.heard(at(15'200));
  heartbeat.heard(at(15'900));  // a second word moves nothing
  CHECK(heartbeat.next() == at(16'200));
  heartbeat.end();
  CHECK_FALSE(heartbeat.next());
}

TEST_CASE("the window: slots open and close per loop, and are found again after the proxy's death") {
  Window window(2, 3);
  CHECK(window.open(2, {"x", 1, {}, "c", "l", {}, "d"}) == nullptr);
  WindowSlot* slots[3];
  for (auto& slot : slots) REQUIRE((slot = window.open(0, {"busy", 1, {}, "c", "l", {}, "d"})) != nullptr);
  CHECK(window.open(0, {"x", 1, {}, "c", "l", {}, "d"}) == nullptr);
  Window::close(slots[1]);
  CHECK(window.open(0, {"again", 1, {}, "c", "l", {}, "d"}) == slots[1]);
  CHECK(window.in_use());
  for (auto& slot : slots) Window::close(slot);
  CHECK_FALSE(window.in_use());
  Window::close(nullptr);
  const pid_t child = ::fork();
  if (child == 0) {
    WindowSlot* answered = window.open(0, {"answered", 1, {}, "c", "l", {}, "d"});
    window.open(1, {"q1.1", 4711, {1, 2}, "192.0.2.1:1", "mx", "incoming", "192.0.2.2:25"});
    const std::string any(1000, 'i');
    window.open(0, {any, 2, {}, any, any, any, any});
    Window::close(answered);
    ::_exit(0);
  }
  REQUIRE(::waitpid(child, nullptr, 0) == child);
  std::map<std::string, std::uint64_t> seen;
  window.sweep([&seen](const WindowSlot& slot) {
    seen[slot.trace_id.data()] = slot.size;
    if (slot.size == 4711) {
      CHECK(slot.hash == std::array<std::uint64_t, 2>{1, 2});
      CHECK(std::string(slot.client.data()) == "192.0.2.1:1");
      CHECK(std::string(slot.listener.data()) == "mx");
      CHECK(std::string(slot.direction.data()) == "incoming");
      CHECK(std::string(slot.downstream.data()) == "192.0.2.2:25");
    }
  });
  CHECK(seen == std::map<std::string, std::uint64_t>{{"q1.1", 4711}, {std::string(23, 'i'), 2}});
  window.sweep([](const WindowSlot&) { FAIL("swept twice"); });
}

namespace {

config::Listener listener(const char* name, std::uint16_t port) {
  config::Listener out;
  out.name = name;
  auto& address = reinterpret_cast<sockaddr_in&>(out.address.address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  out.address.length = sizeof address;
  return out;
}

std::uint16_t port_of(const scanner::OwnedFd& socket) {
  sockaddr_in address{};
  socklen_t length = sizeof address;
  REQUIRE(::getsockname(socket.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
  return ntohs(address.sin_port);
}

}  // namespace

TEST_CASE("port 0: the first socket decides, all loops share; a second gatepost gets neither port nor connections") {
  const auto first = listen_on({listener("in", 0), listener("out", 0)}, 3);
  REQUIRE(first);
  REQUIRE(first->sockets.size() == 3);
  const std::uint16_t port = port_of(first->sockets[0][0]);
  for (const auto& loop : first->sockets) {
    REQUIRE(loop.size() == 2);
    CHECK(port_of(loop[0]) == port);
    CHECK(port_of(loop[1]) == port_of(first->sockets[0][1]));
  }
  CHECK(port_of(first->sockets[0][1]) != port);
  CHECK(first->addresses[0] == "127.0.0.1:" + std::to_string(port));
  const auto second = listen_on({listener("inbound", port)}, 1);
  REQUIRE_FALSE(second);
  CHECK(second.error().find("\"inbound\"") != std::string::npos);
  CHECK(second.error().find("port " + std::to_string(port)) != std::string::npos);
  CHECK(second.error().find("taken") != std::string::npos);
}

TEST_CASE("an address of nobody's is named") {
  config::Listener foreign = listener("x", 0);
  reinterpret_cast<sockaddr_in&>(foreign.address.address).sin_addr.s_addr = htonl(0xc0000201);  // 192.0.2.1
  const auto none = listen_on({foreign}, 1);
  REQUIRE_FALSE(none);
  CHECK(none.error().find("192.0.2.1:0") != std::string::npos);
}

TEST_CASE("the ready line names listeners and real addresses") {
  config::Listener odd = listener("in\"1\n", 0);
  CHECK(ready_line({odd}, {"127.0.0.1:4"}, 7) ==
        "{\"listeners\":[{\"name\":\"in\\\"1\\n\",\"address\":\"127.0.0.1:4\"}],\"pid\":7}\n");
}

TEST_CASE("ends in words") {
  CHECK(End{78, 0}.text() == "exit status 78");
  CHECK(End{-1, SIGSEGV}.text() == "SIGSEGV");
}

namespace {

// The lines of /proc/self/status, by name.
std::map<std::string, std::string> own_status() {
  std::map<std::string, std::string> out;
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    const std::size_t colon = line.find(":\t");
    if (colon != std::string::npos) out[line.substr(0, colon)] = line.substr(colon + 2);
  }
  return out;
}

int in_child(const std::function<int()>& body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("dropped privileges stay dropped" * doctest::skip(::geteuid() != 0)) {
  const int wrong = in_child([] {
    if (!drop_privileges({64525, 64526})) return 1;
    auto status = own_status();
    const std::string none = "0000000000000000";
    if (status["Uid"] != "64525\t64525\t64525\t64525" || status["Gid"] != "64526\t64526\t64526\t64526") return 2;
    if (status["CapEff"] != none || status["CapPrm"] != none || status["CapInh"] != none || status["CapAmb"] != none)
      return 3;
    if (status["CapBnd"] != none || status["NoNewPrivs"] != "1") return 4;
    return status["Groups"].find_first_not_of(" ") == std::string::npos ? 0 : 5;
  });
  CHECK(wrong == 0);
  CHECK(in_child([] { return drop_privileges({0, 0}) ? 1 : 0; }) == 0);
  CHECK(in_child([] { return drop_privileges({64525, 0}) ? 1 : 0; }) == 0);
}

TEST_CASE("who may write is asked as the account would be" * doctest::skip(::geteuid() != 0)) {
  std::string path = "/tmp/gatepost-unit.XXXXXX";
  REQUIRE(::mkdtemp(path.data()) != nullptr);
  CHECK_FALSE(may_write(path, {64525, 64525}));
  REQUIRE(::chown(path.c_str(), 64525, 64525) == 0);
  CHECK(may_write(path, {64525, 64525}));
  CHECK_FALSE(may_write(path, {64526, 64526}));
  ::rmdir(path.c_str());
}

TEST_CASE("a child has its control socket and nothing else of ours") {
  scanner::OwnedFd secret(::dup(2));
  Child child("test");
  const int number = secret.get();
  REQUIRE(child.fork(
      [number](scanner::OwnedFd control) {
        const bool closed = ::fcntl(number, F_GETFD) < 0;
        scanner::send_packet(control.get(), encode({Message::Kind::ready, 0, closed ? "closed" : "open"}));
        return 3;
      },
      {}));
  int status = 0;
  REQUIRE(::waitpid(child.pid(), &status, 0) == child.pid());
  CHECK(WEXITSTATUS(status) == 3);
  std::string packet;
  scanner::OwnedFd fd;
  REQUIRE(scanner::receive_packet(child.control(), packet, fd) == scanner::PacketStatus::ok);
  CHECK(decode(packet)->text == "closed");
  CHECK(child.buried(Clock::now()) == milliseconds{100});
  CHECK_FALSE(child.running());
}

TEST_CASE("without descriptors no child is started, and the pauses grow however long the last one lived") {
  Child child("test");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{3, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const bool started = child.fork([](scanner::OwnedFd) { return 0; }, {});
  const int error = errno;
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK_FALSE(started);
  CHECK(error == EMFILE);
  CHECK_FALSE(child.running());
  const auto now = Clock::now() + std::chrono::hours(1);
  CHECK(child.buried(now) == milliseconds{100});
  CHECK(child.buried(now) == milliseconds{200});
  CHECK(child.buried(now) == milliseconds{400});
}

TEST_CASE("a child that is told to end and does not is killed, once") {
  Child child("test");
  REQUIRE(child.fork(
      [](scanner::OwnedFd) {
        for (;;) ::pause();
        return 0;
      },
      {}));
  const auto now = Clock::now();
  child.kill_overdue(now);
  child.expect_end(now + milliseconds{10});
  child.expect_end(now + milliseconds{1000});  // the first word counts
  CHECK(child.kill_at() == now + milliseconds{10});
  child.kill_overdue(now + milliseconds{9});
  int status = 0;
  CHECK(::waitpid(child.pid(), &status, WNOHANG) == 0);
  child.kill_overdue(now + milliseconds{10});
  CHECK(child.kill_at() == Clock::time_point::max());
  REQUIRE(::waitpid(child.pid(), &status, 0) == child.pid());
  CHECK(WTERMSIG(status) == SIGKILL);
  CHECK(child.end_expected());
  CHECK(child.buried(now) == milliseconds{0});
  CHECK_FALSE(child.end_expected());
}
