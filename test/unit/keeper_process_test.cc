// The keeper as a whole, behind its sockets.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include <filesystem>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "proxy/keeper/keeper.h"
#include "proxy/supervisor/control.h"
#include "test/unit/keeper_fixture.h"

using keeper::Answer;
using keeper::Job;
using keeper::Request;
using scanner::OwnedFd;

namespace {

std::string next_packet(int socket) {
  std::string packet;
  OwnedFd fd;
  for (;;) {
    const auto status = scanner::receive_packet(socket, packet, fd);
    if (status == scanner::PacketStatus::ok) return packet;
    REQUIRE(status == scanner::PacketStatus::would_block);
    pollfd wait{socket, POLLIN, 0};
    REQUIRE(::poll(&wait, 1, 10'000) == 1);
  }
}

// The keeper's process as a thread, and its supervisor's side.
class Running {
 public:
  explicit Running(const Directory& place) : log_(settings_, "gatepost/keeper", null_.get(), 1) {
    auto [control, its] = scanner::make_packet_pair();
    control_ = std::move(control);
    auto shared = std::make_shared<config::Config>();
    shared->hostname = "mx";
    config::Downstream& mailboxes = shared->downstreams["mailboxes"];
    mailboxes.path = place.path("%domain/%local");
    mailboxes.create = true;
    shared->downstreams["there"].path = place.path("there/%local");
    thread_ =
        std::thread([this, shared, end = std::move(its)]() mutable { keeper::run(shared, std::move(end), log_); });
    CHECK(supervisor::decode(next_packet(control_.get()))->kind == supervisor::Message::Kind::ready);
  }
  OwnedFd new_loop() {
    auto [ours, its] = scanner::make_packet_pair();
    tell(supervisor::Message::Kind::keeper_socket, its.get());
    return std::move(ours);
  }
  void drain() {
    tell(supervisor::Message::Kind::drain, -1);
    thread_.join();
  }

 private:
  void tell(supervisor::Message::Kind kind, int fd) {
    CHECK(scanner::send_packet(control_.get(), supervisor::encode({kind, 0, {}}), fd) == scanner::PacketStatus::ok);
  }
  config::Log settings_;
  OwnedFd null_{::memfd_create("log", MFD_CLOEXEC)};
  admin::Log log_;
  OwnedFd control_;
  std::thread thread_;
};

}  // namespace

TEST_CASE("the process: ready, jobs of several loops, junk, a dead peer, drain") {
  const Directory place;
  Running process(place);
  std::vector<OwnedFd> loops;
  for (unsigned i = 0; i < 3; ++i) loops.push_back(process.new_loop());
  scanner::send_packet(loops[0].get(), "junk");
  loops[2].reset();
  for (unsigned id = 1; id <= 20; ++id) {
    Job one = job(place, {"a"}, "x\r\n");
    one.request.id = id;
    scanner::send_packet(loops[id % 2].get(), encode(one.request), id == 20 ? -1 : one.content.get());
  }
  std::set<std::uint64_t> answered;  // in any order
  for (unsigned id = 1; id <= 20; ++id) {
    const auto answer = keeper::decode_answer(next_packet(loops[id % 2].get()));
    REQUIRE(answer);
    CHECK(answer->id % 2 == id % 2);
    CHECK(answered.insert(answer->id).second);
    CHECK(answer->status == (answer->id == 20 ? Answer::Status::failed : Answer::Status::kept));
  }
  process.drain();
  CHECK(place.names("example.org/a/new").size() == 19);
}

TEST_CASE("the process: only what the configuration names, whatever the proxy asks for") {
  const Directory place;
  std::filesystem::create_directories(place.path("there/a"));
  Running process(place);
  const OwnedFd loop = process.new_loop();
  struct Case {
    std::string path;
    bool create, granted;
  };
  for (const Case& each :
       {Case{place.path("%domain/%local"), true, true}, Case{place.path("there/%local"), false, true},
        Case{place.path("there/%local"), true, false}, Case{place.path("%domain/%local"), false, false},
        Case{place.path("elsewhere/%local"), true, false}, Case{place.path("there/a"), false, false},
        Case{place.path(), true, false}, Case{"", false, false}})
    for (const auto kind : {Request::Kind::lookup, Request::Kind::deliver}) {
      CAPTURE(each.path);
      CAPTURE(each.create);
      Job one = job(place, {"a"}, "x\r\n");
      one.request.kind = kind;
      one.request.path = each.path;
      one.request.create = each.create;
      scanner::send_packet(loop.get(), encode(one.request), kind == Request::Kind::deliver ? one.content.get() : -1);
      const auto answer = keeper::decode_answer(next_packet(loop.get()));
      REQUIRE(answer);
      CHECK(answer->id == 7);
      CHECK(answer->status == (each.granted ? Answer::Status::kept : Answer::Status::failed));
    }
  process.drain();
  CHECK(place.names("") == std::set<std::string>{"example.org", "there"});
  CHECK(place.names("there") == std::set<std::string>{"a"});
}

TEST_CASE("the process: a lookup waits for one fsync, not for a batch of them") {
  const Directory place;
  Running process(place);
  const OwnedFd delivers = process.new_loop(), looks_up = process.new_loop();
  constexpr unsigned jobs = 20;
  unsigned syncs = 0, answered_after = 0;
  // Runs in the keeper's thread, which is the only one that looks at them until it has ended.
  when_synced = [&] {
    Request request = request_for(place, {"a"}, 0);
    request.kind = Request::Kind::lookup;
    if (++syncs == 1) scanner::send_packet(looks_up.get(), encode(request));
    std::string packet;
    OwnedFd fd;
    if (answered_after == 0 && scanner::receive_packet(looks_up.get(), packet, fd) == scanner::PacketStatus::ok)
      answered_after = syncs;
  };
  // All are there before the keeper hears of the socket's first: one packet pair has room for them.
  for (unsigned id = 1; id <= jobs; ++id) {
    Job one = job(place, {"a"}, "x\r\n");
    one.request.id = id;
    REQUIRE(scanner::send_packet(delivers.get(), encode(one.request), one.content.get()) == scanner::PacketStatus::ok);
  }
  for (unsigned id = 1; id <= jobs; ++id) CHECK(keeper::decode_answer(next_packet(delivers.get())));
  process.drain();
  when_synced = nullptr;
  CHECK(syncs > jobs);
  CHECK(answered_after == 2);
}

TEST_CASE("the process: more jobs than it holds at a time") {
  const Directory place;
  Running process(place);
  const OwnedFd loop = process.new_loop();
  unsigned asked = 0, kept = 0;
  const auto next_answer = [&] {
    const auto answer = keeper::decode_answer(next_packet(loop.get()));
    REQUIRE(answer);
    CHECK(answer->status == Answer::Status::kept);
    ++kept;
  };
  while (asked < 1500) {
    Job one = job(place, {"a"}, "x\r\n");
    one.request.id = ++asked;
    while (scanner::send_packet(loop.get(), encode(one.request), one.content.get()) ==
           scanner::PacketStatus::would_block)
      next_answer();
  }
  while (kept < asked) next_answer();
  process.drain();
  CHECK(place.names("example.org/a/new").size() == asked);
}
