// Starting the children and wiring them; what they say is in hearing.cc.
#include "proxy/supervisor/family.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "proxy/keeper/keeper.h"
#include "proxy/serve.h"
#include "proxy/supervisor/privileges.h"

namespace supervisor {
namespace {

using admin::Level;
using scanner::OwnedFd;
using Kind = Message::Kind;

constexpr unsigned slots_per_loop = 4096;  // ends of data in flight; pages are touched only as far as they are used

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
      window_(loops_, slots_per_loop) {}

void Family::start_due(Clock::time_point now) {
  if (!others_end_ && keeper_.due(now)) start_keeper();
  if (!proxy_ends_ && proxy_.due(now)) start_proxy();
  if (scanner_wanted() && proxy_.running() && scanner_.due(now)) start_scanner();
}

std::optional<Clock::time_point> Family::next_start() const {
  std::optional<Clock::time_point> next;
  const auto consider = [&next](const Child& child) {
    if (!child.running() && (!next || child.start_at() < *next)) next = child.start_at();
  };
  if (!others_end_) consider(keeper_);
  if (!proxy_ends_) consider(proxy_);
  if (scanner_wanted() && proxy_.running()) consider(scanner_);
  return next;
}

void Family::start_proxy() {
  std::vector<int> keep;
  for (const auto& loop : listening_.sockets)
    for (const OwnedFd& socket : loop) keep.push_back(socket.get());
  if (log_file_ >= 0) keep.push_back(log_file_);
  const pid_t parent = ::getpid();
  const auto body = [this, parent](OwnedFd control) {
    if (!enter(config_->proxy_account, parent, "proxy")) return EX_CONFIG;
    ProxyStart start;
    start.config = config_;
    start.listeners = std::move(listening_.sockets);  // the child's own copies of the descriptors
    start.control = std::move(control);
    start.window = &window_;
    start.log_file = log_file_;
    return run_proxy_(std::move(start));
  };
  if (!proxy_.fork(body, std::move(keep))) {
    say(Level::error, fmt::format("the proxy cannot be started: {}", std::strerror(errno)));
    proxy_.buried(Clock::now());
    return;
  }
  connect_keeper();
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
    say(Level::error, fmt::format("the keeper cannot be started: {}", std::strerror(errno)));
    keeper_.buried(Clock::now());
    return;
  }
  connect_keeper();
}

// A fresh pair per loop, for whoever of the two is new.
void Family::connect_keeper() {
  if (!proxy_.running() || !keeper_.running()) return;
  for (unsigned loop = 0; loop < loops_; ++loop) {
    auto [for_proxy, for_keeper] = scanner::make_packet_pair();
    keeper_.tell({Kind::keeper_socket, loop, {}}, std::move(for_keeper));
    proxy_.tell({Kind::keeper_socket, loop, {}}, std::move(for_proxy));
  }
}

void Family::start_scanner() {
  scanner::Settings settings = scanner_settings(*config_, config_->scanners.front());
  settings.temporary_directory = scanner_directory_;
  auto program = supervisor::start_scanner(settings, loops_);
  if (!program) {
    scanner_failed_ = true;
    const auto pause = scanner_.buried(Clock::now());
    return say(Level::error, fmt::format("{}; mail is deferred; next try in {} ms", program.error(), pause.count()));
  }
  scanner_.adopt(program->pid);
  scanner_words_ = std::move(program->said);
  greeted_loops_.clear();
  for (unsigned loop = 0; loop < loops_; ++loop)
    proxy_.tell({Kind::scanner_socket, loop, {}}, std::move(program->sockets[loop]));
}

// It ends when its sockets are closed and nothing is being scanned.
void Family::release_scanner() {
  if (!scanner_.running()) return;
  scanner_.expect_end();
  scanner_.signal(SIGTERM);
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
    for (Child* child : {&proxy_, &keeper_, &scanner_})
      if (child->pid() == pid) bury(*child, end);
  }
}

void Family::bury(Child& child, const End& end) {
  hear(child);  // what it said before it died
  const bool ending = &child == &proxy_ ? proxy_ends_ : others_end_;
  const bool expected = ending || child.end_expected();
  // A scanner that ends has nobody left who waits for it; our SIGTERM may even come before it can take one.
  if (ending && &child != &scanner_ && (end.signal != 0 || end.status != 0)) ended_well_ = false;
  if (!ever_ready_ && end.status == EX_CONFIG && &child != &scanner_) hopeless_ = true;
  const pid_t pid = child.pid();
  if (&child == &scanner_) {
    copy_scanner_words(true);
    greeted_loops_.clear();
    scanner_failed_ = scanner_failed_ || !expected;
  }
  const auto pause = child.buried(Clock::now());
  if (!expected || (end.signal != 0 && end.signal != SIGTERM))
    say(Level::error, fmt::format("the {} (pid {}) ended: {}{}", child.name(), pid, end.text(),
                                  ending ? std::string() : fmt::format("; a new one starts in {} ms", pause.count())));
  if (&child != &proxy_) return;
  tell_unknown();
  if (!proxy_ends_) release_scanner();
}

void Family::tell_unknown() {
  window_.sweep([this](const WindowSlot& slot) {
    admin::Record line = log_.record(Level::error, slot.trace_id.data());
    line.text("client", slot.client.data()).text("relay", slot.downstream.data()).number("size", slot.size);
    line.text("hash", fmt::format("{:016x}{:016x}", slot.hash[0], slot.hash[1])).text("outcome", "unknown");
    line.message("the proxy died between the final dot and the reply; the downstream may have the message");
    log_.write(0, Level::error, std::move(line));
  });
}

void Family::end_proxy(Kind kind) {
  proxy_ends_ = true;
  // Ours would keep the ports open, and clients waiting in their queues.
  listening_.sockets.clear();
  proxy_.tell({kind, 0, {}});
}

void Family::end_others() {
  if (others_end_) return;
  others_end_ = true;
  keeper_.tell({Kind::drain, 0, {}});
  release_scanner();
}

void Family::kill_all() {
  for (const Child* child : {&proxy_, &keeper_, &scanner_}) child->signal(SIGKILL);
}

void Family::use_log_file(int file) {
  log_file_ = file;
  for (Child* child : {&proxy_, &keeper_}) child->tell({Kind::log_file, 0, {}}, OwnedFd(::dup(file)));
}

}  // namespace supervisor
