#include <filesystem>
#include <fstream>

#include "test/unit/resolver_world.h"

namespace {

using dns_test::a;
using dns_test::address;
using dns_test::all;
using dns_test::always;
using dns_test::Answers;
using dns_test::message;
using dns_test::Question;
using dns_test::why;
using dns_test::World;
using io::Lookup;
using io::RecordType;
using io::Task;
using Why = io::NotFound::Why;

Task<> kept_is_there_at_once(World& world) {
  const Lookup first = co_await world.resolver->look_up("x.test", RecordType::a, world.scope, io::never);
  CHECK(first.has_value());
  const auto again = world.resolver->ask("x.test", RecordType::a);
  CHECK(again->answer().has_value());  // libunbound called back before it returned
  CHECK(world.resolver->in_flight() == 0);
}

TEST_CASE("resolver: the answer may be there before the call returns") {
  World world(always({{a("x.test", "192.0.2.1")}}));
  world.finish(kept_is_there_at_once(world));
}

Task<> silence(World& world) {
  const io::TimePoint begin = world.loop.now();
  const auto until = begin + std::chrono::milliseconds(60);
  const Lookup answer = co_await world.resolver->look_up("x.test", RecordType::a, world.scope, until);
  CHECK(why(answer).why == Why::failed);
  CHECK(why(answer).text == "no answer in time");
  CHECK(world.loop.now() >= until);
  CHECK(world.loop.now() < begin + std::chrono::seconds(5));
  CHECK(world.resolver->in_flight() == 1);  // libunbound still tries
}

TEST_CASE("resolver: a server that says nothing costs its time and no more") {
  World world([](const Question&) { return Answers{}; });
  world.finish(silence(world));
}

TEST_CASE("resolver: no question takes longer than the timeout of the configuration") {
  config::Dns settings;
  settings.timeout = std::chrono::milliseconds(50);
  World world([](const Question&) { return Answers{}; }, nullptr, settings);
  CHECK(why(world.ask("x.test", RecordType::a)).text == "no answer in time");
}

TEST_CASE("resolver: a scope that is stopped stops its question") {
  World world([](const Question&) { return Answers{}; });
  struct Run {
    static Task<> stopped(World& world, bool& thrown) {
      io::Scope scope(world.loop);
      scope.request_stop(io::Stop::shutdown);
      try {
        co_await world.resolver->look_up("x.test", RecordType::a, scope, io::never);
      } catch (const io::Stopped&) {
        thrown = true;
      }
    }
  };
  bool thrown = false;
  world.finish(Run::stopped(world, thrown));
  CHECK(thrown);
}

// The answer comes after nobody waits for it any more.
Task<> abandoned(World& world, io::Signal& came, std::vector<std::string>& late, Question& question) {
  auto query = world.resolver->ask("x.test", RecordType::a);
  CHECK_FALSE(query->answer().has_value());
  while (world.server.asked.empty())
    co_await io::Wait(world.scope, world.loop.now() + std::chrono::milliseconds(1), came);
  query.reset();
  CHECK(world.resolver->in_flight() == 1);
  late = Answers{message(question, {{a("x.test", "192.0.2.1")}})};
  // It asks again after a while, and this time the server answers.
  while (world.resolver->in_flight() > 0)
    co_await io::Wait(world.scope, world.loop.now() + std::chrono::milliseconds(5), came);
  const Lookup kept = co_await world.resolver->look_up("x.test", RecordType::a, world.scope, io::never);
  CHECK(kept.has_value());
}

TEST_CASE("resolver: a question that nobody waits for any more") {
  io::Signal came;
  Answers late;
  Question question;
  World world([&](const Question& now) {
    question = now;
    came.raise();
    return late.empty() ? late : Answers{message(now, {{a("x.test", "192.0.2.1")}})};
  });
  world.finish(abandoned(world, came, late, question));
}

TEST_CASE("resolver: questions may outlive it") {
  std::unique_ptr<io::Query> query;
  {
    World world([](const Question&) { return Answers{}; });
    query = world.resolver->ask("x.test", RecordType::a);
    CHECK(world.resolver->in_flight() == 1);
  }
  CHECK_FALSE(query->answer().has_value());
}

Task<> thousand(World& world) {
  std::vector<std::unique_ptr<io::Query>> queries;
  for (std::size_t i = 0; i < io::UnboundResolver::most_in_flight; ++i)
    queries.push_back(world.resolver->ask("n" + std::to_string(i) + ".test", RecordType::a));
  CHECK(world.resolver->in_flight() == io::UnboundResolver::most_in_flight);
  const auto one_more = world.resolver->ask("more.test", RecordType::a);
  REQUIRE(one_more->answer().has_value());
  CHECK(why(*one_more->answer()).text == "too many questions");
  std::size_t right = 0;
  for (std::size_t i = 0; i < queries.size(); ++i) {
    while (!queries.at(i)->answer()) co_await io::Wait(world.scope, io::never, queries.at(i)->done);
    const Lookup& answer = *queries.at(i)->answer();
    const std::string expected = "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250);
    if (answer && all<io::AddressRecord>(answer) == std::vector{address(expected)}) ++right;
  }
  CHECK(right == queries.size());
  CHECK(world.resolver->in_flight() == 0);
}

TEST_CASE("resolver: a thousand questions at once, and not one more") {
  World world([](const Question& question) {
    const int i = std::stoi(question.name.substr(1));
    return Answers{
        message(question, {{a(question.name, "10.0." + std::to_string(i / 250) + "." + std::to_string(i % 250))}})};
  });
  world.finish(thousand(world));
}

TEST_CASE("resolver: with DNSSEC but without a trust anchor nothing is resolved, and that is said") {
  config::Dns settings;
  settings.dnssec = true;
  const auto expect_none = [&](const std::string& path) {
    CAPTURE(path);
    settings.trust_anchor = path;
    World world(always({{a("x.test", "192.0.2.1")}}), nullptr, settings);
    CHECK(why(world.ask("x.test", RecordType::a)).why == Why::failed);
    REQUIRE(world.complaints.size() == 1);
    CHECK(world.complaints.front() == path + " cannot be read as a trust anchor: no name is resolved");
    CHECK(world.server.asked.empty());
  };
  const std::string file = std::filesystem::temp_directory_path() / ("anchor." + std::to_string(::getpid()));
  expect_none("/nonexistent/anchor");
  expect_none("/");
  for (const char* text : {"", "; nothing. IN DS here\n", "nonsense DS\n", ". IN DS x y z\n"}) {
    std::ofstream(file) << text;
    expect_none(file);
  }
  std::filesystem::remove(file);
}

}  // namespace
