// Connections that were passed on unscanned, in a file that outlives whoever counts them.
#include <doctest/doctest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <string>

#include "firewall/passed_on.h"

using firewall::PassedOn;
using Counts = std::map<std::string, std::uint64_t>;

namespace {

struct Directory {
  Directory() {
    REQUIRE(::mkdtemp(name) != nullptr);
    path = name;
  }
  ~Directory() {
    ::unlink((path + "/passed_on").c_str());
    ::rmdir(path.c_str());
  }
  Directory(const Directory&) = delete;
  Directory& operator=(const Directory&) = delete;
  char name[32] = "/tmp/passed-on-XXXXXX";
  std::string path;
};

config::Config config_with(const Directory& directory, std::vector<std::string> passing, const std::string& other) {
  config::Config config;
  config.firewall.state_directory = directory.path;
  for (const std::string& name : passing) {
    config::Listener& listener = config.listeners.emplace_back();
    listener.name = name;
    listener.intercept = config::Intercept::redirect;
    listener.tls.mode = config::ListenerTlsMode::pass;
  }
  config.listeners.emplace_back().name = other;
  config.listeners.back().intercept = config::Intercept::redirect;
  return config;
}

std::unique_ptr<PassedOn> made(const config::Config& config) {
  auto passed = PassedOn::create(config);
  if (!passed) MESSAGE(passed.error());
  REQUIRE(passed);
  return std::move(*passed);
}

}  // namespace

TEST_CASE("what is passed on is counted by listener, by another process too, and after its end") {
  const Directory directory;
  const std::string longest(64, 'x'), alike = std::string(63, 'x') + 'y';
  const auto config = config_with(directory, {"one", longest, alike}, "other");
  const std::vector<std::string> names{"other", "one", longest, alike, "gone"};
  CHECK(firewall::passed_on(directory.path, names).empty());
  auto passed = made(config);
  CHECK(firewall::passed_on(directory.path, names) == Counts{{"one", 0}, {longest, 0}, {alike, 0}});
  const pid_t child = ::fork();
  if (child == 0) {
    for (int i = 0; i < 1000; ++i) passed->add(1);
    passed->add(0);
    passed->add(4);  // of no listener
    ::_exit(0);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  passed->add(0);
  passed->add(2);
  REQUIRE(passed->save());
  passed.reset();
  CHECK(firewall::passed_on(directory.path, names) == Counts{{"one", 2}, {longest, 1000}, {alike, 1}});
  CHECK(firewall::passed_on(directory.path, {"one"}) == Counts{{"one", 2}});
  passed = made(config);  // the next start
  CHECK(firewall::passed_on(directory.path, {"one"}) == Counts{{"one", 0}});
}

TEST_CASE("where nothing is passed on there is no file, of an earlier start neither") {
  const Directory directory;
  made(config_with(directory, {"one"}, "other"))->add(0);
  CHECK(made(config_with(directory, {}, "one")) == nullptr);
  CHECK(firewall::passed_on(directory.path, {"one"}).empty());
  config::Config lists = config_with(directory, {}, "one");
  lists.listeners[0].tls.pass_sources = {*config::parse_netmask("192.0.2.0/24")};
  CHECK(made(lists) != nullptr);
}

TEST_CASE("a directory that cannot be had is an error, a file of anybody else is replaced and never followed") {
  const Directory directory;
  auto config = config_with(directory, {"one"}, "other");
  const std::string victim = directory.path + "-victim";
  std::ofstream(victim) << "precious";
  REQUIRE(::symlink(victim.c_str(), (directory.path + "/passed_on").c_str()) == 0);
  CHECK(firewall::passed_on(directory.path, {"one"}).empty());
  made(config)->add(0);
  std::string content;
  std::getline(std::ifstream(victim), content);
  CHECK(content == "precious");
  ::unlink(victim.c_str());
  config.firewall.state_directory = "/proc/nowhere/at/all";
  const auto failed = PassedOn::create(config);
  REQUIRE_FALSE(failed);
  CHECK(failed.error() == "/proc/nowhere/at/all/passed_on: No such file or directory");
}

TEST_CASE("whatever becomes of the file, counting goes on, and the next number is in a whole one") {
  const Directory directory;
  const std::string file = directory.path + "/passed_on";
  const auto passed = made(config_with(directory, {"one"}, "other"));
  const auto mask = ::umask(077);
  for (const char* what : {"truncated", "removed"}) {
    CAPTURE(what);
    if (*what == 't') REQUIRE(::truncate(file.c_str(), 0) == 0);
    else ::unlink(file.c_str());
    passed->add(0);
    REQUIRE(passed->save());
    CHECK(firewall::passed_on(directory.path, {"one"}) == Counts{{"one", *what == 't' ? 1 : 2}});
    struct stat status {};
    REQUIRE(::stat(file.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0644);
  }
  ::umask(mask);
  ::unlink(file.c_str());
  CHECK(passed->save());  // nothing new
  CHECK(firewall::passed_on(directory.path, {"one"}).empty());
  passed->add(0);
  ::rmdir(directory.path.c_str());
  CHECK_FALSE(passed->save());
}

TEST_CASE("a file with anything in it is read for what it is worth") {
  const Directory directory;
  for (const std::string& content :
       {std::string(), std::string(63, 'x'), std::string(640, '\xff'), std::string(64, '\0'),
        std::string("one one\none"), std::string("one -\n"), std::string("one 99999999999999999999999\none 7\n"),
        std::string("one 3\ntwo 4")}) {
    std::ofstream(directory.path + "/passed_on", std::ios::trunc) << content;
    CHECK(firewall::passed_on(directory.path, {"one", ""}).size() <= 1);
  }
}
