// The clients of keeper and scanner over real sockets; the test is the process behind.
#include <doctest/doctest.h>

#include <filesystem>
#include <memory>
#include <string>

#include "proxy/judge/keeper_client.h"
#include "proxy/judge/scan_client.h"
#include "scanner/job.h"
#include "test/unit/io_loop_fixture.h"

namespace {

using io::Task;
using io::Wait;
using keeper::Answer;
using scanner::OwnedFd;
using scanner::PacketStatus;

// The process behind: its end of the socket.
class Behind {
 public:
  template <class Client>
  void attach_to(Client& client) {
    auto [ours, theirs] = scanner::make_packet_pair();
    client.attach(std::move(ours));
    socket_ = std::move(theirs);
  }
  void say(const std::string& packet) { CHECK(scanner::send_packet(socket_.get(), packet) == PacketStatus::ok); }
  std::string hear() {
    std::string packet;
    OwnedFd fd;
    CHECK(scanner::receive_packet(socket_.get(), packet, fd) == PacketStatus::ok);
    return packet;
  }
  void close() { socket_.reset(); }

 private:
  OwnedFd socket_;
};

struct WithKeeper : io_test::LoopRun {
  WithKeeper() : client(loop, [this] { ++complaints; }), scope(loop) { behind.attach_to(client); }
  std::unique_ptr<judge::KeeperJob> ask(std::size_t recipients = 1) {
    keeper::Request request;
    request.kind = keeper::Request::Kind::deliver;
    request.path = "/m/%local";
    for (std::size_t i = 0; i < recipients; ++i)
      request.recipients.push_back({std::string(200, 'l'), std::string(200, 'd'), std::string(400, 'p')});
    return client.start(std::move(request), -1);
  }
  Answer answer_of_keeper(Answer::Status status) {
    Answer answer;
    answer.status = status;
    answer.id = keeper::decode_request(behind.hear())->id;
    behind.say(encode(answer));
    return answer;
  }
  Task<> answered(judge::KeeperJob& job) {
    while (!job.answer()) co_await Wait(scope, io::never, job.done());
  }
  unsigned complaints = 0;
  Behind behind;
  judge::ChannelKeeperClient client;
  io::Scope scope;
};

Task<> keeper_goes_away(WithKeeper& with) {
  const auto job = with.ask();
  CHECK_FALSE(job->answer());
  with.behind.close();
  co_await with.answered(*job);
  CHECK(job->answer()->status == Answer::Status::failed);
  CHECK(job->answer()->id == 0);  // it may have been done
  CHECK(with.complaints == 1);
  const auto after = with.ask();
  REQUIRE(after->answer());
  CHECK(after->answer()->status == Answer::Status::failed);
  CHECK(after->answer()->id != 0);  // nobody has it
  CHECK(with.complaints == 2);      // the first one may have come too early
  with.behind.attach_to(with.client);
  const auto again = with.ask();
  const Answer kept = with.answer_of_keeper(Answer::Status::kept);
  co_await with.answered(*again);
  CHECK(*again->answer() == kept);
  CHECK(with.complaints == 2);
}

TEST_CASE("keeper client: what was sent and not answered is not known, what was not sent is; a lost socket is told") {
  WithKeeper with;
  with.finish(keeper_goes_away(with));
}

TEST_CASE("keeper client: a request that no packet holds was not sent") {
  WithKeeper with;
  const auto job = with.ask(100);
  REQUIRE(job->answer());
  CHECK(job->answer()->status == Answer::Status::failed);
  CHECK(job->answer()->id != 0);
  CHECK(with.complaints == 0);
}

Task<> keeper_is_late(WithKeeper& with) {
  const auto first = with.ask();
  const auto second = with.ask();
  first->overdue();
  CHECK(with.complaints == 1);
  with.answer_of_keeper(Answer::Status::kept);
  co_await with.answered(*first);
  second->overdue();  // it lives, only this job is slow
  CHECK(with.complaints == 1);
  const auto third = with.ask();
  third->overdue();
  CHECK(with.complaints == 2);
}

TEST_CASE("keeper client: silent is who has said nothing since the job began") {
  WithKeeper with;
  with.finish(keeper_is_late(with));
}

struct WithScanner : io_test::LoopRun {
  WithScanner()
      : space(std::filesystem::temp_directory_path().string(), 1'000'000, 10'000'000, ""),
        spool(space),
        client(
            loop, "clamav", [this] { greeted.raise(); }, [this] { ++complaints; }),
        scope(loop) {
    spool.pending() = "Subject: x\r\n";
    CHECK(spool.finish());
    behind.attach_to(client);
  }
  std::unique_ptr<judge::ScanJob> scan() { return client.start(spool, std::chrono::seconds(1)); }
  Task<> hello() {
    behind.say(encode(scanner::Hello()));
    co_await Wait(scope, io::never, greeted);
  }
  Task<> report_to(judge::ScanJob& job) {
    scanner::Report report;
    report.id = scanner::decode_request(behind.hear())->id;
    behind.say(encode(report));
    while (!job.report()) co_await Wait(scope, io::never, job.done());
  }
  unsigned complaints = 0;
  io::Signal greeted;
  io::SpoolSpace space;
  io::Spool spool;
  Behind behind;
  judge::ChannelScanClient client;
  io::Scope scope;
};

Task<> scanner_is_late(WithScanner& with) {
  co_await with.hello();
  const auto first = with.scan();
  const auto second = with.scan();
  co_await with.report_to(*first);
  const auto third = with.scan();
  second->overdue();  // it has spoken since this one began, whatever began later
  CHECK(with.complaints == 0);
  third->overdue();
  CHECK(with.complaints == 1);
}

TEST_CASE("scan client: silent is who has said nothing since this very job began") {
  WithScanner with;
  with.finish(scanner_is_late(with));
}

Task<> scanner_goes_away(WithScanner& with) {
  CHECK(with.scan()->report()->findings.front().failure == scanner::Failure::not_ready);
  CHECK(with.complaints == 0);  // it loads its signatures
  co_await with.hello();
  const auto job = with.scan();
  with.behind.close();
  while (!job->report()) co_await Wait(with.scope, io::never, job->done());
  CHECK(job->report()->findings.front().failure == scanner::Failure::disconnected);
  CHECK(with.complaints == 1);
  CHECK(with.scan()->report()->findings.front().failure == scanner::Failure::not_ready);
  CHECK(with.complaints == 2);
  with.behind.attach_to(with.client);
  co_await with.hello();
  const auto again = with.scan();
  co_await with.report_to(*again);
  CHECK(again->report()->findings.empty());
}

TEST_CASE("scan client: a lost socket is told, and again with each message, until there is a new one") {
  WithScanner with;
  with.finish(scanner_goes_away(with));
}

}  // namespace
