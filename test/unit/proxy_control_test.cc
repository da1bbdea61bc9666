// The main thread of the proxy between loops and supervisor: what it reads, and what it passes on.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "proxy/control_reader.h"
#include "proxy/offence_reader.h"

namespace {

using scanner::OwnedFd;
using supervisor::BanRequest;
using supervisor::Message;
using namespace std::chrono_literals;

// What is logged goes into a pipe.
struct Logged {
  Logged() {
    int ends[2];
    REQUIRE(::pipe(ends) == 0);
    read_end = OwnedFd(ends[0]);
    write_end = OwnedFd(ends[1]);
    config->listeners.resize(1);
    config->listeners[0].name = "in";
    config->listeners[0].bans.infected = {1, 10min, 90s};
    log.emplace(config->log, "test", write_end.get(), 0);
  }
  std::string lines() {
    log.reset();
    write_end.reset();
    std::string said(65536, '\0');
    said.resize(static_cast<std::size_t>(std::max<ssize_t>(::read(read_end.get(), said.data(), said.size()), 0)));
    return said;
  }
  std::shared_ptr<config::Config> config = std::make_shared<config::Config>();
  OwnedFd read_end, write_end;
  std::optional<admin::Log> log;
  io::TimePoint now{std::chrono::hours(1)};
};

struct Heard : Logged {
  explicit Heard(int socket)
      : reader(
            socket, *log, [this](const Message&, const std::string&, OwnedFd) { ++messages; }, [this] { ++orphaned; }) {}
  int messages = 0, orphaned = 0;
  ControlReader reader;
};

struct Passing : Logged {
  Passing() : loops(scanner::make_packet_pair()), control(scanner::make_packet_pair()) {
    reader.emplace(loops.first.get(), control.first.get(), config, *log);
  }
  void offence(const std::string& ip, bool told = false) {
    const BanRequest request{0, config::Offence::infected, *protocol::parse_ip(ip), told};
    REQUIRE(scanner::send_packet(loops.second.get(), encode(message_of(request))) == scanner::PacketStatus::ok);
    reader->read(now);
  }
  std::vector<BanRequest> asked() {
    std::vector<BanRequest> all;
    std::string packet;
    OwnedFd fd;
    while (scanner::receive_packet(control.second.get(), packet, fd) == scanner::PacketStatus::ok)
      all.push_back(ban_request_in(*supervisor::decode(packet), *config).value());
    return all;
  }
  std::pair<OwnedFd, OwnedFd> loops, control;
  std::optional<OffenceReader> reader;
};

}  // namespace

TEST_CASE("the proxy ends when the supervisor is gone, and obeys what it says until then") {
  auto [ours, theirs] = scanner::make_packet_pair();
  Heard heard(ours.get());
  CHECK_FALSE(heard.reader.read_one(heard.now));
  Message drain;
  drain.kind = Message::Kind::drain;
  scanner::send_packet(theirs.get(), encode(drain));
  CHECK(heard.reader.read_one(heard.now));
  CHECK(heard.messages == 1);
  CHECK(heard.orphaned == 0);
  theirs.reset();
  CHECK_FALSE(heard.reader.read_one(heard.now));
  CHECK(heard.orphaned == 1);
}

TEST_CASE("the proxy does not end when the kernel will not give what the supervisor said") {
  // Of a pipe recvmsg() fails as it does without memory: neither closed nor later.
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const OwnedFd out(ends[0]), in(ends[1]);
  Heard heard(out.get());
  CHECK(heard.reader.events(heard.now) == POLLIN);
  CHECK_FALSE(heard.reader.read_one(heard.now));
  CHECK(heard.orphaned == 0);
  CHECK(heard.reader.events(heard.now) == 0);  // it would be there at once again
  CHECK(heard.reader.events(heard.now + 1s) == POLLIN);
  CHECK(heard.lines().find("the supervisor cannot be heard now") != std::string::npos);
}

TEST_CASE("the supervisor hears of every client, also of those whom a peer told of") {
  Passing passing;
  passing.offence("192.0.2.1");
  passing.offence("192.0.2.2", true);
  const std::vector<BanRequest> asked = passing.asked();
  REQUIRE(asked.size() == 2);
  CHECK_FALSE(asked[0].told);
  CHECK(asked[1].told);
  CHECK(to_text(asked[1].client) == "192.0.2.2");
  CHECK(passing.lines().empty());
}

TEST_CASE("requests for a ban wait for a supervisor that is busy, and those that cannot are counted") {
  Passing passing;
  int sent = 0;
  const auto another = [&] {
    passing.offence("10.0." + std::to_string(sent / 250) + "." + std::to_string(sent % 250));
    ++sent;
  };
  while (!passing.reader->waits()) another();
  for (std::size_t i = 1; i < OffenceReader::most_waiting; ++i) another();
  const int kept = sent;
  for (int i = 0; i < 30; ++i) another();
  std::size_t heard = 0;
  for (int i = 0; i < 1000 && heard < static_cast<std::size_t>(kept); ++i) {
    heard += passing.asked().size();
    passing.reader->flush(passing.now);
  }
  CHECK(heard == static_cast<std::size_t>(kept));
  CHECK_FALSE(passing.reader->waits());
  passing.reader->flush(passing.now + 10s);
  const std::string lines = passing.lines();
  CHECK(lines.find("1 clients are not banned: the supervisor reads no more requests") != std::string::npos);
  CHECK(lines.find("29 clients are not banned") != std::string::npos);
  CHECK(std::count(lines.begin(), lines.end(), '\n') == 2);
}
