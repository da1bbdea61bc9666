#include "proxy/admin/log.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "proxy/admin/ring.h"
#include "proxy/admin/sink.h"

namespace admin {
namespace {

constexpr timespec sweep_pause{0, 20'000'000};

std::int64_t unix_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace

struct Log::Impl {
  // What the writer thread does; producers wake it only from `asleep`, or from `dozing` when their ring fills up. So a
  // busy loop pays no system call for its lines.
  enum Writer : std::uint32_t { awake, dozing, asleep };

  Impl(const config::Log& settings, std::string process, int file, unsigned count)
      : format(settings.format), rings(count), sink(settings, std::move(process), file) {}

  void wake(Writer from) {
    std::uint32_t expected = from;
    if (!writer.compare_exchange_strong(expected, awake)) return;
    syscall(SYS_futex, &writer, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  void wait(Writer state, const timespec* limit) {
    syscall(SYS_futex, &writer, FUTEX_WAIT_PRIVATE, state, limit, nullptr, 0);
    writer.store(awake);
  }
  bool idle() const {
    for (const Ring& ring : rings)
      if (!ring.empty()) return false;
    return !stopping.load() && next_file.load() < 0;
  }

  void run();
  bool sweep();
  void tell_drops();
  void take_next_file();
  std::uint64_t dropped() const;

  config::LogFormat format;
  std::vector<Ring> rings;
  Sink sink;
  std::uint64_t told_drops = 0;        // the writing thread's
  std::atomic<std::uint64_t> lost{0};  // lines that the sink did not take, and lines of threads without a ring
  std::atomic<int> next_file{-1};      // for the writing thread to use from now on
  std::atomic<bool> stopping{false};
  std::atomic<std::uint32_t> writer{awake};
  std::thread thread;
};
static_assert(sizeof(std::atomic<std::uint32_t>) == sizeof(std::uint32_t));  // the futex word

std::uint64_t Log::Impl::dropped() const {
  std::uint64_t sum = lost.load(std::memory_order_relaxed);
  for (const Ring& ring : rings) sum += ring.dropped();
  return sum;
}

void Log::Impl::take_next_file() {
  const int file = next_file.exchange(-1);
  if (file >= 0) sink.use(scanner::OwnedFd(file));
}

// When there is room again, the log itself says how much is missing.
void Log::Impl::tell_drops() {
  const std::uint64_t total = dropped();
  if (total == told_drops) return;
  Record note(format, Level::warning, {});
  note.message(fmt::format("{} log lines were dropped", total - told_drops));
  sink.put(Level::warning, unix_ms(), std::move(note).take());
  if (sink.flush() == 0) told_drops = total;
}

// True when there was a line.
bool Log::Impl::sweep() {
  take_next_file();
  bool any = false;
  Level level{};
  std::int64_t when = 0;
  std::string line;
  for (Ring& ring : rings)
    for (std::size_t taken = 0; taken < Ring::octets && ring.pop(level, when, line); taken += line.size() + 1) {
      sink.put(level, when, line);
      any = true;
    }
  if (const std::size_t missing = sink.flush(); missing > 0) lost.fetch_add(missing, std::memory_order_relaxed);
  else if (any) tell_drops();
  return any;
}

void Log::Impl::run() {
  for (;;) {
    const bool stop = stopping.load();  // before the sweep: what was written before the stop is still seen
    const bool any = sweep();
    if (stop && !any) return;
    writer.store(any ? dozing : asleep);
    if (any && !stopping.load()) wait(dozing, &sweep_pause);
    else if (!any && idle()) wait(asleep, nullptr);
    else writer.store(awake);
  }
}

Log::Log(const config::Log& settings, std::string process, int file, unsigned rings)
    : impl_(std::make_unique<Impl>(settings, std::move(process), file, rings)) {
  if (rings == 0) return;
  // Signals belong to the threads that expect them.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  impl_->thread = std::thread([impl = impl_.get()] { impl->run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Log::~Log() {
  if (impl_->thread.joinable()) {
    impl_->stopping.store(true);
    impl_->wake(Impl::asleep);
    impl_->wake(Impl::dozing);
    impl_->thread.join();
  }
  impl_->take_next_file();
}

Record Log::record(Level level, std::string_view trace_id) const { return Record(impl_->format, level, trace_id); }

void Log::write(unsigned ring, Level level, Record&& record) {
  const std::string line = std::move(record).take();
  if (impl_->rings.empty()) {
    impl_->sink.put(level, unix_ms(), line);
    impl_->lost.fetch_add(impl_->sink.flush(), std::memory_order_relaxed);
    impl_->tell_drops();
    return;
  }
  if (ring >= impl_->rings.size()) {
    impl_->lost.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  Ring& mine = impl_->rings[ring];
  mine.push(level, unix_ms(), line);
  const std::uint32_t writer = impl_->writer.load(std::memory_order_seq_cst);
  if (writer == Impl::asleep) impl_->wake(Impl::asleep);
  else if (writer == Impl::dozing && mine.half_full()) impl_->wake(Impl::dozing);
}

void Log::say(unsigned ring, Level level, std::string_view sentence) {
  Record line = record(level);
  line.message(sentence);
  write(ring, level, std::move(line));
}

void Log::reopen(int file) {
  const int previous = impl_->next_file.exchange(file);
  if (previous >= 0) close(previous);
  if (impl_->rings.empty()) {
    impl_->take_next_file();
    return;
  }
  impl_->wake(Impl::asleep);
}

std::uint64_t Log::dropped() const { return impl_->dropped(); }

}  // namespace admin
