#include "proxy/supervisor/managed_rules.h"

#include <fmt/format.h>
#include <signal.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "firewall/apply.h"
#include "proxy/supervisor/privileges.h"

namespace supervisor {
namespace {

using admin::Level;

constexpr int most_tries_aside = 2;
constexpr std::size_t longest_sentence = 4096;  // programs may have a lot to say about what failed

bool put_in_force(const config::Config& config, const ManagedRules::Say& say) {
  const std::string& directory = config.firewall.state_directory;
  const auto plan = firewall::apply(config, {.directory = directory, .owner = ::getppid()});
  if (plan) {
    say(Level::info,
        fmt::format("the rules of the packet filter are in force, by {}", firewall::to_string(plan->backend)));
    for (const std::string& warning : plan->warnings) say(Level::warning, warning);
    return true;
  }
  const auto former = firewall::load_state(directory);
  const bool some = former && *former, half = some && (*former)->phase == firewall::State::Phase::applying;
  const char* what = half   ? "the rules may be in force in part: "
                     : some ? "the rules of an earlier start stay in force: "
                            : "nothing is intercepted: ";
  for (const std::string& sentence : plan.error().sentences) say(Level::error, what + sentence);
  return false;
}

const firewall::Watch unseen = [](const firewall::Step&) {};

bool told(const std::expected<bool, firewall::Failure>& removed, const ManagedRules::Say& say) {
  if (removed) {
    if (*removed) say(Level::info, "the rules of the packet filter are withdrawn");
    return true;
  }
  for (const std::string& sentence : removed.error().sentences)
    say(Level::error, "rules of the packet filter are left: " + sentence + "; run gatepost firewall remove");
  return false;
}

// A program that fails once, or somebody who has the lock for long, cuts nobody off.
std::expected<bool, firewall::Failure> step_aside(const std::string& directory, const ManagedRules::Say& say) {
  auto aside = firewall::step_aside(directory, unseen);
  for (int tries = 1; !aside && tries < most_tries_aside; ++tries) {
    for (const std::string& sentence : aside.error().sentences)
      say(Level::error, "the rules of the packet filter cannot step aside, next try now: " + sentence);
    aside = firewall::step_aside(directory, unseen);
  }
  return aside;
}

bool take_out(const config::Config& config, const ManagedRules::Say& say) {
  const std::string& directory = config.firewall.state_directory;
  const auto aside = step_aside(directory, say);
  if (aside && *aside) {
    say(Level::info, "the rules of the packet filter let new connections go by gatepost; those that it has go on");
    return true;
  }
  if (!aside)
    for (const std::string& sentence : aside.error().sentences)
      say(Level::error, "the rules of the packet filter go at once, and what they divert may be cut off: " + sentence);
  return told(firewall::remove(directory, unseen), say);
}

// Nobody is served by us any more. What others serve is another gatepost's, which has stepped aside like us.
bool take_out_the_rest(const config::Config& config, const ManagedRules::Say& say) {
  const std::string& directory = config.firewall.state_directory;
  const bool told_apart = firewall::diverted_connections({}).has_value();  // else there may be none of another's
  const auto longest = firewall::for_last_packets + (told_apart ? config.limits.drain : std::chrono::milliseconds(0));
  const auto cut = [&say](const firewall::Diverted& found) {
    say(Level::warning, fmt::format("{} diverted connections are not waited for any longer: their clients or servers do "
                                    "not take what was sent last, or another gatepost serves them",
                                    found.served + found.left));
  };
  const auto state = firewall::load_state(directory);
  if (state && *state && (*state)->phase != firewall::State::Phase::aside)  // the first step has failed
    if (const auto aside = step_aside(directory, say); !aside || !*aside) return told(firewall::remove(directory, unseen), say);
  return told(firewall::remove_when_unused(directory, {.longest = longest, .cut = cut}, unseen), say);
}

bool look_after(const config::Config& config, const ManagedRules::Say& say) {
  const std::string& directory = config.firewall.state_directory;
  const auto state = firewall::load_state(directory);
  if (!state || !*state) return true;  // removed by hand since; the next look says so
  const auto missing = firewall::missing_parts((*state)->plan);
  if (!missing || missing->empty()) return true;
  const auto back = firewall::put_back(directory, (*state)->token);
  if (back && !*back) return true;  // nobody has flushed them: others were changing them
  say(Level::error, fmt::format("rules of the packet filter have gone, {} of {} among them: somebody has flushed them, and new "
                                "connections went by gatepost, unscanned; {}",
                                missing->front(), missing->size(), back ? "they are in force again" : "they go in again"));
  if (back) return true;
  for (const std::string& sentence : back.error().sentences) say(Level::error, "rules of the packet filter are missing: " + sentence);
  return false;
}

// From the child to the log: the level as a digit, and the sentence.
std::string packet_of(Level level, std::string_view sentence) {
  return fmt::format("{}{}", static_cast<int>(level), sentence.substr(0, longest_sentence));
}
Level level_in(const std::string& packet) {
  const int number = packet.front() - '0';
  return number >= 0 && number <= static_cast<int>(Level::error) ? static_cast<Level>(number) : Level::error;
}

}  // namespace

ManagedRules::ManagedRules(std::shared_ptr<const config::Config> config, admin::Log& log,
                           std::function<void()> before_withdrawal)
    : ManagedRules(std::move(config), log, std::move(before_withdrawal), {put_in_force, take_out, take_out_the_rest, look_after}) {}

void ManagedRules::put_in() {
  if (config_->firewall.manage && wanted_ == Order::none) wanted_ = Order::put_in;
}

void ManagedRules::withdraw() {
  if (!config_->firewall.manage || wanted_ == Order::withdraw || wanted_ == Order::finish) return;
  wanted_ = Order::withdraw;
  deaths_ = 0;
}

void ManagedRules::finish() {
  if (!config_->firewall.manage || wanted_ == Order::finish) return;
  wanted_ = Order::finish;
  deaths_ = 0;
}

void ManagedRules::abandon() {
  child_.signal(SIGKILL);
  if (settled()) return;
  done_ = wanted_;
  left_ = true;
  log_.say(0, Level::error,
           "rules of the packet filter are left, as there was no more time to withdraw them; run gatepost firewall "
           "remove");
}

// From the state file, which nobody changes now.
ManagedRules::Order ManagedRules::order_for_withdrawal() {
  const auto state = firewall::load_state(config_->firewall.state_directory);
  if (!state) return Order::withdraw;  // whatever it is, the attempt says so
  if (!*state) return Order::none;
  if (is_of_another(**state, ::getpid())) {
    log_.say(0, Level::info,
             fmt::format("the rules of the packet filter are those of another gatepost (pid {}), and stay", (*state)->owner));
    return Order::none;
  }
  if (stays_closed(**state)) {
    log_.say(0, Level::info,
             "the rules of the packet filter stay, as firewall.gate.on_failure is \"closed\": new connections wait for "
             "the next start, or for gatepost firewall remove");
    return Order::none;
  }
  if (!(*state)->plan.fail_closed || (*state)->phase == firewall::State::Phase::aside) return Order::withdraw;
  if (!completed_) {
    log_.say(0, Level::warning,
             "the rules of the packet filter may be in force in part: as firewall.gate.on_failure is \"closed\", they "
             "go in once more");
    return Order::put_in;
  }
  log_.say(0, Level::error,
           "the rules of the packet filter may be in force in part and are withdrawn: new connections go by gatepost, "
           "unscanned, although firewall.gate.on_failure is \"closed\"");
  return Order::withdraw;
}

ManagedRules::Order ManagedRules::order_for_finish() {
  const auto state = firewall::load_state(config_->firewall.state_directory);
  if (!state || !*state || stays_closed(**state)) return Order::none;
  if (left_ || (*state)->phase == firewall::State::Phase::aside) return Order::finish;
  if (is_of_another(**state, ::getpid())) return Order::none;  // the log has heard of it
  log_.say(0, Level::warning,
           "rules of the packet filter were applied while gatepost ended, and stay: if no other gatepost serves what they "
           "divert, run gatepost firewall remove");
  return Order::none;
}

// Not what was removed by hand, nor what somebody is at: that has gone, or steps aside, or waits to be confirmed.
bool ManagedRules::may_look() {
  const auto state = firewall::load_state(config_->firewall.state_directory);
  if (!state) return false;
  if (*state) by_hand_ = false;
  const bool cut = failed_ && *state && (*state)->phase == firewall::State::Phase::applying;  // ours, most likely
  if (*state) return cut || (*state)->phase == firewall::State::Phase::applied;
  if (in_force_ && !by_hand_)
    log_.say(0, Level::warning,
             "the rules of the packet filter were removed by somebody else: new connections go by gatepost, unscanned, until they "
             "are applied again");
  by_hand_ = by_hand_ || in_force_;
  return !by_hand_;
}

void ManagedRules::look(Clock::time_point now) {
  if (wanted_ != Order::put_in || now < look_due_ || !child_.due(now)) return;
  look_due_ = now + between_looks;
  if (may_look()) start(Order::look, now);
}

void ManagedRules::note(bool in_force, Clock::time_point now) {
  in_force_ = in_force_ || in_force;
  failed_ = !in_force;
  if (in_force) until_next_try_ = between_looks;
  look_due_ = now + until_next_try_;
  if (!in_force) until_next_try_ = std::min(2 * until_next_try_, most_between_tries);
}

void ManagedRules::act(Clock::time_point now) {
  if (settled()) return look(now);
  if (!child_.due(now)) return;
  const Order order = wanted_ == Order::withdraw ? order_for_withdrawal()
                      : wanted_ == Order::finish ? order_for_finish()
                                                 : wanted_;
  if (order == Order::none) {
    done_ = wanted_;
    return;
  }
  if (order == Order::withdraw) before_withdrawal_();
  start(order, now);
}

const ManagedRules::Work& ManagedRules::work_of(Order order) const {
  if (order == Order::put_in) return works_.put_in;
  if (order == Order::look) return failed_ ? works_.put_in : works_.look;
  return order == Order::withdraw ? works_.withdraw : works_.finish;
}

void ManagedRules::start(Order order, Clock::time_point now) {
  const Work& work = work_of(order);
  const pid_t parent = ::getpid();
  const auto body = [this, &work, parent](scanner::OwnedFd control) {
    if (!die_with(parent)) return EX_OSERR;
    const Say say = [&control](Level level, std::string_view sentence) {
      scanner::send_packet(control.get(), packet_of(level, sentence));
    };
    return work(*config_, say) ? EX_OK : EX_UNAVAILABLE;
  };
  if (child_.fork(body, {})) {
    under_way_ = order;
    completed_ = completed_ || (order == Order::put_in && wanted_ == Order::withdraw);
    return;
  }
  // Nothing has begun, so nothing has failed: a system that refuses now may have a process for it later.
  const int error = errno;
  const auto pause = child_.buried(now);
  log_.say(0, Level::error,
           fmt::format("there is no process for the rules of the packet filter: {}; next try in {} ms",
                       std::strerror(error), pause.count()));
}

// Nobody can say how far it came; the next one undoes that or goes on.
void ManagedRules::died(const std::string& how, Clock::time_point now) {
  const char* what = under_way_ == Order::put_in ? "put in force" : "withdrawn";
  deaths_ = wanted_ == under_way_ ? deaths_ + 1 : 0;
  const bool again = deaths_ < most_tries;
  if (!again) done_ = under_way_;
  left_ = left_ || (!again && under_way_ != Order::put_in);
  if (under_way_ == Order::put_in) note(false, now);
  const auto pause = child_.buried(now);
  log_.say(0, Level::error,
           fmt::format("the rules of the packet filter are not {}: {}; {}", what, how,
                       again ? fmt::format("next try in {} ms", pause.count())
                             : "some may be in force: run gatepost firewall status, then apply or remove"));
  under_way_ = Order::none;
}

std::optional<Clock::time_point> ManagedRules::next_due() const {
  if (child_.running()) return std::nullopt;
  if (!settled()) return child_.start_at();
  if (wanted_ != Order::put_in) return std::nullopt;
  return std::max(look_due_, child_.start_at());
}

void ManagedRules::add_poll(std::vector<pollfd>& polls) const {
  if (child_.control() >= 0) polls.push_back({child_.control(), POLLIN, 0});
}

void ManagedRules::hear() {
  while (const auto packet = child_.heard()) log_.say(0, level_in(*packet), std::string_view(*packet).substr(1));
}

bool ManagedRules::bury(pid_t pid, const End& end, Clock::time_point now) {
  if (pid <= 0 || child_.pid() != pid) return false;
  hear();  // what it said before it died
  if (under_way_ == Order::look) {
    under_way_ = Order::none;
    child_.expect_end(now);
    child_.buried(now);
    note(end.signal == 0 && end.status == EX_OK, now);
    return true;
  }
  if (settled()) {  // abandoned
    child_.buried(now);
    under_way_ = Order::none;
    return true;
  }
  if (end.signal != 0 || (end.status != EX_OK && end.status != EX_UNAVAILABLE)) {
    died(fmt::format("their process ended: {}", end.text()), now);
    return true;
  }
  child_.expect_end(now);
  child_.buried(now);
  if (under_way_ == Order::put_in) note(end.status == EX_OK, now);
  else left_ = end.status != EX_OK;
  done_ = std::exchange(under_way_, Order::none);
  deaths_ = 0;
  return true;
}

}  // namespace supervisor
