#include "proxy/supervisor/child.h"

#include <fmt/format.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <exception>

#include "proxy/supervisor/privileges.h"

namespace supervisor {
namespace {

constexpr int software_error = 70;          // EX_SOFTWARE
constexpr std::size_t most_unsent = 65536;  // two batches of sockets for each family of each loop, when there are many

void close_all_but(std::vector<int> keep) {
  keep.push_back(2);
  std::sort(keep.begin(), keep.end());
  unsigned first = 3;
  for (const int fd : keep) {
    if (fd < 3) continue;
    const auto kept = static_cast<unsigned>(fd);
    if (kept > first) ::close_range(first, kept - 1, 0);
    first = kept + 1;
  }
  ::close_range(first, ~0U, 0);
}

void set_signals() {
  for (const int number : {SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) ::signal(number, SIG_IGN);
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

// Never returns: what the supervisor's stack holds is not the child's to destroy.
[[noreturn]] void live(const std::function<int(scanner::OwnedFd)>& body, scanner::OwnedFd control,
                       std::vector<int> keep, const std::string& name) {
  // syslog(3) would go on to use the number of its socket, whatever it is by then.
  ::closelog();
  keep.push_back(control.get());
  close_all_but(std::move(keep));
  set_signals();
  ::umask(077);
  int status = software_error;
  try {
    status = body(std::move(control));
  } catch (const std::exception& error) {
    fmt::print(stderr, "gatepost: the {} ends: {}\n", name, error.what());
  }
  ::_exit(status);
}

}  // namespace

std::string End::text() const {
  if (signal == 0) return fmt::format("exit status {}", status);
  const char* short_name = ::sigabbrev_np(signal);
  return short_name == nullptr ? fmt::format("signal {}", signal) : fmt::format("SIG{}", short_name);
}

bool Child::fork(const std::function<int(scanner::OwnedFd)>& body, std::vector<int> keep) {
  auto sockets = scanner::try_packet_pair();
  if (!sockets) {
    errno = sockets.error();
    return false;
  }
  const pid_t pid = ::fork();
  if (pid == 0) live(body, std::move(sockets->second), std::move(keep), name_);
  if (pid < 0) return false;
  adopt(pid, std::move(sockets->first));
  return true;
}

void Child::adopt(pid_t pid, scanner::OwnedFd control) {
  pid_ = pid;
  control_ = std::move(control);
  started_ = Clock::now();
  ready = false;
  kill_at_.reset();
  unsent_.clear();
}

void Child::expect_end(Clock::time_point by) {
  if (!kill_at_) kill_at_ = by;
}

void Child::kill_overdue(Clock::time_point now) {
  if (!kill_at_ || *kill_at_ > now) return;
  signal(SIGKILL);
  kill_at_ = Clock::time_point::max();  // once; it may take its time to die
}

void Child::send(std::string packet, scanner::OwnedFd fd) {
  if (!control_ || unsent_.size() >= most_unsent) return;
  unsent_.send(control_.get(), std::move(packet), std::move(fd));
}

void Child::flush() {
  if (control_) unsent_.flush(control_.get());
}

std::optional<std::string> Child::heard() {
  if (!control_) return std::nullopt;
  std::string packet;
  scanner::OwnedFd fd;
  const auto status = scanner::receive_packet(control_.get(), packet, fd);
  if (status == scanner::PacketStatus::ok) return packet;
  if (status != scanner::PacketStatus::would_block) close_control();
  return std::nullopt;
}

void Child::signal(int number) const {
  if (running()) ::kill(pid_, number);
}

std::chrono::milliseconds Child::buried(Clock::time_point now) {
  const auto lived =
      running() ? std::chrono::duration_cast<std::chrono::milliseconds>(now - started_) : std::chrono::milliseconds{0};
  const auto pause = end_expected() ? std::chrono::milliseconds{0} : backoff_.after(lived);
  pid_ = -1;
  start_at_ = now + pause;
  ready = false;
  kill_at_.reset();
  control_.reset();
  unsent_.clear();
  return pause;
}

}  // namespace supervisor
