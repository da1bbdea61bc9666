#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <deque>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>
#include <thread>
#include <vector>

#include "proxy/admin/log.h"
#include "proxy/admin/ring.h"
#include "scanner/packet_socket.h"

using admin::Level;
using admin::Log;
using admin::Ring;
using scanner::OwnedFd;

namespace {

OwnedFd unnamed() { return OwnedFd(::memfd_create("log", MFD_CLOEXEC)); }

std::string content(const OwnedFd& file) {
  std::string text(static_cast<std::size_t>(::lseek(file.get(), 0, SEEK_END)), '\0');
  REQUIRE(::pread(file.get(), text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()));
  return text;
}

std::vector<std::string> lines(const std::string& text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = text.find('\n', at);
    REQUIRE(end != std::string::npos);
    out.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

config::Log format(config::LogFormat format) {
  config::Log settings;
  settings.format = format;
  return settings;
}

}  // namespace

TEST_CASE("a ring gives back what was put in, around its end, and counts what did not fit") {
  Ring ring;
  std::deque<std::string> expected;
  std::uint64_t dropped = 0;
  std::string line;
  Level level{};
  std::int64_t when = 0;
  unsigned random = 1;
  for (int i = 0; i < 20'000; ++i) {
    random = random * 1664525 + 1013904223;
    const std::string sent(random >> 20, static_cast<char>('a' + i % 26));
    if (ring.push(Level::warning, i, sent)) expected.push_back(sent);
    else ++dropped;
    if (i % 3 != 0) continue;
    REQUIRE(ring.pop(level, when, line));
    REQUIRE(line == expected.front());
    expected.pop_front();
  }
  CHECK(dropped > 0);
  CHECK(ring.dropped() == dropped);
  CHECK(ring.half_full());
  while (ring.pop(level, when, line)) {
    REQUIRE(line == expected.front());
    expected.pop_front();
  }
  CHECK(expected.empty());
  CHECK(ring.empty());
  CHECK(level == Level::warning);
  CHECK_FALSE(ring.push(Level::info, 0, std::string(Ring::octets, 'x')));
}

TEST_CASE("one thread writes, one reads: in order, none twice, none torn") {
  Ring ring;
  constexpr int count = 200'000;
  std::thread producer([&ring] {
    for (int i = 0; i < count;)
      if (ring.push(Level::info, i, std::to_string(i))) ++i;
      else std::this_thread::yield();
  });
  std::string line;
  Level level{};
  std::int64_t when = 0;
  int next = 0;
  bool right = true;
  while (next < count) {
    if (!ring.pop(level, when, line)) {
      std::this_thread::yield();
      continue;
    }
    right = right && line == std::to_string(next) && when == next;
    ++next;
  }
  producer.join();
  CHECK(right);
}

TEST_CASE("lines of several threads arrive whole, each thread's in order") {
  const OwnedFd file = unnamed();
  {
    Log log(format(config::LogFormat::json), "gatepost/test", file.get(), 3);
    std::vector<std::thread> threads;
    for (unsigned ring = 0; ring < 3; ++ring)
      threads.emplace_back([&log, ring] {
        for (unsigned i = 0; i < 500; ++i) {
          auto record = log.record(Level::info, "t" + std::to_string(ring));
          record.number("n", i);
          log.write(ring, Level::info, std::move(record));
        }
      });
    for (std::thread& thread : threads) thread.join();
    CHECK(log.dropped() == 0);
  }
  unsigned next[3] = {};
  for (const std::string& line : lines(content(file))) {
    const auto object = nlohmann::json::parse(line);
    const auto ring = static_cast<unsigned>(object.at("id").get<std::string>().at(1) - '0');
    CHECK(object.at("n").get<unsigned>() == next[ring]++);
    CHECK(object.at("process") == "gatepost/test");
    CHECK(std::regex_match(object.at("time").get<std::string>(),
                           std::regex(R"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z)")));
  }
  for (const unsigned count : next) CHECK(count == 500);
}

TEST_CASE("text lines begin as syslog's do") {
  const OwnedFd file = unnamed();
  { Log(format(config::LogFormat::text), "gatepost/proxy", file.get(), 0).say(0, Level::error, "disk \x1b full"); }
  const auto got = lines(content(file));
  REQUIRE(got.size() == 1);
  const std::regex shape(R"([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d gatepost/proxy\[\d+\]: error: disk \\x1b full)");
  CHECK(std::regex_match(got[0], shape));
}

TEST_CASE("what cannot be written is counted, and said when there is room again") {
  const OwnedFd full(::open("/dev/full", O_WRONLY | O_CLOEXEC));
  REQUIRE(full);
  const OwnedFd file = unnamed();
  Log log(format(config::LogFormat::text), "gatepost", full.get(), 0);
  for (int i = 0; i < 7; ++i) log.say(0, Level::info, "lost");
  CHECK(log.dropped() == 7);
  log.reopen(::dup(file.get()));
  log.say(0, Level::info, "kept");
  const auto got = lines(content(file));
  REQUIRE(got.size() == 2);
  CHECK(got[0].ends_with(": kept"));
  CHECK(got[1].ends_with(": warning: 7 log lines were dropped"));
  log.say(0, Level::info, "once");
  CHECK(lines(content(file)).size() == 3);
}

TEST_CASE("a reader that is gone ends nothing") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  ::close(ends[0]);
  const OwnedFd write_end(ends[1]);
  Log log(format(config::LogFormat::text), "gatepost", write_end.get(), 0);
  ::signal(SIGPIPE, SIG_IGN);  // as the program does
  log.say(0, Level::info, "to nobody");
  CHECK(log.dropped() == 1);
}

TEST_CASE("a full ring drops and counts; the producer never waits") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const OwnedFd read_end(ends[0]), write_end(ends[1]);
  while (::write(write_end.get(), "0123456789abcdef", 16) > 0) {
  }
  std::uint64_t dropped = 0;
  {
    Log log(format(config::LogFormat::text), "gatepost", write_end.get(), 1);
    const std::string line(400, 'x');
    for (int i = 0; i < 5000; ++i) log.say(0, Level::info, line);
    dropped = log.dropped();
    log.reopen(::dup(unnamed().get()));
    std::thread reader([&read_end] {  // lets the writer thread go on
      char space[65536];
      while (::read(read_end.get(), space, sizeof space) > 0) {
      }
    });
    reader.join();
  }
  CHECK(dropped > 1000);
}

TEST_CASE("a thread without a ring of its own is counted, not crashed") {
  const OwnedFd file = unnamed();
  Log log(format(config::LogFormat::text), "gatepost", file.get(), 1);
  log.say(5, Level::info, "nobody");
  CHECK(log.dropped() == 1);
}
