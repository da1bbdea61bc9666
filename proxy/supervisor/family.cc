// Starting the children and wiring them; what they say is in hearing.cc.
#include "proxy/supervisor/family.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "proxy/keeper/keeper.h"
#include "proxy/serve.h"
#include "proxy/supervisor/privileges.h"

namespace supervisor {
namespace {

using admin::Level;
using scanner::OwnedFd;
using Kind = Message::Kind;

constexpr unsigned slots_per_loop = 8192;  // ends of data in flight; pages are touched only as far as they are used
constexpr std::chrono::seconds between_copies{1};
constexpr std::chrono::seconds to_end{3};  // for a program that nobody needs any more

// In the child. The sentence goes to standard error: the child has no log yet.
bool enter(const config::Account& account, pid_t parent, const char* name) {
  const auto dropped = drop_privileges(account);
  if (!dropped) fmt::print(stderr, "gatepost: {}: {}\n", name, dropped.error());
  return dropped && die_with(parent);
}

}  // namespace

Family::Family(std::shared_ptr<const config::Config> config, Listening listening, RunProxy run_proxy, admin::Log& log,
               int log_file, std::string scanner_directory)
    : config_(std::move(config)),
      listening_(std::move(listening)),
      loops_(static_cast<unsigned>(listening_.sockets.size())),
      run_proxy_(std::move(run_proxy)),
      log_(log),
      log_file_(log_file),
      scanner_directory_(std::move(scanner_directory)),
      window_(loops_, slots_per_loop),
      bans_(config_, log_),
      rules_(config_, log_, [this] { bans_.end(); }) {  // the lists of the banned go with the rules
  count_passed_on();
}

void Family::count_passed_on() {
  auto made = firewall::PassedOn::create(*config_);
  if (made) passed_on_ = std::move(*made);
  else say(Level::warning, "what is passed on unscanned is not counted: " + made.error());
}

void Family::save_passed_on(Clock::time_point now) {
  if (!passed_on_) return;
  passed_on_due_ = now + between_copies;
  const auto saved = passed_on_->save();
  if (!saved && !passed_on_failed_)
    say(Level::warning, "firewall status cannot tell what is passed on unscanned: " + saved.error());
  passed_on_failed_ = !saved;
}

void Family::act_due(Clock::time_point now) {
  if (!others_end_ && keeper_.due(now)) start_keeper();
  if (!proxy_ends_ && proxy_.due(now)) start_proxy();
  if (scanner_wanted() && scanner_.due(now)) start_scanner();
  if (gate_wanted() && gate_.due(now)) start_gate();
  connect(keeper_, to_keeper_, now);
  connect(scanner_, to_scanner_, now);
  scanner_.kill_overdue(now);
  gate_.kill_overdue(now);
  ask_gate(now);
  bans_.act(now);
  rules_.act(now);
  if (passed_on_ && passed_on_due_ <= now) save_passed_on(now);
}

std::optional<Clock::time_point> Family::next_due() const {
  std::optional<Clock::time_point> next;
  const auto consider = [&next](std::optional<Clock::time_point> due) {
    if (due && (!next || *due < *next)) next = due;
  };
  if (!others_end_ && !keeper_.running()) consider(keeper_.start_at());
  if (!proxy_ends_ && !proxy_.running()) consider(proxy_.start_at());
  if (scanner_wanted() && !scanner_.running()) consider(scanner_.start_at());
  if (gate_wanted() && !gate_.running()) consider(gate_.start_at());
  if (proxy_.running() && keeper_.running()) consider(to_keeper_.due);
  if (proxy_.running() && scanner_.running()) consider(to_scanner_.due);
  consider(scanner_.kill_at());
  consider(gate_.kill_at());
  consider(gate_heartbeat_.next());
  consider(bans_.next_due(Clock::now()));
  consider(rules_.next_due());
  if (passed_on_) consider(passed_on_due_);
  return next;
}

void Family::start_proxy() {
  std::vector<int> keep;
  for (const auto& loop : listening_.sockets)
    for (const OwnedFd& socket : loop) keep.push_back(socket.get());
  if (log_file_ >= 0) keep.push_back(log_file_);
  if (tls_files_) keep.push_back(tls_files_.get());
  if (listening_.pf) keep.push_back(listening_.pf.get());
  const pid_t parent = ::getpid();
  const auto body = [this, parent](OwnedFd control) {
    if (!enter(config_->proxy_account, parent, "proxy")) return EX_CONFIG;
    ProxyStart start;
    start.config = config_;
    start.listeners = std::move(listening_.sockets);  // the child's own copies of the descriptors
    start.control = std::move(control);
    start.pf = std::move(listening_.pf);
    start.window = &window_;
    start.passed_on = passed_on_.get();
    start.log_file = log_file_;
    start.tls_files = std::move(tls_files_);
    return run_proxy_(std::move(start));
  };
  if (!proxy_.fork(body, std::move(keep))) {
    const int error = errno;
    const auto pause = proxy_.buried(Clock::now());
    return say(Level::error,
               fmt::format("the proxy cannot be started: {}; next try in {} ms", std::strerror(error), pause.count()));
  }
  to_keeper_.due = to_scanner_.due = proxy_.started();
}

void Family::start_keeper() {
  std::vector<int> keep;
  if (log_file_ >= 0) keep.push_back(log_file_);
  const pid_t parent = ::getpid();
  const auto body = [this, parent](OwnedFd control) {
    if (!enter(config_->keeper_account, parent, "keeper")) return EX_CONFIG;
    admin::Log log(config_->log, "gatepost/keeper", log_file_, 1);
    return keeper::run(config_, std::move(control), log);
  };
  if (!keeper_.fork(body, std::move(keep))) {
    const int error = errno;
    const auto pause = keeper_.buried(Clock::now());
    return say(Level::error,
               fmt::format("the keeper cannot be started: {}; next try in {} ms", std::strerror(error), pause.count()));
  }
  to_keeper_.due = keeper_.started();
}

void Family::start_scanner() {
  scanner::Settings settings = scanner_settings(*config_, config_->scanners.front());
  settings.temporary_directory = scanner_directory_;
  auto program = supervisor::start_scanner(settings, 0);
  if (!program) {
    scanner_failed_ = true;
    const auto pause = scanner_.buried(Clock::now());
    return say(Level::error, fmt::format("{}; mail is deferred; next try in {} ms", program.error(), pause.count()));
  }
  scanner_.adopt(program->pid, std::move(program->control));
  scanner_words_.fd = std::move(program->said);
  to_scanner_.due = scanner_.started();
}

// A fresh pair per loop: all of them or none, so that nobody waits for the rest.
void Family::connect(Child& child, Link& link, Clock::time_point now) {
  if (!proxy_.running() || !child.running() || !link.due || *link.due > now) return;
  std::vector<std::pair<OwnedFd, OwnedFd>> pairs;
  while (pairs.size() < loops_) {
    auto pair = scanner::try_packet_pair();
    if (!pair) {
      const auto pause = link.backoff.after(Backoff::milliseconds{0});
      link.due = now + pause;
      return say(Level::error, fmt::format("the {} cannot be connected with the proxy: {}; next try in {} ms",
                                           child.name(), std::strerror(pair.error()), pause.count()));
    }
    pairs.push_back(std::move(*pair));
  }
  for (unsigned loop = 0; loop < loops_; ++loop) {
    const Message message{link.kind, loop, {}};
    child.send(&child == &scanner_ ? std::string(scanner::new_socket) : encode(message), std::move(pairs[loop].first));
    proxy_.tell(message, std::move(pairs[loop].second));
  }
  link.due.reset();
  link.made = now;
  link.backoff = {};
}

// The scanner ends when nothing is being scanned, the gate at once; neither has a reason to need long.
void Family::release(Child& child) {
  if (!child.running()) return;
  if (&child == &gate_) gate_heartbeat_.end();
  child.expect_end(Clock::now() + to_end);
  child.signal(SIGTERM);
}

void Family::reap() {
  for (;;) {
    int status = 0;
    const pid_t pid = ::waitpid(-1, &status, WNOHANG);
    if (pid < 0 && errno == EINTR) continue;
    if (pid <= 0) return;
    End end;
    end.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    end.signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (bans_.bury(pid, Clock::now()) || rules_.bury(pid, end, Clock::now())) continue;
    for (Child* child : {&proxy_, &keeper_, &scanner_, &gate_})
      if (child->pid() == pid) bury(*child, end);
  }
}

void Family::bury(Child& child, const End& end) {
  hear(child);  // what it said before it died
  const bool ending = &child == &proxy_ ? proxy_ends_ : others_end_;
  const bool expected = ending || child.end_expected();
  // A scanner that ends has nobody left who waits for it; our SIGTERM may even come before it can take one.
  const bool is_program = &child == &scanner_ || &child == &gate_;
  if (ending && !is_program && (end.signal != 0 || end.status != 0)) ended_well_ = false;
  if (!ever_ready_ && end.status == EX_CONFIG && !is_program) hopeless_ = true;
  const pid_t pid = child.pid();
  if (is_program) {
    copy(&child == &scanner_ ? scanner_words_ : gate_words_, true);
    bool& failed = &child == &scanner_ ? scanner_failed_ : gate_failed_;
    failed = failed || !expected;
  }
  if (&child == &scanner_) greeted_loops_.clear();
  if (&child == &gate_) gate_heartbeat_.end();
  if (!is_program) keeping_loops_.clear();
  const auto pause = child.buried(Clock::now());
  if (!expected || (end.signal != 0 && end.signal != SIGTERM))
    say(Level::error, fmt::format("the {} (pid {}) ended: {}{}", child.name(), pid, end.text(),
                                  ending ? std::string() : fmt::format("; a new one starts in {} ms", pause.count())));
  if (&child == &gate_ && !ending && config_->firewall.gate.on_failure == config::OnFailure::open)
    say(Level::error,
        "new connections go by gatepost, unscanned, until a gate runs; gatepost firewall status counts them");
  if (&child != &proxy_) return;
  save_passed_on(Clock::now());
  full_listeners_.clear();
  tell_gate();
  greeted_loops_.clear();
  tell_unknown();
}

void Family::tell_unknown() {
  window_.sweep([this](const WindowSlot& slot) {
    admin::Record line = log_.record(Level::error, slot.trace_id.data());
    line.text("client", slot.client.data()).listener(slot.listener.data(), slot.direction.data());
    line.text("relay", slot.downstream.data()).number("size", slot.size);
    line.text("hash", fmt::format("{:016x}{:016x}", slot.hash[0], slot.hash[1])).text("outcome", "unknown");
    line.message("the proxy died between the final dot and the reply; the downstream may have the message");
    log_.write(0, Level::error, std::move(line));
  });
}

void Family::end_proxy(Kind kind) {
  proxy_ends_ = true;
  // Ours would keep the ports open, and clients waiting in their queues.
  // The files go first: once nobody listens, they may be a successor's.
  listening_.files.clear();
  listening_.sockets.clear();
  proxy_.tell({kind, 0, {}});
  tell_gate();
}

void Family::end_others() {
  if (others_end_) return;
  others_end_ = true;
  keeper_.tell({Kind::drain, 0, {}});
  release(scanner_);
  release(gate_);
}

void Family::kill_all() {
  for (const Child* child : {&proxy_, &keeper_, &scanner_, &gate_}) child->signal(SIGKILL);
  bans_.kill();
}

void Family::use_tls_files(OwnedFd files) {
  tls_files_ = std::move(files);
  if (tls_files_ && proxy_.running()) proxy_.tell({Kind::tls_files, 0, {}}, OwnedFd(::dup(tls_files_.get())));
}

void Family::use_log_file(int file) {
  log_file_ = file;
  for (Child* child : {&proxy_, &keeper_}) child->tell({Kind::log_file, 0, {}}, OwnedFd(::dup(file)));
}

}  // namespace supervisor
