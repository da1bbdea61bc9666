// gatepost-scanner: wiring only. Links libclamav, so the program as a whole falls under the GPL version 2.
#include <fcntl.h>
#include <grp.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "protocol/packet.h"
#include "scanner/engine.h"
#include "scanner/job.h"
#include "scanner/nursery.h"
#include "scanner/say.h"
#include "scanner/temporary.h"

namespace scanner {
namespace {

constexpr std::string_view usage =
    "gatepost-scanner [--sockets FD[,FD...]] [--control FD] --settings FD\n"
    "\n"
    "Scans messages for gatepost with libclamav. Started by `gatepost serve` and `gatepost scan`, not by hand:\n"
    "  --sockets FD[,FD...]  SOCK_SEQPACKET sockets that requests come from, one per loop of the proxy\n"
    "  --control FD          SOCK_SEQPACKET socket that more of these come from\n"
    "  --settings FD         where the settings are read from, to the end\n"
    "  --version, --help\n"
    "Exit status: 0 all sockets were closed or SIGTERM came, 64 usage, 71 the system lacks something,\n"
    "77 privileges cannot be dropped, 78 no usable signatures or settings.\n";

struct Arguments {
  std::vector<int> sockets;
  int control = -1;
  int settings = -1;
};

std::optional<std::vector<int>> descriptors(std::string_view list) {
  std::vector<int> result;
  while (!list.empty()) {
    const std::string_view number = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), number.size() + 1));
    int fd = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
    if (error != std::errc() || end != number.data() + number.size() || fd < 3) return std::nullopt;
    result.push_back(fd);
  }
  return result;
}

std::optional<Arguments> parse(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = words[i];
    const auto fds = descriptors(words[i + 1]);
    if (!fds || fds->empty()) return std::nullopt;
    if (name == "--sockets") arguments.sockets = *fds;
    else if (name == "--control" && fds->size() == 1) arguments.control = fds->front();
    else if (name == "--settings" && fds->size() == 1) arguments.settings = fds->front();
    else return std::nullopt;
  }
  if (count % 2 == 0 || (arguments.sockets.empty() && arguments.control < 0) || arguments.settings < 0)
    return std::nullopt;
  return arguments;
}

std::expected<Settings, std::string> read_settings(int fd) {
  std::string bytes;
  char space[4096];
  for (;;) {
    const ssize_t got = ::read(fd, space, sizeof space);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(fmt::format("the scanner's settings cannot be read: {}", std::strerror(errno)));
    if (got == 0) break;
    bytes.append(space, static_cast<std::size_t>(got));
    if (bytes.size() > protocol::max_packet) return std::unexpected("the scanner's settings are too long");
  }
  ::close(fd);
  auto settings = decode_settings(bytes);
  if (!settings) return std::unexpected(fmt::format("the scanner's settings are broken: {}", settings.error()));
  return *std::move(settings);
}

bool is_packet_socket(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET &&
         ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK) == 0 && ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

constexpr std::size_t max_sockets = 256;  // that may come over the control socket: one per core

// Room for the descriptors of all queued messages; a nursery without descriptors would lose messages.
void make_room(Settings& settings, std::size_t sockets) {
  const rlim_t besides = sockets + settings.workers + 32;
  const rlim_t wanted = settings.queue + besides;
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  ::setrlimit(RLIMIT_NOFILE, &limit);
  if (limit.rlim_cur == wanted) return;
  settings.queue = static_cast<std::uint32_t>(limit.rlim_cur > besides ? limit.rlim_cur - besides : 0);
  say("the scanner's queue is limited to {} messages by the number of open files ({})", settings.queue, limit.rlim_cur);
}

bool drop_privileges(const Settings& settings) {
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  if (settings.uid != 0 && settings.uid != ::geteuid()) {
    const uid_t uid = settings.uid;
    const gid_t gid = settings.gid;
    if (gid == 0 || ::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 || ::setresuid(uid, uid, uid) != 0)
      return false;
    uid_t real = 0, effective = 0, saved = 0;
    if (::getresuid(&real, &effective, &saved) != 0 || real != uid || effective != uid || saved != uid) return false;
    if (::setuid(0) == 0 || ::getegid() != gid || ::getgroups(0, nullptr) != 0) return false;
  }
  return ::prctl(PR_SET_DUMPABLE, 0) == 0;
}

void set_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  ::signal(SIGINT, SIG_IGN);  // Ctrl-C reaches the whole process group; the supervisor decides
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGXFSZ, SIG_IGN);  // a file too long is an error that io_trouble sees
  ::signal(SIGCHLD, SIG_DFL);
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigprocmask(SIG_SETMASK, &set, nullptr);
}

void close_standard_streams() {
  const OwnedFd null(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null) return;
  ::dup2(null.get(), STDIN_FILENO);
  ::dup2(null.get(), STDOUT_FILENO);
}

// Compressed content may grow to max_scan_size in each worker before libclamav stops.
std::uint64_t temporary_limit(const Settings& settings) {
  constexpr std::uint64_t least = 256ull << 20;
  const std::uint64_t each = settings.max_scan_size != 0 ? settings.max_scan_size : 400ull << 20;
  return std::max(least, std::min(each, std::uint64_t{1} << 40)) * settings.workers;
}

int serve(Settings settings, std::vector<OwnedFd> sockets, OwnedFd control) {
  make_room(settings, control ? max_sockets : sockets.size());
  auto place =
      TemporaryPlace::make(settings.temporary_directory, temporary_limit(settings), settings.uid, settings.gid);
  if (!place) return say_line(place.error()), EX_OSERR;
  if (!drop_privileges(settings)) {
    say("the scanner cannot become uid {} and gid {}: {}", settings.uid, settings.gid, std::strerror(errno));
    return EX_NOPERM;
  }
  auto engine = Engine::load(settings);
  if (!engine) return say_line(engine.error()), EX_CONFIG;
  say("{}: {} signatures, {} workers; {}", engine->hello().version, engine->hello().signatures, settings.workers,
      place->choice());
  if (engine->hello().test_signatures_only)
    say("these signatures are for tests only and protect nobody: install clamav-freshclam and run freshclam");
  Nursery(*engine, settings, place->directory(), std::move(sockets), std::move(control)).run();
  return EX_OK;
}

}  // namespace

int run(int count, char** words) {
  if (count == 2 && std::string_view(words[1]) == "--help")
    return std::fputs(usage.data(), stdout) < 0 ? EX_IOERR : EX_OK;
  if (count == 2 && std::string_view(words[1]) == "--version")
    return std::puts("gatepost-scanner " GATEPOST_VERSION) < 0 ? EX_IOERR : EX_OK;
  const auto arguments = parse(count, words);
  if (!arguments) return std::fputs(usage.data(), stderr), EX_USAGE;
  std::vector<int> given = arguments->sockets;
  if (arguments->control >= 0) given.push_back(arguments->control);
  for (const int fd : given)
    if (!is_packet_socket(fd)) return say("descriptor {} is not a SOCK_SEQPACKET socket", fd), EX_USAGE;
  std::vector<OwnedFd> sockets;
  for (const int fd : arguments->sockets) sockets.emplace_back(fd);
  OwnedFd control(arguments->control);
  set_signals();
  auto settings = read_settings(arguments->settings);
  if (!settings) return say_line(settings.error()), EX_CONFIG;
  close_standard_streams();
  return serve(*std::move(settings), std::move(sockets), std::move(control));
}

}  // namespace scanner

int main(int count, char** words) try { return scanner::run(count, words); } catch (const std::system_error& error) {
  scanner::say("the scanner ends: {}", error.what());
  return EX_OSERR;
} catch (const std::bad_alloc&) {
  scanner::say("the scanner ends: out of memory");
  return EX_OSERR;
}
