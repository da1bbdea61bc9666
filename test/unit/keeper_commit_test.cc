#include <doctest/doctest.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <functional>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "proxy/keeper/commit.h"
#include "test/unit/keeper_fixture.h"

using keeper::Answer;
using keeper::Committer;
using keeper::Job;
using keeper::Request;
using scanner::OwnedFd;

namespace {

std::map<std::string, int> synced;  // path -> how often it was fsynced
int fail_fsync_with = 0;            // an errno

}  // namespace

std::function<void()> when_synced;

// In front of libc's.
extern "C" int fsync(int fd) {
  std::array<char, 4096> path{};
  const ssize_t length = ::readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), path.data(), path.size());
  if (length > 0) ++synced[std::string(path.data(), static_cast<std::size_t>(length))];
  if (when_synced) when_synced();
  if (fail_fsync_with != 0) {
    errno = fail_fsync_with;
    return -1;
  }
  return static_cast<int>(::syscall(SYS_fsync, fd));
}

namespace {

std::vector<Answer> deliver(Committer& committer, Job&& one) {
  std::vector<Job> jobs;
  jobs.push_back(std::move(one));
  return committer.deliver(jobs, [] {});
}

std::vector<Answer> deliver(Job&& one) {
  Committer committer("mx");
  return deliver(committer, std::move(one));
}

// The one message in a mailbox.
std::string message(const Directory& place, const std::string& mailbox) {
  const auto names = place.names(mailbox + "/new");
  REQUIRE(names.size() == 1);
  return place.content(mailbox + "/new/" + *names.begin());
}

std::string after_fields(const std::string& message) { return message.substr(message.find("+0000\n") + 6); }

}  // namespace

TEST_CASE("a delivered message: fields on top, LF line ends, its size in its name, nothing left in tmp") {
  const Directory place;
  Job one = job(place, {"Bob"}, "Subject: x\r\n\r\nbody\r\n");
  one.request.extra_fields = "X-Gatepost-Verdict: suspicious\r\n";
  const auto answers = deliver(std::move(one));
  REQUIRE(answers.size() == 1);
  CHECK(answers[0] == Answer{Answer::Status::kept, 7, ""});
  const std::string got = message(place, "example.org/Bob");
  const std::regex shape(
      "Return-Path: <sender@example.net>\nDelivered-To: Bob@Example.org\nX-Gatepost-Verdict: suspicious\n"
      "Received: from c \\(\\[192.0.2.1\\]\\)\n\tby mx with ESMTP id q1.1\n\tfor <Bob@Example.org>; "
      "[A-Z][a-z]{2}, \\d{1,2} [A-Z][a-z]{2} \\d{4} \\d\\d:\\d\\d:\\d\\d \\+0000\nSubject: x\n\nbody\n");
  CHECK(std::regex_match(got, shape));
  const auto names = place.names("example.org/Bob/new");
  CHECK(std::regex_match(*names.begin(), std::regex("\\d+\\.M\\d{6}P\\d+Q\\d+\\.mx,S=" + std::to_string(got.size()))));
  CHECK(place.names("example.org/Bob/tmp").empty());
}

TEST_CASE("only CRLF becomes LF, also where a piece of the copy ends between the two") {
  const Directory place;
  const std::string odd = "a\rb\r\r\nc\nd\r" + std::string("\0\xff", 2);
  for (std::size_t filler : {0u, 1u, 65'533u, 65'534u, 65'535u, 65'536u, 65'537u, 131'071u}) {
    const std::string name = "m" + std::to_string(filler);
    const std::string fill(filler, 'x');
    REQUIRE(deliver(job(place, {name}, fill + "\r\n" + odd)).front().status == Answer::Status::kept);
    const std::string got = after_fields(message(place, "example.org/" + name));
    CHECK(got == fill + "\n" + "a\rb\r\nc\nd\r" + std::string("\0\xff", 2));
  }
}

TEST_CASE("content that begins with a blank does not go on with a field of ours") {
  const Directory place;
  for (const std::string blank : {" ", "\t"}) {
    const std::string name = blank == " " ? "space" : "tab";
    CHECK(deliver(job(place, {name}, blank + "x\r\nSubject: y\r\n\r\nbody\r\n")).front().status == Answer::Status::kept);
    const std::string got = message(place, "example.org/" + name);
    CHECK(after_fields(got) == "\n" + blank + "x\nSubject: y\n\nbody\n");
    const auto names = place.names("example.org/" + name + "/new");
    CHECK(names.begin()->ends_with(",S=" + std::to_string(got.size())));
  }
}

TEST_CASE("one copy per recipient, or none at all") {
  const Directory place;
  CHECK(deliver(job(place, {"a", "b", "a"}, "x\r\n")).front().status == Answer::Status::kept);
  CHECK(place.names("example.org/a/new").size() == 2);
  CHECK(place.names("example.org/b/new").size() == 1);
  const Answer refused = deliver(job(place, {"c", "d", ".."}, "x\r\n")).front();
  CHECK(refused.status == Answer::Status::bad_name);
  for (const char* mailbox : {"c", "d"}) {
    CHECK(place.names(std::string("example.org/") + mailbox + "/new").empty());
    CHECK(place.names(std::string("example.org/") + mailbox + "/tmp").empty());
  }
}

TEST_CASE("content shorter than promised is failed and leaves nothing") {
  const Directory place;
  Job one = job(place, {"a"}, "0123456789");
  one.request.size += 1;
  CHECK(deliver(std::move(one)).front().status == Answer::Status::failed);
  CHECK(place.names("example.org/a/new").empty());
  CHECK(place.names("example.org/a/tmp").empty());
}

TEST_CASE("a control character in a path makes no header line") {
  const Directory place;
  Job one = job(place, {"a"}, "x\r\n");
  one.request.return_path = "a@b>\nBcc: <c@d";
  CHECK(deliver(std::move(one)).front().status == Answer::Status::failed);
  CHECK(place.names("example.org/a/new").empty());
}

TEST_CASE("in a batch each job stands alone") {
  const Directory place;
  std::vector<Job> jobs;
  for (unsigned i = 0; i < 20; ++i) {
    jobs.push_back(job(place, {"a", "b"}, "message\r\n"));
    jobs.back().request.id = i;
    if (i % 2 == 1) jobs.back().request.size += 100;
  }
  const auto answers = Committer("mx").deliver(jobs, [] {});
  REQUIRE(answers.size() == 20);
  for (unsigned i = 0; i < 20; ++i) {
    CHECK(answers[i].id == i);
    CHECK(answers[i].status == (i % 2 == 1 ? Answer::Status::failed : Answer::Status::kept));
  }
  CHECK(place.names("example.org/a/new").size() == 10);
  CHECK(place.names("example.org/b/new").size() == 10);
}

TEST_CASE("directories that a killed keeper may have made and not synced are synced, once, before the answer") {
  const Directory place;
  for (const char* name : {"tmp", "new", "cur"})
    std::filesystem::create_directories(place.path("example.org/a/" + std::string(name)));
  Committer committer("mx");
  synced.clear();
  CHECK(deliver(committer, job(place, {"a"}, "x\r\n")).front().status == Answer::Status::kept);
  CHECK(synced[place.path("example.org/a")] == 1);  // holds new
  CHECK(synced[place.path("example.org")] == 1);    // holds a
  CHECK(synced[place.path()] == 1);                 // holds example.org
  CHECK(synced[place.path("example.org/a/new")] == 1);
  synced.clear();
  CHECK(deliver(committer, job(place, {"a"}, "x\r\n")).front().status == Answer::Status::kept);
  CHECK(synced.size() == 2);  // the message and new
  CHECK(synced[place.path("example.org/a/new")] == 1);
  synced.clear();
  CHECK(deliver(committer, job(place, {"b"}, "x\r\n")).front().status == Answer::Status::kept);  // made now
  CHECK(synced[place.path("example.org/b")] == 1);
  CHECK(synced[place.path("example.org")] == 1);
  CHECK(synced[place.path()] == 0);
}

TEST_CASE("a directory that could not be synced holds up what lies below it, until it can be") {
  const Directory place;
  Committer committer("mx");
  fail_fsync_with = EIO;
  CHECK(deliver(committer, job(place, {"a"}, "x\r\n")).front().status == Answer::Status::failed);
  fail_fsync_with = 0;
  synced.clear();
  CHECK(deliver(committer, job(place, {"a"}, "x\r\n")).front().status == Answer::Status::kept);
  CHECK(synced[place.path("example.org/a")] == 1);
  CHECK(synced[place.path("example.org")] == 1);
  // One that somebody removed meanwhile holds up nobody.
  fail_fsync_with = EIO;
  CHECK(deliver(committer, job(place, {"b"}, "x\r\n")).front().status == Answer::Status::failed);
  fail_fsync_with = 0;
  std::filesystem::remove_all(place.path("example.org/b"));
  CHECK(deliver(committer, job(place, {"a"}, "x\r\n")).front().status == Answer::Status::kept);
  CHECK(deliver(committer, job(place, {"b"}, "x\r\n")).front().status == Answer::Status::kept);
}

TEST_CASE("lookup touches nothing") {
  const Directory place;
  Request request = request_for(place, {"a"}, 0);
  CHECK(Committer::look_up(request) == Answer{Answer::Status::kept, 7, ""});
  CHECK(place.names("").empty());
  request.create = false;
  CHECK(Committer::look_up(request).status == Answer::Status::no_mailbox);
  request.recipients[0].local_part = "..";
  CHECK(Committer::look_up(request).status == Answer::Status::bad_name);
}

TEST_CASE("a full disk is full, not failed, and what was begun is taken away" * doctest::skip(::geteuid() != 0)) {
  const Directory place;
  if (::mount("gatepost-unit", place.path().c_str(), "tmpfs", 0, "size=256k") != 0) {
    MESSAGE("no tmpfs can be mounted here");
    return;
  }
  const Answer answer = deliver(job(place, {"a", "b", "c"}, std::string(100'000, 'x') + "\r\n")).front();
  const auto left = place.names("example.org/a/tmp").size() + place.names("example.org/a/new").size() +
                    place.names("example.org/b/tmp").size() + place.names("example.org/b/new").size();
  const Answer small = deliver(job(place, {"a"}, "x\r\n")).front();
  ::umount2(place.path().c_str(), MNT_DETACH);
  CHECK(answer.status == Answer::Status::full);
  CHECK(answer.detail.find("No space left") != std::string::npos);
  CHECK(left == 0);
  CHECK(small.status == Answer::Status::kept);
}
