#include "firewall/command.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "firewall/descriptor.h"
#include "firewall/network_namespace.h"

namespace firewall {
namespace {

constexpr std::array<const char*, 4> directories{"/usr/sbin", "/usr/bin", "/sbin", "/bin"};
constexpr off_t most_output = 64 << 20;  // octets; a large ruleset has a few
constexpr int no_program = 127;

Descriptor memory_file(const std::string& content) {
  Descriptor fd(::memfd_create("gatepost-firewall", MFD_CLOEXEC));
  std::size_t written = 0;
  while (fd && written < content.size()) {
    const ssize_t n = ::write(fd.get(), content.data() + written, content.size() - written);
    if (n <= 0) return {};
    written += static_cast<std::size_t>(n);
  }
  if (fd) ::lseek(fd.get(), 0, SEEK_SET);
  return fd;
}

std::string content_of(const Descriptor& fd) {
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return {};
  std::string text(static_cast<std::size_t>(std::min(status.st_size, most_output)), '\0');
  std::size_t at = 0;
  while (at < text.size()) {
    const ssize_t n = ::pread(fd.get(), text.data() + at, text.size() - at, static_cast<off_t>(at));
    if (n <= 0) break;
    at += static_cast<std::size_t>(n);
  }
  text.resize(at);
  return text;
}

// In the child: nothing that allocates. It dies with whoever runs it: nobody would wait for it, and what it changes
// later would be undone by nobody.
[[noreturn]] void become(const char* path, char* const* argv, const std::array<int, 3>& streams, int space,
                         pid_t parent) {
  static char search[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin", language[] = "LC_ALL=C";
  std::array<char*, 3> environment{search, language, nullptr};
  ::setpgid(0, 0);
  for (const int number : {SIGPIPE, SIGINT, SIGTERM, SIGHUP}) std::signal(number, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  if (space >= 0 && ::setns(space, CLONE_NEWNET) != 0) ::_exit(no_program);
  for (int i = 0; i < 3; ++i)
    if (::dup2(streams[static_cast<std::size_t>(i)], i) < 0) ::_exit(no_program);
  ::close_range(3, ~0U, 0);
  if (::prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || ::getppid() != parent) ::_exit(no_program);
  ::execve(path, argv, environment.data());
  ::_exit(no_program);
}

int wait_for(pid_t child) {
  const Descriptor end(static_cast<int>(::syscall(SYS_pidfd_open, child, 0)));
  pollfd waiting{end.get(), POLLIN, 0};
  int ready = 0;
  do ready = end ? ::poll(&waiting, 1, command_seconds * 1000) : 1;
  while (ready < 0 && errno == EINTR);
  if (ready == 0) ::kill(-child, SIGKILL);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string find_program(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos) return {};
  for (const char* directory : directories) {
    std::string path = fmt::format("{}/{}", directory, name);
    if (::access(path.c_str(), X_OK) == 0) return path;
  }
  return {};
}

Outcome run(const Command& command, const NetworkNamespace* inside) {
  const auto fail = [](std::string why) { return Outcome{no_program, "", std::move(why)}; };
  const std::string path = command.argv.empty() ? "" : find_program(command.argv[0]);
  if (path.empty())
    return fail(fmt::format("{}: there is no such program on this host", command.argv.empty() ? "" : command.argv[0]));
  const Descriptor in = memory_file(command.input), out = memory_file(""), err = memory_file("");
  if (!in || !out || !err) return fail(fmt::format("no memory for a file: {}", std::strerror(errno)));
  std::vector<char*> argv;
  for (const std::string& word : command.argv) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  const pid_t parent = ::getpid(), child = ::fork();
  if (child < 0) return fail(fmt::format("cannot start {}: {}", path, std::strerror(errno)));
  if (child == 0)
    become(path.c_str(), argv.data(), {in.get(), out.get(), err.get()}, inside != nullptr ? inside->descriptor() : -1,
           parent);
  Outcome outcome;
  outcome.status = wait_for(child);
  outcome.out = content_of(out);
  outcome.err = content_of(err);
  return outcome;
}

std::string output_of(std::vector<std::string> argv, const NetworkNamespace* inside) {
  Outcome outcome = run({std::move(argv)}, inside);
  return outcome.ok() ? std::move(outcome.out) : std::string();
}

std::string in_shell(const std::vector<std::string>& argv) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,@+%";
  std::string text;
  for (const std::string& word : argv) {
    if (!text.empty()) text += ' ';
    if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) {
      text += word;
      continue;
    }
    text += '\'';
    for (const char c : word) text += c == '\'' ? std::string("'\\''") : std::string(1, c);
    text += '\'';
  }
  return text;
}

}  // namespace firewall
