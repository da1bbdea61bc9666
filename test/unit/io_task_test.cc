#include <doctest/doctest.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "proxy/io/wait.h"
#include "test/playbooks/test_loop.h"

namespace {

using io::Scope;
using io::Signal;
using io::Stop;
using io::Stopped;
using io::Task;
using io::Wait;
using io::Woken;
using io::Yield;
using playbook::TestLoop;
using std::chrono::seconds;

Task<int> give(int value) { co_return value; }
Task<int> fail(const char* why) {
  if (why != nullptr) throw std::runtime_error(why);
  co_return 0;
}
Task<> note(std::vector<std::string>& notes, std::string text) {
  notes.push_back(std::move(text));
  co_return;
}

// Waits once and says how it ended.
Task<> wait_for(Scope& scope, io::TimePoint until, Signal& signal, std::vector<std::string>& notes, std::string name) {
  std::string end;
  try {
    const Woken woken = co_await Wait(scope, until, signal);
    end = woken == Woken::signal ? "signal" : "deadline";
  } catch (const Stopped&) {
    end = "stopped";
  }
  notes.push_back(name + " " + end);
}

struct Tracks {
  explicit Tracks(int& c) : count(c) { ++count; }
  ~Tracks() { --count; }
  Tracks(const Tracks&) = delete;
  Tracks& operator=(const Tracks&) = delete;
  int& count;
};

Task<> hold(Scope& scope, int& alive) {
  const Tracks outer(alive);
  co_await Wait(scope, io::never);
}
Task<> hold_deep(Scope& scope, int& alive, int depth) {
  const Tracks outer(alive);
  if (depth == 0) co_await Wait(scope, io::never);
  else co_await hold_deep(scope, alive, depth - 1);
}

TEST_CASE("a task begins when it is awaited, gives its value and its exception") {
  TestLoop loop;
  std::vector<std::string> notes;
  {
    Task<> never_started = note(notes, "never");
    CHECK(notes.empty());
  }
  const auto root = [](std::vector<std::string>& log) -> Task<> {
    const int value = co_await give(42);
    log.push_back(std::to_string(value));
    std::string caught;
    try {
      co_await fail("broken");
    } catch (const std::runtime_error& error) {
      caught = error.what();
    }
    log.push_back(caught);
    Task<> first = note(log, "first");
    first = note(log, "second");  // the first is dropped without having run
    co_await first;
  };
  loop.spawn(root(notes));
  CHECK(notes == std::vector<std::string>{"42", "broken", "second"});
}

TEST_CASE("a million tasks that finish at once use no stack") {
  TestLoop loop;
  long sum = 0;
  const auto root = [](long& total) -> Task<> {
    for (int i = 0; i < 1'000'000; ++i) total += co_await give(1);
  };
  loop.spawn(root(sum));
  CHECK(sum == 1'000'000);
}

TEST_CASE("wait: signal, deadline, and which comes first") {
  TestLoop loop;
  Scope scope(loop);
  Signal signal;
  std::vector<std::string> notes;
  SUBCASE("signal") {
    loop.spawn(wait_for(scope, loop.now() + seconds(10), signal, notes, "a"));
    loop.settle();
    CHECK(notes.empty());
    signal.raise();
    CHECK(notes.empty());  // resumed from the loop, never inside raise()
    loop.settle();
    CHECK(notes == std::vector<std::string>{"a signal"});
    loop.advance(seconds(20));
    CHECK(notes.size() == 1);
  }
  SUBCASE("deadline") {
    loop.spawn(wait_for(scope, loop.now() + seconds(10), signal, notes, "a"));
    loop.advance(seconds(10) - std::chrono::nanoseconds(1));
    CHECK(notes.empty());
    loop.advance(std::chrono::nanoseconds(1));
    CHECK(notes == std::vector<std::string>{"a deadline"});
    signal.raise();
    loop.settle();
    CHECK(notes.size() == 1);
  }
  SUBCASE("a deadline in the past ends the wait at the next turn") {
    loop.spawn(wait_for(scope, loop.now() - seconds(1), signal, notes, "a"));
    loop.advance(seconds(0));
    CHECK(notes == std::vector<std::string>{"a deadline"});
  }
  SUBCASE("a signal raised before the deadline counts although both have come") {
    loop.spawn(wait_for(scope, loop.now() + seconds(1), signal, notes, "a"));
    signal.raise();
    loop.advance(seconds(5));
    CHECK(notes == std::vector<std::string>{"a signal"});
  }
  SUBCASE("raising without a waiter is forgotten") {
    signal.raise();
    loop.spawn(wait_for(scope, loop.now() + seconds(1), signal, notes, "a"));
    loop.settle();
    CHECK(notes.empty());
    loop.advance(seconds(1));
    CHECK(notes == std::vector<std::string>{"a deadline"});
  }
  SUBCASE("a signal that is destroyed wakes whoever waits for it") {
    auto mortal = std::make_unique<Signal>();
    loop.spawn(wait_for(scope, io::never, *mortal, notes, "a"));
    mortal.reset();
    loop.settle();
    CHECK(notes == std::vector<std::string>{"a signal"});
  }
  CHECK(loop.roots() == 0);
}

TEST_CASE("wait: either of two signals, and both at once wake one time") {
  TestLoop loop;
  Scope scope(loop);
  Signal left, right;
  int woken = 0;
  const auto root = [](Scope& s, Signal& a, Signal& b, int& count) -> Task<> {
    for (int i = 0; i < 3; ++i) {
      co_await Wait(s, io::never, a, b);
      ++count;
    }
  };
  loop.spawn(root(scope, left, right, woken));
  left.raise();
  loop.settle();
  CHECK(woken == 1);
  right.raise();
  left.raise();
  right.raise();
  loop.settle();
  CHECK(woken == 2);
  right.raise();
  loop.settle();
  CHECK(woken == 3);
  CHECK(loop.roots() == 0);
}

TEST_CASE("two waits for one signal are a mistake that is said") {
  TestLoop loop;
  Scope scope(loop);
  Signal signal;
  bool refused = false;
  const auto second = [](Scope& s, Signal& a, bool& said) -> Task<> {
    try {
      co_await Wait(s, io::never, a);
    } catch (const std::logic_error&) {
      said = true;
    }
  };
  std::vector<std::string> notes;
  loop.spawn(wait_for(scope, io::never, signal, notes, "a"));
  loop.spawn(second(scope, signal, refused));
  CHECK(refused);
  signal.raise();
  loop.settle();
  CHECK(notes == std::vector<std::string>{"a signal"});
  CHECK(loop.roots() == 0);
}

TEST_CASE("stop: every present and future wait of the scope throws, those of others do not") {
  TestLoop loop;
  Signal signals[3];
  std::vector<std::string> notes;
  Scope ours(loop), theirs(loop);
  loop.spawn(wait_for(ours, io::never, signals[0], notes, "a"));
  loop.spawn(wait_for(theirs, io::never, signals[1], notes, "b"));
  ours.request_stop(Stop::shutdown);
  CHECK(notes.empty());
  loop.settle();
  CHECK(notes == std::vector<std::string>{"a stopped"});
  loop.spawn(wait_for(ours, io::never, signals[2], notes, "c"));  // throws without waiting
  CHECK(notes == std::vector<std::string>{"a stopped", "c stopped"});
  loop.stop_all();
  loop.settle();
  CHECK(notes.back() == "b stopped");
  CHECK(loop.roots() == 0);
}

TEST_CASE("stop beats a signal and a deadline that have come, too") {
  TestLoop loop;
  Scope scope(loop);
  Signal signal;
  std::vector<std::string> notes;
  loop.spawn(wait_for(scope, loop.now() + seconds(1), signal, notes, "a"));
  signal.raise();
  scope.request_stop(Stop::shutdown);
  loop.advance(seconds(2));
  CHECK(notes == std::vector<std::string>{"a stopped"});
}

TEST_CASE("drain raises each scope's signal once; later scopes know without") {
  TestLoop loop;
  std::vector<std::string> notes;
  Scope scope(loop);
  CHECK_FALSE(scope.draining());
  loop.spawn(wait_for(scope, io::never, scope.drained, notes, "a"));
  loop.drain();
  loop.settle();
  CHECK(notes == std::vector<std::string>{"a signal"});
  const Scope later(loop);
  CHECK(later.draining());
}

TEST_CASE("destroying roots destroys what waits, however deep, in any state") {
  int alive = 0;
  TestLoop loop;
  Scope scope(loop);
  loop.spawn(hold(scope, alive));
  loop.spawn(hold_deep(scope, alive, 50));
  CHECK(alive == 52);
  SUBCASE("while waiting") {}
  SUBCASE("while ready") { scope.request_stop(Stop::shutdown); }
  loop.destroy_roots();
  CHECK(alive == 0);
  CHECK(loop.roots() == 0);
  loop.settle();
  loop.advance(seconds(1));
}

TEST_CASE("destroying roots when one has just finished leaves nothing to reap") {
  TestLoop loop;
  std::vector<std::string> notes;
  loop.spawn(note(notes, "done"));
  CHECK(loop.roots() == 0);  // reaped by the loop, not by spawn()
  loop.destroy_roots();
  loop.settle();
  CHECK(loop.roots() == 0);
}

TEST_CASE("a root may be spawned by another, and a ready wait be destroyed by another") {
  TestLoop loop;
  Scope scope(loop);
  Signal first;
  int alive = 0;
  std::vector<std::string> notes;
  std::optional<Task<>> victim(hold(scope, alive));
  const auto killer = [](Scope& s, Signal& a, std::optional<Task<>>& other, TestLoop& l,
                         std::vector<std::string>& log) -> Task<> {
    co_await Wait(s, io::never, a);
    other.reset();  // it is ready in the same turn
    l.spawn(note(log, "spawned"));
  };
  loop.spawn(killer(scope, first, victim, loop, notes));
  victim->start();
  CHECK(alive == 1);
  first.raise();
  scope.request_stop(Stop::none);  // makes the victim ready behind the killer
  loop.settle();
  CHECK(alive == 0);
  CHECK(notes == std::vector<std::string>{"spawned"});
  CHECK(loop.roots() == 0);
}

TEST_CASE("thousands of timers fire in their order, whatever is cancelled in between") {
  TestLoop loop;
  Scope scope(loop);
  std::mt19937 random(7);
  constexpr std::size_t count = 5000;
  std::vector<std::unique_ptr<Signal>> signals;
  std::vector<io::TimePoint> fired;
  std::size_t cancelled = 0;
  const auto sleeper = [](Scope& s, io::TimePoint until, Signal& cancel, std::vector<io::TimePoint>& log,
                          std::size_t& gone) -> Task<> {
    const Woken woken = co_await Wait(s, until, cancel);
    if (woken == Woken::signal) ++gone;
    else log.push_back(until);
  };
  for (std::size_t i = 0; i < count; ++i) {
    signals.push_back(std::make_unique<Signal>());
    const auto until = loop.now() + std::chrono::milliseconds(std::uniform_int_distribution<int>(1, 100000)(random));
    loop.spawn(sleeper(scope, until, *signals.back(), fired, cancelled));
  }
  for (int round = 0; round < 100; ++round) {
    for (int i = 0; i < 20; ++i) signals[std::uniform_int_distribution<std::size_t>(0, count - 1)(random)]->raise();
    loop.settle();
    loop.advance(seconds(1));
    for (const io::TimePoint& until : fired) CHECK(until <= loop.now());
    if (round == 50) CHECK(fired.size() > count / 4);
  }
  CHECK(std::is_sorted(fired.begin(), fired.end()));
  CHECK(fired.size() + cancelled == count);
  CHECK(cancelled > 0);
  CHECK(loop.roots() == 0);
}

}  // namespace

namespace {

Task<> count_to(Scope& scope, int& mine, const int& other, int& most_ahead) {
  while (mine < 100) {
    ++mine;
    most_ahead = std::max(most_ahead, mine - other);
    co_await Yield(scope);
  }
}

}  // namespace

TEST_CASE("two tasks that never wait take turns") {
  TestLoop loop;
  Scope scope(loop);
  int first = 0, second = 0, most_ahead = 0;
  loop.spawn(count_to(scope, first, second, most_ahead));
  loop.spawn(count_to(scope, second, first, most_ahead));
  loop.settle();
  CHECK(first == 100);
  CHECK(second == 100);
  CHECK(most_ahead == 1);
}
