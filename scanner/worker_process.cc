#include "scanner/worker_process.h"

#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <system_error>

#include "scanner/say.h"
#include "scanner/worker.h"

namespace scanner {
namespace {

constexpr std::chrono::seconds young{1};
constexpr std::chrono::milliseconds first_pause{20};
constexpr std::chrono::milliseconds longest_pause{2000};         // when something is wrong with this machine
constexpr std::chrono::milliseconds longest_after_message{100};  // when somebody sends messages that crash

}  // namespace

std::string Death::text() const {
  if (signal == 0) return fmt::format("exit status {}", exit_code);
  const char* name = ::sigabbrev_np(signal);
  return name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", name);
}

bool WorkerProcess::start(Clock::time_point now) {
  const pid_t nursery = ::getpid();
  pid_t pid = -1;
  OwnedFd theirs;
  try {
    auto [ours, other] = make_packet_pair();
    socket_ = std::move(ours);
    theirs = std::move(other);
    pid = ::fork();
  } catch (const std::system_error& error) {
    errno = error.code().value();
  }
  if (pid == 0) live(nursery, std::move(theirs));
  if (pid < 0) {
    if (young_deaths_ == 0) say("no scanner worker can be started: {}", std::strerror(errno));
    socket_.reset();
    back_off(now, longest_pause);
    return false;
  }
  pid_ = pid;
  state_ = State::idle;
  started_ = now;
  scans_ = 0;
  return true;
}

void WorkerProcess::live(pid_t nursery, OwnedFd socket) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (::getppid() != nursery) ::_exit(0);  // it died before the line above
  sigset_t none;
  ::sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  run_worker(*engine_, *settings_, socket.release(), directory_);
}

bool WorkerProcess::hand(std::string_view request, int fd, Clock::time_point deadline) {
  if (send_packet(socket_.get(), request, fd) != PacketStatus::ok) return false;
  state_ = State::busy;
  deadline_ = deadline;
  return true;
}

void WorkerProcess::finished() {
  state_ = State::idle;
  ++scans_;
  young_deaths_ = 0;
}

void WorkerProcess::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  state_ = State::dying;
}

Death WorkerProcess::bury(Clock::time_point now) {
  const auto longest = state_ == State::busy ? longest_after_message : longest_pause;
  // Its socket is closed, so it is dead or misbehaves; a process that has a cause of death already keeps it.
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  int status = 0;
  pid_t reaped = -1;
  do reaped = ::waitpid(pid_, &status, 0);
  while (reaped < 0 && errno == EINTR);
  pid_ = -1;
  socket_.reset();
  state_ = State::absent;
  WorkDirectory directory;
  if (!directory.open(directory_))  // somebody removed it: a new scanner makes a new one
    throw std::system_error(errno, std::generic_category(), directory_);
  if (!directory.is_empty() && !directory.empty_out())
    say("temporary files of a dead scanner worker cannot be removed from {}", directory_);
  if (scans_ == 0 && now - started_ < young) back_off(now, longest);
  else start_at_ = now, young_deaths_ = 0;
  Death death;
  if (WIFSIGNALED(status)) death.signal = WTERMSIG(status);
  else death.exit_code = WEXITSTATUS(status);
  return death;
}

// The first young death costs nothing: it may be one bad message.
void WorkerProcess::back_off(Clock::time_point now, std::chrono::milliseconds longest) {
  const unsigned doublings = std::min(young_deaths_, 8u);
  start_at_ = young_deaths_ == 0 ? now : now + std::min(longest, first_pause * (1 << doublings));
  ++young_deaths_;
}

}  // namespace scanner
