#include "scanner/worker.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <limits>
#include <new>

#include "scanner/message.h"
#include "scanner/packet_socket.h"
#include "scanner/say.h"
#include "scanner/temporary.h"
#include "scanner/test_hooks.h"

namespace scanner {
namespace {

constexpr int socket_fd = 3;             // after close_range nothing but this, stdin, stdout and stderr is open
constexpr rlim_t max_descriptors = 256;  // 17 levels of unpacking, a few files each
constexpr std::uint64_t default_memory = 2048ull << 20;

[[noreturn]] void give_up(const char* what) {
  say("a scanner worker cannot start: {}: {}", what, std::strerror(errno));
  ::_exit(1);
}

void keep_only(int socket) {
  if (socket != socket_fd && ::dup2(socket, socket_fd) < 0) give_up("dup2");
  if (::close_range(socket_fd + 1, ~0U, 0) != 0) give_up("close_range");
  if (::fcntl(socket_fd, F_SETFL, ::fcntl(socket_fd, F_GETFL) & ~O_NONBLOCK) != 0) give_up("fcntl");
}

std::uint64_t octets_in_use() {
  unsigned long pages = 0;
  if (std::FILE* file = std::fopen("/proc/self/statm", "re")) {
    if (std::fscanf(file, "%lu", &pages) != 1) pages = 0;
    std::fclose(file);
  }
  return std::uint64_t{pages} * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

void limit_resource(decltype(RLIMIT_AS) resource, rlim_t value) {
  rlimit limit{};
  ::getrlimit(resource, &limit);
  limit.rlim_max = std::min(limit.rlim_max, value);
  limit.rlim_cur = limit.rlim_max;
  if (::setrlimit(resource, &limit) != 0) give_up("setrlimit");
}

// When the machine runs out of memory, one message's worker goes first.
void offer_to_oom_killer() {
  ::prctl(PR_SET_DUMPABLE, 1);  // otherwise our own /proc files belong to root
  if (std::FILE* file = std::fopen("/proc/self/oom_score_adj", "we")) {
    std::fputs("1000", file);
    std::fclose(file);
  }
  ::prctl(PR_SET_DUMPABLE, 0);
}

void limit_process(const Settings& settings) {
  offer_to_oom_killer();
  const std::uint64_t more = settings.memory_limit != 0 ? settings.memory_limit : default_memory;
  const std::uint64_t used = octets_in_use();
  if (used == 0) give_up("/proc/self/statm");
  limit_resource(RLIMIT_AS, used > std::numeric_limits<std::uint64_t>::max() - more ? RLIM_INFINITY : used + more);
  limit_resource(RLIMIT_CORE, 0);
  limit_resource(RLIMIT_NOFILE, max_descriptors);
  // Scans allocate and free buffers of some 100 KiB all the time: from the heap, not from the kernel.
  ::mallopt(M_MMAP_THRESHOLD, 4 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 16 << 20);
}

class Worker {
 public:
  Worker(Engine& engine, const Settings& settings, const std::string& directory)
      : engine_(engine), settings_(settings), directory_(directory) {}
  [[noreturn]] void run();

 private:
  void scan(const Request& request, int fd);
  void scan_content(const Request& request, int fd);
  void fail(Failure failure, std::string_view detail);

  Engine& engine_;
  const Settings& settings_;
  const std::string& directory_;
  WorkDirectory temporary_;
  Message message_;
  Report report_;
};

void Worker::run() {
  if (!temporary_.open(directory_)) give_up("temporary directory");
  // "." spares the kernel some path components in each of libclamav's 30 file operations per message.
  if (::chdir(directory_.c_str()) != 0 || !engine_.use_temporary_directory(".")) give_up(directory_.c_str());
  std::string packet;
  OwnedFd fd;
  for (;;) {
    if (receive_packet(socket_fd, packet, fd) != PacketStatus::ok) ::_exit(0);
    const auto request = decode_request(packet);
    if (!request || (request->kind == Request::Kind::scan && !fd)) ::_exit(1);
    scan(*request, fd.get());
    fd.reset();
    if (send_packet(socket_fd, encode(report_)) != PacketStatus::ok) ::_exit(0);
  }
}

void Worker::scan(const Request& request, int fd) {
  using std::chrono::steady_clock;
  const auto start = steady_clock::now();
  report_.id = request.id;
  report_.findings.clear();
  try {
    scan_content(request, fd);
  } catch (const std::bad_alloc&) {
    fail(Failure::memory, "out of memory");
  }
  message_.close();
  if (!temporary_.is_empty() && !temporary_.empty_out()) fail(Failure::storage, "temporary files cannot be removed");
  const auto elapsed = std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - start).count();
  report_.elapsed_us =
      static_cast<std::uint32_t>(std::min<std::int64_t>(elapsed, std::numeric_limits<std::uint32_t>::max()));
}

void Worker::scan_content(const Request& request, int fd) {
  if (request.size > file_size_limit(settings_)) {
    report_.findings.push_back(
        {Outcome::unscannable, Unscannable::size, Failure::none, settings_.name, "message larger than max_file_size"});
    return;
  }
  if (request.kind == Request::Kind::scan_inline) message_.view(request.octets);
  else if (!message_.open(fd, request.prefix + request.size))
    return fail(Failure::storage, "the message's file has not the announced length or cannot be read");
  if (settings_.test_hooks) act_on_marker(message_.octets(), directory_);
  const std::uint32_t limit = request.limit_ms == 0 ? settings_.scan_limit_ms : request.limit_ms;
  engine_.scan(message_.octets(), std::min(limit, settings_.scan_limit_ms), report_.findings);
}

void Worker::fail(Failure failure, std::string_view detail) {
  report_.findings.push_back({Outcome::error, Unscannable::none, failure, settings_.name, std::string(detail)});
}

}  // namespace

void run_worker(Engine& engine, const Settings& settings, int socket, const std::string& directory) {
  keep_only(socket);
  limit_process(settings);
  try {
    Worker(engine, settings, directory).run();
  } catch (const std::bad_alloc&) {
    errno = ENOMEM;
    give_up("memory");
  }
}

}  // namespace scanner
