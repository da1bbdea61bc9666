// The rules of the packet filter with `firewall.manage`: in force from when somebody serves what they divert to before
// nobody does. They go in two steps, so that nobody is cut off: first they step aside, and new connections go by; when
// the last one that they have diverted has ended, they are removed. Packet filters that know no first step have theirs
// removed at once.
//
// The programs of the packet filter may take a minute each, and our loop must not wait for them: a child runs them. One
// order at a time, and what has begun is finished before the next one: whoever is told to end while rules go in
// withdraws them when they are in, for half of them is nobody's plan. There is no limit of time but that of each
// program and, before them, that of the wait for others who change rules; `abandon` is for who has a limit of its own.
// A child that dies is followed by another one, which finds in the state file what was begun.
//
// While gatepost serves, rules that could not be put in are tried again, after pauses that double; and twice a minute
// a child looks whether they are still there, for whoever flushes a ruleset flushes ours, too. Rules that were removed
// by hand stay away.
//
// What is withdrawn is what the state file says, whoever put it in: rules of an earlier life, too. Rules with a gate
// that is fail-closed stay; where only a part of them may be in, they go in once more, and are withdrawn if that fails.
#pragma once

#include <poll.h>

#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "proxy/supervisor/child.h"

namespace supervisor {

class ManagedRules {
 public:
  using Say = std::function<void(admin::Level, std::string_view)>;
  // What the child does, and says; false when it could not be done.
  using Work = std::function<bool(const config::Config&, const Say&)>;
  struct Works {
    Work put_in, withdraw, finish;
    Work look{};  // after rules that somebody may have flushed; false when they are not in force
  };
  static constexpr unsigned most_tries = 3;  // of children that die
  static constexpr std::chrono::seconds between_looks{30}, most_between_tries{600};

  // `before_withdrawal` is called when it is certain that the rules go.
  ManagedRules(std::shared_ptr<const config::Config> config, admin::Log& log, std::function<void()> before_withdrawal);
  ManagedRules(std::shared_ptr<const config::Config> config, admin::Log& log, std::function<void()> before_withdrawal,
               Works works)
      : config_(std::move(config)),
        log_(log),
        before_withdrawal_(std::move(before_withdrawal)),
        works_(std::move(works)) {}

  // Without `manage` there is nothing to do.
  void put_in();
  void withdraw();  // the first step
  void finish();    // the second one
  // Nothing is waited for any more: what runs is killed, and the log says how to go on by hand.
  void abandon();
  // What was wanted last is done, or was tried and the log says why not.
  bool settled() const { return done_ == wanted_; }
  // Some that were to go are, or may be, in force.
  bool left() const { return left_; }

  void act(Clock::time_point now);  // starts a child when there is something for it
  std::optional<Clock::time_point> next_due() const;
  void add_poll(std::vector<pollfd>& polls) const;
  void hear();                                                  // what the child says, into the log
  bool bury(pid_t pid, const End& end, Clock::time_point now);  // false: it is none of ours

 private:
  enum class Order { none, put_in, withdraw, finish, look };
  Order order_for_withdrawal();
  Order order_for_finish();
  const Work& work_of(Order order) const;
  void start(Order order, Clock::time_point now);
  void look(Clock::time_point now);
  bool may_look();
  void note(bool in_force, Clock::time_point now);
  void died(const std::string& how, Clock::time_point now);

  std::shared_ptr<const config::Config> config_;
  admin::Log& log_;
  std::function<void()> before_withdrawal_;
  Works works_;
  Order wanted_ = Order::none, done_ = Order::none, under_way_ = Order::none;
  unsigned deaths_ = 0;
  bool in_force_ = false, by_hand_ = false;  // as far as is known; removed by hand, and the log has heard of it
  bool failed_ = false;  // to put them in, the last time: what is in force is none of ours, or a part
  Clock::time_point look_due_{};
  std::chrono::seconds until_next_try_ = between_looks;
  bool left_ = false;
  bool completed_ = false;  // or tried to: rules that have to stay and were only half in
  Child child_{"rules"};
};

}  // namespace supervisor
