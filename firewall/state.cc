#include "firewall/state.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <fstream>
#include <sstream>

namespace firewall {
namespace {

constexpr std::array<std::string_view, 5> phases{"applying", "unconfirmed", "applied", "aside", "removed"};

constexpr const char* file_name = "firewall.json";

std::string file_of(const std::string& directory) { return fmt::format("{}/{}", directory, file_name); }

std::string boot_id() {
  std::string id;
  std::ifstream file("/proc/sys/kernel/random/boot_id");
  std::getline(file, id);
  return id;
}

std::string text_of(const State& state) {
  Node node = Node::object()
                  .add("boot", Node::of(boot_id()))
                  .add("phase", Node::of(phases.at(static_cast<std::size_t>(state.phase))))
                  .add("token", Node::of(state.token))
                  .add("deadline", Node::of(state.deadline))
                  .add("plan", node_of(state.plan))
                  .add("before", node_of(state.before));
  if (state.owner != 0) node.add("owner", Node::of(static_cast<std::uint64_t>(state.owner)));
  if (state.previous) node.add("previous", node_of(*state.previous));
  if (state.previous_aside) node.add("previous_aside", Node::of(true));
  return config::format(node);
}

std::expected<std::optional<State>, std::string> parse(const std::string& text, const std::string& name) {
  const auto node = parse_json(text, name);
  if (!node) return std::unexpected(node.error());
  if (text_at(*node, "boot") != boot_id()) return std::nullopt;
  const auto phase = std::ranges::find(phases, text_at(*node, "phase"));
  const Node *const before_node = node->find("before"), *const plan_node = node->find("plan");
  const auto foreign = [&] { return std::unexpected(fmt::format("{}: was not written by gatepost firewall", name)); };
  if (phase == phases.end() || before_node == nullptr || plan_node == nullptr) return foreign();
  auto before = facts_from(*before_node, name);
  auto plan = plan_from(*plan_node);
  if (!before || !plan) return foreign();
  State state{.phase = static_cast<State::Phase>(phase - phases.begin()),
              .plan = std::move(*plan),
              .before = std::move(*before),
              .previous = std::nullopt,
              .token = text_at(*node, "token"),
              .owner = static_cast<pid_t>(number_at(*node, "owner")),
              .deadline = number_at(*node, "deadline")};
  if (const Node* const previous = node->find("previous")) state.previous = plan_from(*previous);
  state.previous_aside = flag_at(*node, "previous_aside");
  return state;
}

// What it says is run by root: nobody else may have written it, or may put another in its place.
bool is_ours_alone(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return false;
  return (status.st_uid == 0 || status.st_uid == ::geteuid()) && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

std::string content_of(int fd) {
  std::string text;
  std::array<char, 65536> piece{};
  for (ssize_t n = 0; (n = ::read(fd, piece.data(), piece.size())) > 0;)
    text.append(piece.data(), static_cast<std::size_t>(n));
  return text;
}

std::unexpected<std::string> trouble(const std::string& what) {
  return std::unexpected(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Who has locked it, as /proc/locks knows: "1: FLOCK ADVISORY WRITE 812 00:1a:1234 0 EOF".
std::string holder_of(int fd) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) return "another process";
  const std::string place = fmt::format("{:02x}:{:02x}:{}", major(status.st_dev), minor(status.st_dev), status.st_ino);
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);) {
    std::istringstream words(line);
    std::string number, kind, advisory, access, pid, where;
    if (!(words >> number >> kind >> advisory >> access >> pid >> where) || kind != "FLOCK" || where != place) continue;
    std::string name;
    std::getline(std::ifstream(fmt::format("/proc/{}/comm", pid)), name);
    return name.empty() ? "process " + pid : fmt::format("{} (pid {})", name, pid);
  }
  return "another process";
}

std::unexpected<NotLocked> unusable(std::string sentence) {
  return std::unexpected(
      NotLocked{::geteuid() == 0 ? NotLocked::Why::unusable : NotLocked::Why::not_root, std::move(sentence)});
}

// There is no flock with a limit.
std::expected<void, NotLocked> lock_within(int fd, const std::string& directory, std::chrono::milliseconds patience) {
  constexpr std::chrono::milliseconds between{50};
  const auto until = std::chrono::steady_clock::now() + patience;
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR) return unusable(trouble(directory).error());
    if (std::chrono::steady_clock::now() >= until)
      return std::unexpected(NotLocked{
          NotLocked::Why::busy, fmt::format("{}: {} has held the lock of the rules for {} s; try again when it has ended",
                                            directory, holder_of(fd),
                                            std::chrono::ceil<std::chrono::seconds>(patience).count())});
    ::poll(nullptr, 0, static_cast<int>(between.count()));
  }
  return {};
}

std::expected<std::optional<State>, std::string> read_state(const std::string& directory) {
  const std::string name = file_of(directory);
  const Descriptor place(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const Descriptor file(place ? ::openat(place.get(), file_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1);
  if (!file) {
    if (errno == ENOENT) return std::nullopt;
    return trouble(name);
  }
  if (!is_ours_alone(place.get()) || !is_ours_alone(file.get()))
    return std::unexpected(fmt::format("{}: others than root may write it, so it is not believed", name));
  return parse(content_of(file.get()), name);
}

}  // namespace

std::expected<std::optional<State>, std::string> load_state(const std::string& directory) {
  auto state = read_state(directory);
  if (state && *state && (*state)->phase == State::Phase::removed) return std::nullopt;
  return state;
}

bool is_settled(const std::string& directory, const std::string& token) {
  const auto state = read_state(directory);
  if (!state || !*state) return false;
  const State::Phase phase = (*state)->phase;
  return (*state)->token != token || (phase != State::Phase::applying && phase != State::Phase::unconfirmed);
}

bool stays_closed(const State& state) {
  return state.plan.fail_closed && (state.phase == State::Phase::applied || state.phase == State::Phase::unconfirmed);
}

bool is_of_another(const State& state, pid_t self) {
  if (state.owner == 0 || state.owner == self) return false;
  std::string name;  // the number may be somebody else's by now
  return static_cast<bool>(std::getline(std::ifstream(fmt::format("/proc/{}/comm", state.owner)), name)) && name == "gatepost";
}

std::expected<StateFile, NotLocked> StateFile::lock(const std::string& directory, std::chrono::milliseconds patience) {
  const bool fresh = ::mkdir(directory.c_str(), 0755) == 0;
  if (!fresh && errno != EEXIST) return unusable(trouble(directory).error());
  Descriptor lock(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lock || (fresh && ::fchmod(lock.get(), 0755) != 0)) return unusable(trouble(directory).error());
  if (!is_ours_alone(lock.get()))
    return unusable(fmt::format("{}: others than root may write there; name another directory", directory));
  if (const auto locked = lock_within(lock.get(), directory, patience); !locked) return std::unexpected(locked.error());
  return StateFile(directory, std::move(lock));
}

std::expected<void, std::string> StateFile::save(const State& state) const {
  const std::string name = file_of(directory_), fresh = name + ".new", text = text_of(state);
  const auto fail = [&] {
    const int why = errno;
    ::unlink(fresh.c_str());
    errno = why;
    return trouble(name);
  };
  const Descriptor file(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644));
  if (!file || ::fchmod(file.get(), 0644) != 0) return trouble(fresh);
  for (std::size_t at = 0; at < text.size();) {
    const ssize_t n = ::write(file.get(), text.data() + at, text.size() - at);
    if (n < 0 && errno != EINTR) return fail();
    if (n > 0) at += static_cast<std::size_t>(n);
  }
  if (::fsync(file.get()) != 0 || ::rename(fresh.c_str(), name.c_str()) != 0) return fail();
  return {};
}

void StateFile::close(const State& state) const {
  State last = state;
  last.phase = State::Phase::removed;
  const bool awaited = state.deadline > static_cast<std::uint64_t>(::time(nullptr));
  if (!awaited || !save(last)) erase();
}

void StateFile::heard(const std::string& token) const {
  auto state = read_state(directory_);
  if (!state || !*state || (*state)->token != token) return;
  if ((*state)->phase == State::Phase::removed) return erase();
  (*state)->deadline = 0;
  static_cast<void>(save(**state));  // else the last word comes, and stays until the next boot
}

void StateFile::erase() const { ::unlink(file_of(directory_).c_str()); }

}  // namespace firewall
