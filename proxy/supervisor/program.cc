#include "proxy/supervisor/program.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace supervisor {
namespace {

using scanner::OwnedFd;

std::expected<std::string, std::string> find_program(const ProgramPlace& where) {
  if (const char* named = std::getenv(where.variable); named != nullptr && *named != '\0') return named;
  std::error_code error;
  const std::filesystem::path here = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  std::string tried;
  for (const char* directory : {"../libexec/gatepost", "", where.build_place}) {
    const std::string path = (here / directory / where.name).lexically_normal().string();
    if (::access(path.c_str(), X_OK) == 0) return path;
    tried += (tried.empty() ? "" : ", ") + path;
  }
  return std::unexpected(fmt::format("{} is not installed: looked for {}", where.name, tried));
}

OwnedFd in_memory(std::string_view bytes) {
  OwnedFd file(::memfd_create("gatepost-settings", MFD_CLOEXEC));
  if (!file || ::write(file.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) return {};
  ::lseek(file.get(), 0, SEEK_SET);
  return file;
}

std::string refused(const ProgramPlace& where, int error) {
  return fmt::format("{} cannot be started: {}", where.called, std::strerror(error));
}

// posix_spawn's two objects.
struct Spawn {
  Spawn() {
    ::posix_spawn_file_actions_init(&actions);
    ::posix_spawnattr_init(&attributes);
    sigset_t none;
    sigemptyset(&none);
    ::posix_spawnattr_setsigmask(&attributes, &none);
    // A group of its own: Ctrl-C and timeout(1) speak to us, and we decide when it ends.
    ::posix_spawnattr_setpgroup(&attributes, 0);
    ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETPGROUP);
  }
  Spawn(const Spawn&) = delete;
  Spawn& operator=(const Spawn&) = delete;
  ~Spawn() {
    ::posix_spawn_file_actions_destroy(&actions);
    ::posix_spawnattr_destroy(&attributes);
  }
  // The same number in the child, without close-on-exec.
  void pass(int fd) { ::posix_spawn_file_actions_adddup2(&actions, fd, fd); }
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

}  // namespace

std::expected<Program, std::string> start_program(const ProgramPlace& where, std::string_view settings,
                                                  unsigned sockets) {
  const auto program = find_program(where);
  if (!program) return std::unexpected(program.error());
  const OwnedFd told = in_memory(settings);
  int said[2];
  if (!told || ::pipe2(said, O_CLOEXEC) != 0) return std::unexpected(refused(where, errno));
  const OwnedFd its_stderr(said[1]);
  Program out;
  out.said.reset(said[0]);
  ::fcntl(said[0], F_SETFL, O_NONBLOCK);
  Spawn spawn;
  std::vector<OwnedFd> theirs;
  std::string list;
  for (unsigned i = 0; i <= sockets; ++i) {
    auto pair = scanner::try_packet_pair();
    if (!pair) return std::unexpected(refused(where, pair.error()));
    (i == 0 ? out.control : out.sockets.emplace_back()) = std::move(pair->first);
    const OwnedFd& its = theirs.emplace_back(std::move(pair->second));
    spawn.pass(its.get());
    if (i > 0) list += (i == 1 ? "" : ",") + std::to_string(its.get());
  }
  std::vector<std::string> words{*program, "--settings", std::to_string(told.get()), "--control",
                                 std::to_string(theirs.front().get())};
  if (sockets > 0) words.insert(words.end(), {"--sockets", list});
  spawn.pass(told.get());
  ::posix_spawn_file_actions_adddup2(&spawn.actions, its_stderr.get(), STDERR_FILENO);
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  const int error = ::posix_spawn(&out.pid, program->c_str(), &spawn.actions, &spawn.attributes, argv.data(), environ);
  if (error != 0) return std::unexpected(fmt::format("{} cannot be started: {}", *program, std::strerror(error)));
  return out;
}

}  // namespace supervisor
