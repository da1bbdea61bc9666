#include "firewall/guardian.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include "firewall/apply.h"

namespace firewall {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::minutes longest_wait{5};
constexpr std::chrono::hours for_what_runs{24};  // sessions end by limits of their own

// Until the file says otherwise, or (false) the time is over.
bool wait(const std::string& directory, const std::string& token, Clock::time_point until) {
  const Descriptor changes(::inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  const bool watching =
      changes && ::inotify_add_watch(changes.get(), directory.c_str(), IN_MOVED_TO | IN_DELETE | IN_ONLYDIR) >= 0;
  while (!is_settled(directory, token)) {
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd change{watching ? changes.get() : -1, POLLIN, 0};
    constexpr long longest = 3'600'000;
    ::poll(&change, 1, static_cast<int>(std::min<long>(left, longest)));
    std::array<char, 4096> events{};
    while (watching && ::read(changes.get(), events.data(), events.size()) > 0) {
    }
  }
  return true;
}

// What is in force again had stepped aside, and nobody else may be left who would remove it.
void remove_at_last(const std::string& directory) {
  const auto removed = remove_when_unused(directory, {.longest = for_what_runs}, [](const Step&) {});
  if (removed) return;
  for (const std::string& each : removed.error().sentences) ::syslog(LOG_ERR, "%s", each.c_str());
}

void guard(const std::string& directory, const State& state, Clock::time_point until) {
  const bool settled = wait(directory, state.token, until);
  bool wait_and_remove = false;
  {
    const auto file = StateFile::lock(directory, longest_wait);  // else without it: these rules may lock somebody out
    if (settled || is_settled(directory, state.token)) {  // since then even the file may have gone
      if (file) file->heard(state.token);
      return;
    }
    ::openlog("gatepost-firewall", LOG_PID, LOG_DAEMON);
    ::syslog(LOG_WARNING, "the rules were not confirmed in time, and are taken back");
    std::vector<std::string> wrong = file ? roll_back(*file, state) : take_back(state);
    if (!file) wrong.push_back(file.error().sentence);
    for (const std::string& each : wrong) ::syslog(LOG_ERR, "%s", each.c_str());
    wait_and_remove = wrong.empty() && state.previous_aside;
  }
  if (wait_and_remove) remove_at_last(directory);
}

// Nothing of the caller's: terminal, directory, descriptors (a lock among them), signal mask.
void leave_all() {
  ::setsid();
  if (::chdir("/") != 0) return;
  ::close_range(0, ~0U, 0);
  for (int i = 0; i < 3; ++i)
    if (::open("/dev/null", O_RDWR) < 0) return;
  std::signal(SIGHUP, SIG_IGN);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
}

}  // namespace

bool post_guardian(const std::string& directory, const State& state, std::chrono::seconds within) {
  const Clock::time_point until = Clock::now() + within;
  const pid_t between = ::fork();
  if (between < 0) return false;
  if (between == 0) {
    const pid_t guardian = ::fork();
    if (guardian != 0) ::_exit(guardian < 0 ? 1 : 0);
    leave_all();
    guard(directory, state, until);
    ::_exit(0);
  }
  int status = 0;
  while (::waitpid(between, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

}  // namespace firewall
