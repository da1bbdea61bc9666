// Rules of the packet filter with firewall.manage: what is done when, and what when the process that does it dies.
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "proxy/supervisor/managed_rules.h"

using admin::Level;
using supervisor::Clock;
using supervisor::ManagedRules;

namespace {

// Rules on a clock of the test's own; a child of theirs is waited for.
class Stage {
 public:
  Stage(ManagedRules::Work put_in, ManagedRules::Work withdraw) {
    REQUIRE(::pipe(log_) == 0);
    char name[] = "/tmp/managed-rules-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    auto config = std::make_shared<config::Config>();
    config->firewall.manage = true;
    config->firewall.state_directory = directory_ = name;
    log_writer_.emplace(config->log, "test", log_[1], 0);
    rules_.emplace(
        config, *log_writer_, [this] { ++withdrawals_; }, ManagedRules::Works{std::move(put_in), std::move(withdraw)});
  }
  ~Stage() {
    ::close(log_[0]);
    ::close(log_[1]);
    ::rmdir(directory_.c_str());
  }
  Stage(const Stage&) = delete;
  Stage& operator=(const Stage&) = delete;

  ManagedRules& rules() { return *rules_; }
  int withdrawals() const { return withdrawals_; }
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
bool fails(const config::Config&, const ManagedRules::Say& say) {
  say(Level::error, std::string(100'000, 'x'));
  return false;
}

}  // namespace

TEST_CASE("nothing is to be done before it is asked for, nor to be withdrawn that never went in") {
  Stage stage(works, works);
  CHECK(stage.rules().settled());
  stage.rules().withdraw();
  CHECK(stage.rules().settled());
  stage.rules().put_in();
  CHECK_FALSE(stage.rules().settled());
  stage.rules().withdraw();  // nobody has begun
  CHECK(stage.rules().settled());
  CHECK(stage.lives(9) == 0);
}

TEST_CASE("what is done or has failed is settled by one child, whose words are in the log") {
  for (const bool well : {true, false}) {
    Stage stage(well ? works : fails, works);
    stage.rules().put_in();
    CHECK(stage.lives(9) == 1);
    CHECK(stage.rules().settled());
    CHECK_FALSE(stage.rules().next_due());
    const std::string log = stage.log();
    CHECK(log.find(well ? "done" : "xxxx") != std::string::npos);
    CHECK(log.size() < 5000);  // whatever a program says
  }
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
