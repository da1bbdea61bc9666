// Rules of the packet filter with firewall.manage: what is done when, and what when the process that does it dies.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "firewall/state.h"
#include "proxy/supervisor/managed_rules.h"

using admin::Level;
using supervisor::Clock;
using supervisor::ManagedRules;

namespace {

// Rules on a clock of the test's own; a child of theirs is waited for.
class Stage {
 public:
  Stage(ManagedRules::Work put_in, ManagedRules::Work withdraw, ManagedRules::Work finish = {},
        ManagedRules::Work look = {}) {
    REQUIRE(::pipe(log_) == 0);
    char name[] = "/tmp/managed-rules-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    auto config = std::make_shared<config::Config>();
    config->firewall.manage = true;
    config->firewall.state_directory = directory_ = name;
    log_writer_.emplace(config->log, "test", log_[1], 0);
    rules_.emplace(
        config, *log_writer_, [this] { ++withdrawals_; }, ManagedRules::Works{std::move(put_in), std::move(withdraw), std::move(finish), std::move(look)});
  }
  ~Stage() {
    ::close(log_[0]);
    ::close(log_[1]);
    std::filesystem::remove_all(directory_);
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  ManagedRules& rules() { return *rules_; }
  int withdrawals() const { return withdrawals_; }
  const std::string& directory() const { return directory_; }
  // How many children it takes until all is settled; at most `most`.
  int lives(int most) {
    int count = 0;
    while (count < most && !rules_->settled()) {
      rules_->act(now_);
      if (rules_->settled()) break;
      now_ = std::max(now_, rules_->next_due().value_or(now_));
      if (!running()) continue;
      bury();
      ++count;
    }
    return count;
  }
  bool running() const {
    std::vector<pollfd> polls;
    rules_->add_poll(polls);
    return !polls.empty();
  }
  void start() { rules_->act(now_); }
  std::chrono::seconds skip_to_next_try() {
    const auto before = now_;
    now_ = std::max(now_, rules_->next_due().value_or(now_));
    rules_->act(now_);
    return std::chrono::duration_cast<std::chrono::seconds>(now_ - before);
  }
  void bury() {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, 0);
    supervisor::End end;
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    CHECK(rules_->bury(pid, end, now_));
  }
  std::string log() {
    log_writer_.reset();  // and so all is written
    char space[65536];
    const ssize_t n = ::read(log_[0], space, sizeof space);
    return {space, static_cast<std::size_t>(std::max<ssize_t>(n, 0))};
  }

 private:
  int log_[2]{}, withdrawals_ = 0;
  std::string directory_;
  std::optional<admin::Log> log_writer_;
  std::optional<ManagedRules> rules_;
  Clock::time_point now_{std::chrono::hours(1)};
};

bool dies(const config::Config&, const ManagedRules::Say& say) {
  say(Level::info, "begun");
  ::kill(::getpid(), SIGKILL);
  return true;
}
bool works(const config::Config&, const ManagedRules::Say& say) {
  say(Level::warning, "done");
  return true;
}
bool hangs(const config::Config&, const ManagedRules::Say&) {
  for (;;) ::pause();
}
bool fails(const config::Config&, const ManagedRules::Say& say) {
  say(Level::error, std::string(100'000, 'x'));
  return false;
}

// What is left of an application in the state file.
void leave(const std::string& directory, firewall::State::Phase phase, bool fail_closed) {
  firewall::State state;
  state.phase = phase;
  state.plan.fail_closed = fail_closed;
  const auto file = firewall::StateFile::lock(directory);
  if (!file || !file->save(state)) std::abort();
}
template <firewall::State::Phase Last, bool FailClosed>
bool leaves(const config::Config& config, const ManagedRules::Say&) {
  leave(config.firewall.state_directory, Last, FailClosed);
  return true;
}
template <bool FailClosed>
bool dies_half_way(const config::Config& config, const ManagedRules::Say& say) {
  leave(config.firewall.state_directory, firewall::State::Phase::applying, FailClosed);
  return dies(config, say);
}
using Phase = firewall::State::Phase;

}  // namespace

TEST_CASE("nothing is to be done before it is asked for, nor to be withdrawn that never went in") {
  Stage stage(works, works);
  CHECK(stage.rules().settled());
  stage.rules().put_in();
  CHECK_FALSE(stage.rules().settled());
  stage.rules().withdraw();  // nobody has begun
  CHECK(stage.lives(9) == 0);
  CHECK(stage.rules().settled());
  CHECK(stage.withdrawals() == 0);
  stage.rules().put_in();  // too late
  CHECK(stage.rules().settled());
}

TEST_CASE("rules of an earlier life are withdrawn, whether ours have been begun or not") {
  for (const bool asked : {false, true}) {
    Stage stage(works, works);
    leave(stage.directory(), Phase::applied, false);
    if (asked) stage.rules().put_in();
    stage.rules().withdraw();
    CHECK_FALSE(stage.rules().settled());
    CHECK(stage.lives(9) == 1);
    CHECK(stage.withdrawals() == 1);
  }
}

TEST_CASE("what has stepped aside is removed when nobody is left, and nothing else is") {
  for (const Phase found : {Phase::aside, Phase::applied}) {  // somebody else may have applied others
    Stage stage(works, leaves<Phase::aside, false>, works);
    leave(stage.directory(), Phase::applied, false);
    stage.rules().withdraw();
    CHECK(stage.lives(9) == 1);
    leave(stage.directory(), found, false);
    stage.rules().finish();
    CHECK_FALSE(stage.rules().settled());
    CHECK(stage.lives(9) == (found == Phase::aside ? 1 : 0));
    CHECK(stage.rules().settled());
    stage.rules().withdraw();  // too late
    CHECK(stage.rules().settled());
    CHECK(stage.withdrawals() == 1);
  }
}

TEST_CASE("who could not take them all out says so, and is asked again at the end") {
  for (const bool dies_instead : {false, true}) {
    Stage stage(works, dies_instead ? dies : fails, works);
    leave(stage.directory(), Phase::applied, false);
    stage.rules().withdraw();
    CHECK_FALSE(stage.rules().left());
    CHECK(stage.lives(9) == (dies_instead ? ManagedRules::most_tries : 1));
    CHECK(stage.rules().left());
    leave(stage.directory(), dies_instead ? Phase::aside : Phase::applied, false);
    stage.rules().finish();
    CHECK(stage.lives(9) == 1);
    CHECK_FALSE(stage.rules().left());
  }
}

TEST_CASE("fail-closed rules that somebody has told to step aside go") {
  Stage stage(works, works);
  leave(stage.directory(), Phase::aside, true);
  stage.rules().withdraw();
  CHECK(stage.lives(9) == 1);
  CHECK(stage.log().find("unscanned") == std::string::npos);
}

TEST_CASE("rules that are fail-closed stay when they are whole") {
  Stage stage(leaves<Phase::applied, true>, works);
  stage.rules().put_in();
  CHECK(stage.lives(9) == 1);
  stage.rules().withdraw();
  CHECK(stage.lives(9) == 0);
  CHECK(stage.withdrawals() == 0);
  CHECK(stage.log().find("the rules of the packet filter stay") != std::string::npos);
}

TEST_CASE("rules that are fail-closed and only half in go in once more, and then stay") {
  Stage stage(leaves<Phase::applied, true>, works);
  leave(stage.directory(), Phase::applying, true);  // by a child that died
  stage.rules().withdraw();
  CHECK(stage.lives(9) == 1);
  CHECK(stage.withdrawals() == 0);
  const std::string log = stage.log();
  const std::size_t again = log.find("they go in once more"), stay = log.find("the rules of the packet filter stay");
  CHECK(again != std::string::npos);
  CHECK(stay != std::string::npos);
  CHECK(again < stay);
}

TEST_CASE(
    "who dies half way, fail-closed or not, is told to end and dies again: what is there is withdrawn, and said") {
  for (const bool closed : {true, false}) {
    CAPTURE(closed);
    Stage stage(closed ? dies_half_way<true> : dies_half_way<false>, works);
    stage.rules().put_in();
    stage.start();
    stage.rules().withdraw();
    stage.bury();
    CHECK(stage.lives(9) == (closed ? 2 : 1));  // once more, and out
    CHECK(stage.rules().settled());
    CHECK(stage.withdrawals() == 1);
    const std::string log = stage.log();
    CHECK(log.find("packet filter stay") == std::string::npos);
    CHECK((log.find("are withdrawn: new connections go by gatepost, unscanned") != std::string::npos) == closed);
  }
}

TEST_CASE("a system without processes is asked until it has one") {
  Stage stage(works, works);
  stage.rules().put_in();
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit none{3, limit.rlim_max};  // all three are taken; and poll takes no more than so many
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  for (unsigned i = 0; i < 4 * ManagedRules::most_tries; ++i) stage.skip_to_next_try();
  CHECK_FALSE(stage.rules().settled());
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(stage.lives(9) == 1);
  const std::string log = stage.log();
  CHECK(log.find("next try in 30000 ms") != std::string::npos);
  CHECK(log.find("some may be in force") == std::string::npos);
  CHECK(log.find("done") != std::string::npos);
}

TEST_CASE("who is abandoned is killed, and the log says what is left to do") {
  Stage stage(works, hangs);
  leave(stage.directory(), Phase::applied, false);
  stage.rules().withdraw();
  stage.start();
  stage.rules().abandon();
  CHECK(stage.rules().settled());
  CHECK(stage.rules().left());
  CHECK_FALSE(stage.rules().next_due());
  stage.bury();
  CHECK(stage.rules().settled());
  const std::string log = stage.log();
  CHECK(log.find("rules of the packet filter are left") != std::string::npos);
  CHECK(log.find("SIGKILL") == std::string::npos);
}

TEST_CASE("what is done or has failed is settled by one child, whose words are in the log") {
  for (const bool well : {true, false}) {
    Stage stage(well ? works : fails, works);
    stage.rules().put_in();
    CHECK(stage.lives(9) == 1);
    CHECK(stage.rules().settled());
    const std::string log = stage.log();
    CHECK(log.find(well ? "done" : "xxxx") != std::string::npos);
    CHECK(log.size() < 5000);  // whatever a program says
  }
}

TEST_CASE("rules that could not be put in are tried again after pauses that double") {
  Stage stage(fails, works, works, fails);
  stage.rules().put_in();
  CHECK(stage.lives(9) == 1);
  std::vector<std::int64_t> pauses;
  for (int i = 0; i < 7; ++i) {
    pauses.push_back(stage.skip_to_next_try().count());
    REQUIRE(stage.running());
    CHECK(stage.rules().settled());  // nobody waits for it
    stage.bury();
  }
  CHECK(pauses == std::vector<std::int64_t>{30, 60, 120, 240, 480, 600, 600});
  stage.rules().withdraw();
  CHECK(stage.lives(9) == 0);  // none are in
}

TEST_CASE("they are tried again, too, where rules of an earlier life are whole or others were cut") {
  for (const Phase found : {Phase::applied, Phase::applying}) {
    Stage stage(fails, works, works, works);
    leave(stage.directory(), found, false);
    stage.rules().put_in();
    CHECK(stage.lives(9) == 1);
    for (int i = 0; i < 2; ++i) {  // it fails again; a look would have been content
      stage.skip_to_next_try();
      REQUIRE(stage.running());
      stage.bury();
    }
    CHECK(stage.log().find("done") == std::string::npos);
  }
}

TEST_CASE("twice a minute somebody looks after the rules, but not while others are at it, nor when they were removed by hand") {
  Stage stage(leaves<Phase::applied, false>, works, works, works);
  stage.rules().put_in();
  CHECK(stage.lives(9) == 1);
  const auto looks = [&stage] {
    CHECK(stage.skip_to_next_try() == std::chrono::seconds(30));
    const bool looked = stage.running();
    if (looked) stage.bury();
    return looked;
  };
  CHECK(looks());
  CHECK(looks());
  for (const Phase phase : {Phase::unconfirmed, Phase::applying, Phase::aside}) {
    leave(stage.directory(), phase, false);
    CHECK_FALSE(looks());
  }
  std::filesystem::remove(stage.directory() + "/firewall.json");
  CHECK_FALSE(looks());
  CHECK_FALSE(looks());
  leave(stage.directory(), Phase::applied, false);
  CHECK(looks());
  stage.skip_to_next_try();
  stage.rules().withdraw();  // while somebody looks
  CHECK_FALSE(stage.rules().settled());
  stage.bury();
  CHECK(stage.lives(9) == 1);
  CHECK(stage.withdrawals() == 1);
  const std::string log = stage.log();
  const std::size_t said = log.find("were removed by somebody else");
  CHECK(said != std::string::npos);
  CHECK(log.find("were removed by somebody else", said + 1) == std::string::npos);
}

TEST_CASE("a child that dies is followed by another, three times in all") {
  Stage stage(dies, works);
  stage.rules().put_in();
  CHECK(stage.lives(9) == ManagedRules::most_tries);
  CHECK(stage.rules().settled());
  const std::string log = stage.log();
  CHECK(log.find("next try in 100 ms") != std::string::npos);
  CHECK(log.find("next try in 200 ms") != std::string::npos);
  CHECK(log.find("some may be in force") != std::string::npos);
}

TEST_CASE("who is told to withdraw while rules go in does so when they are in, dead child or not") {
  for (const bool well : {true, false}) {
    Stage stage(well ? works : dies, works);
    stage.rules().put_in();
    stage.start();
    stage.rules().withdraw();
    CHECK_FALSE(stage.rules().settled());
    stage.start();  // not beside the other one
    stage.bury();
    CHECK_FALSE(stage.rules().settled());
    CHECK(stage.lives(9) == 0);  // the state file says that there is nothing
    CHECK(stage.rules().settled());
    CHECK(stage.withdrawals() == 0);
  }
}
