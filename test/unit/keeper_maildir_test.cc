#include <doctest/doctest.h>
#include <sys/stat.h>
#include <utime.h>

#include <fstream>
#include <set>
#include <string>

#include "proxy/keeper/maildir.h"
#include "test/unit/keeper_fixture.h"

using keeper::Answer;

namespace {

keeper::Recipient recipient(const std::string& local, const std::string& domain) {
  return {local, domain, local + "@" + domain};
}

Answer::Status status_of(const std::string& pattern, const std::string& local, const std::string& domain) {
  const auto path = keeper::expand(pattern, recipient(local, domain));
  return path ? Answer::Status::kept : path.error().status;
}

}  // namespace

TEST_CASE("a mailbox's path: local part as it is, domain in lower case") {
  CHECK(keeper::expand("/m/%domain/%local", recipient("Bob", "Example.ORG")) == "/m/example.org/Bob");
  CHECK(keeper::expand("/m/%local@%domain/", recipient("a.b", "x")) == "/m/a.b@x");
  CHECK(keeper::expand("/m/100%%/%local", recipient("a", "x")) == "/m/100%/a");
  CHECK(keeper::expand("/m/%local", recipient("%domain", "x")) == "/m/%domain");  // filled in once
  CHECK(keeper::expand("/m/.%local", recipient("a", "x")) == "/m/.a");
  CHECK(keeper::expand("/m/%domain/%local", recipient("gr\xc3\xbc\xc3\x9f", "[192.0.2.1]")) ==
        "/m/[192.0.2.1]/gr\xc3\xbc\xc3\x9f");
  CHECK(keeper::expand("/m/all", recipient("../x", "/")) == "/m/all");  // nothing of the address is used
}

TEST_CASE("names that could leave the place are refused, as local part and as domain") {
  const std::string bad[] = {"",
                             ".",
                             "..",
                             "../x",
                             "a/../b",
                             "a/b",
                             "/etc/passwd",
                             "a/",
                             ".hidden",
                             "a..b",
                             "..a",
                             "x\n",
                             "x\r\ny",
                             "\x7f",
                             "a\tb",
                             std::string(201, 'a'),
                             std::string("a\0b", 3),
                             std::string("\0", 1),
                             "\x1b[0m"};
  for (const std::string& name : bad) {
    CAPTURE(name);
    CHECK(status_of("/m/%domain/%local", name, "example.org") == Answer::Status::bad_name);
    CHECK(status_of("/m/%domain/%local", "bob", name) == Answer::Status::bad_name);
  }
  CHECK(status_of("/m/%domain/%local", std::string(200, 'a'), "example.org") == Answer::Status::kept);
  CHECK(status_of("/m/%local@%domain", std::string(200, 'a'), std::string(60, 'b')) ==
        Answer::Status::bad_name);  // over NAME_MAX
}

TEST_CASE("a pattern that cannot be right is our failure, not the address's") {
  CHECK(status_of("/m/%user", "a", "x") == Answer::Status::failed);
  CHECK(status_of("/m/%", "a", "x") == Answer::Status::failed);
  CHECK(status_of("m/%local", "a", "x") == Answer::Status::failed);
  CHECK(status_of("", "a", "x") == Answer::Status::failed);
}

TEST_CASE("lookup: there, may be made, missing, in the way") {
  const Directory place;
  std::filesystem::create_directory(place.path("there"));
  std::ofstream(place.path("file")) << "x";
  CHECK(keeper::look_up(place.path("there"), false));
  CHECK(keeper::look_up(place.path("new"), true));
  CHECK(keeper::look_up(place.path("new"), false).error().status == Answer::Status::no_mailbox);
  CHECK(keeper::look_up(place.path("file"), true).error().status == Answer::Status::failed);
  CHECK(keeper::look_up(place.path("file/below"), true).error().status == Answer::Status::failed);
}

TEST_CASE("a mailbox is made with all above it, private, and every changed directory is to be synced, once") {
  const Directory place;
  keeper::DirectorySyncs syncs;
  const std::string mailbox = place.path("example.org/bob");
  REQUIRE(keeper::make_ready(mailbox, true, syncs));
  const std::set<std::string> changed{place.path(), place.path("example.org"), mailbox};
  for (const std::string& path : changed) CHECK(syncs.pending().contains(path));
  CHECK(syncs.pending_above(mailbox) == syncs.pending());
  const auto above_neighbour = syncs.pending_above(place.path("example.org/bob2"));
  CHECK(above_neighbour.contains(place.path("example.org")));
  CHECK_FALSE(above_neighbour.contains(mailbox));
  for (const char* name : {"", "/tmp", "/new", "/cur"}) {
    struct stat status {};
    REQUIRE(::stat((mailbox + name).c_str(), &status) == 0);
    CHECK((status.st_mode & 07777) == 0700);
  }
  for (const std::string& path : std::set<std::string>(syncs.pending())) syncs.synced(path);
  REQUIRE(keeper::make_ready(mailbox, true, syncs));
  CHECK(syncs.pending().empty());
  CHECK(keeper::make_ready(place.path("other"), false, syncs).error().status == Answer::Status::no_mailbox);
  CHECK(syncs.pending().empty());
  // Another process knows nothing of that; where it may not write, nobody has made anything.
  keeper::DirectorySyncs later;
  REQUIRE(keeper::make_ready(mailbox, true, later));
  for (const std::string& path : changed) CHECK(later.pending().contains(path));
  CHECK_FALSE(later.pending().contains("/proc"));
}

TEST_CASE("tmp: what is older than 36 hours goes, the rest and foreign things stay") {
  const Directory place;
  std::filesystem::create_directories(place.path("tmp/directory"));
  std::ofstream(place.path("tmp/old")) << "x";
  std::ofstream(place.path("tmp/young")) << "x";
  const std::int64_t now = 1'800'000'000;
  const utimbuf old{now - 36 * 3600 - 1, now - 36 * 3600 - 1}, young{now - 36 * 3600, now - 36 * 3600};
  REQUIRE(::utime(place.path("tmp/old").c_str(), &old) == 0);
  REQUIRE(::utime(place.path("tmp/young").c_str(), &young) == 0);
  REQUIRE(::utime(place.path("tmp/directory").c_str(), &old) == 0);
  keeper::sweep_tmp(place.path(), now);
  CHECK(place.names("tmp") == std::set<std::string>{"young", "directory"});
  keeper::sweep_tmp(place.path("missing"), now);  // no mailbox, no trouble
  // Whose mailbox it is must not choose what is removed.
  std::filesystem::create_directories(place.path("mailbox"));
  std::filesystem::create_directories(place.path("elsewhere"));
  std::ofstream(place.path("elsewhere/old")) << "x";
  REQUIRE(::utime(place.path("elsewhere/old").c_str(), &old) == 0);
  std::filesystem::create_directory_symlink(place.path("elsewhere"), place.path("mailbox/tmp"));
  keeper::sweep_tmp(place.path("mailbox"), now);
  CHECK(place.names("elsewhere").contains("old"));
}

TEST_CASE("names are unique and hold nothing that a maildir name must not") {
  keeper::UniqueNames names("mx/1:2.example.org");
  std::set<std::string> seen;
  for (int i = 0; i < 10'000; ++i) seen.insert(names.next());
  CHECK(seen.size() == 10'000);
  CHECK(seen.begin()->find('/') == std::string::npos);
  CHECK(seen.begin()->find(':') == std::string::npos);
  CHECK(seen.begin()->ends_with(".mx\\0571\\0722.example.org"));
}
