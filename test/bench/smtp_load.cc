// Load generator: one thread, epoll, plain sockets or OpenSSL over them. Prints one JSON line; exit status 0 only when
// nothing failed.
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <deque>
#include <exception>
#include <stdexcept>

#include "test/bench/smtp_client.h"

namespace bench {
namespace {

constexpr const char* usage =
    "smtp_load --to HOST:PORT [options]\n"
    "  --connections N     at once (8)\n"
    "  --messages N        in all (1000)\n"
    "  --size OCTETS       content of each message, 2K, 25M (2K); every message differs\n"
    "  --corpus DIR        send the files of DIR in turn instead\n"
    "  --seed N            of the contents (1)\n"
    "  --reuse             many messages per connection (default: one)\n"
    "  --tls               TLS 1.3 from the first octet, every handshake in full\n"
    "  --tls-resume        the same, but each of a client after its first resumed by its last ticket\n"
    "  --per-command       print median and p90 of each command's wait for its reply, too (microseconds)\n"
    "  --pipelining        MAIL, RCPT and DATA in one write\n"
    "  --rate R            messages per second on a fixed schedule, whatever the replies do\n"
    "  --sources K         connect from 127.0.0.1 ... 127.0.0.K in turn (4)\n"
    "  --from ADDRESS      the first of them instead of 127.0.0.1\n"
    "  --stall SECONDS     give up after so long without progress (60)\n"
    "  --idle N            hold N connections after EHLO, print \"ready N\", end on SIGTERM or end of stdin\n"
    "  --hold-before-dot   send all but the final dots, print \"holding\", go on after a line on stdin\n";

constexpr std::uint64_t timer_event = ~std::uint64_t{0};
constexpr std::uint64_t signal_event = timer_event - 1;
constexpr std::uint64_t stdin_event = timer_event - 2;
constexpr std::size_t handshakes_at_once = 100;  // --idle: below any listen backlog

double cpu_microseconds() {
  timespec used{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) * 1e6 + static_cast<double>(used.tv_nsec) / 1e3;
}

// The value below which a share of them lies; they are sorted.
double share_of(const std::vector<float>& sorted, double share) {
  return sorted.empty() ? 0.0
                        : double{sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))]};
}

class Generator {
 public:
  explicit Generator(LoadOptions options);
  int run();

 private:
  void watch(int fd, std::uint64_t mark);
  void start_schedule();
  void on_mark(std::uint64_t mark);
  void start_due();
  void start_handshakes();
  void hang_up();
  void on_client(Client& client, std::uint32_t events);
  void settle(Client& client);
  void give_up();
  void hold_or_release();
  bool finished() const;
  bool stalled() const;
  int report_idle();
  void print_commands();
  int report();

  Load load_;
  std::deque<Client> clients_;
  std::vector<Client*> free_;
  std::size_t active_ = 0;     // clients with a connection
  std::uint64_t started_ = 0;  // messages handed to a client; with --idle: connections opened
  std::uint64_t due_ = 0;      // messages that may start by now
  std::uint64_t late_ = 0;     // started after their time because no connection was free
  std::size_t idle_ready_ = 0;
  bool said_ready_ = false, said_holding_ = false, told_to_end_ = false;
  int timer_ = -1, signals_ = -1;
  Clock::time_point start_{};
};

Generator::Generator(LoadOptions options) {
  load_.options = std::move(options);
  if (!load_.options.corpus.empty())
    for (const std::string& text : load_corpus(load_.options.corpus)) load_.corpus.push_back(dot_stuffed(text));
  load_.holding = load_.options.hold_before_dot;
  if (load_.options.tls || load_.options.tls_resume)
    load_.tls = std::make_unique<TlsSettings>(load_.options.tls_resume);
  load_.epoll = epoll_create1(EPOLL_CLOEXEC);
  sigset_t asked;
  sigemptyset(&asked);
  sigaddset(&asked, SIGTERM);
  sigaddset(&asked, SIGINT);
  sigprocmask(SIG_BLOCK, &asked, nullptr);
  signals_ = signalfd(-1, &asked, SFD_CLOEXEC | SFD_NONBLOCK);
  watch(signals_, signal_event);
  if (load_.options.idle > 0 || load_.holding) watch(STDIN_FILENO, stdin_event);
  const std::size_t slots = load_.options.idle > 0 ? load_.options.idle : load_.options.connections;
  for (std::size_t i = 0; i < slots; ++i) clients_.emplace_back(load_, static_cast<std::uint32_t>(i));
  for (auto client = clients_.rbegin(); client != clients_.rend(); ++client) free_.push_back(&*client);
}

void Generator::watch(int fd, std::uint64_t mark) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = mark;
  if (epoll_ctl(load_.epoll, EPOLL_CTL_ADD, fd, &event) != 0)
    throw std::runtime_error("cannot wait for a descriptor (standard input must be a pipe or a terminal)");
}

void Generator::start_schedule() {
  if (load_.options.rate <= 0 || load_.options.idle > 0) {
    due_ = load_.options.messages;
    return;
  }
  const auto interval = static_cast<long>(1e9 / load_.options.rate);
  itimerspec every{};
  every.it_interval = {interval / 1'000'000'000, interval % 1'000'000'000};
  every.it_value = every.it_interval;
  timer_ = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
  timerfd_settime(timer_, 0, &every, nullptr);
  watch(timer_, timer_event);
}

void Generator::on_mark(std::uint64_t mark) {
  if (mark == timer_event) {
    std::uint64_t ticks = 0;
    if (read(timer_, &ticks, sizeof ticks) != sizeof ticks) return;
    // What is still waiting from earlier ticks did not start on time.
    late_ += std::min(due_, load_.options.messages) - started_;
    due_ = std::min(due_ + ticks, load_.options.messages);
  } else if (mark == signal_event) {
    told_to_end_ = true;
  } else {
    char line[256];
    const ssize_t n = read(STDIN_FILENO, line, sizeof line);
    if (n <= 0 || !load_.holding) {
      told_to_end_ = true;
    } else if (said_holding_) {
      load_.holding = false;
      epoll_ctl(load_.epoll, EPOLL_CTL_DEL, STDIN_FILENO, nullptr);  // its end means nothing any more
      for (Client& client : clients_) client.release();
    }
  }
}

void Generator::start_due() {
  while (started_ < due_ && !free_.empty()) {
    Client& client = *free_.back();
    free_.pop_back();
    if (client.step() == Step::closed) ++active_;
    client.send_message(started_++);
    if (client.available()) settle(client);
  }
}

void Generator::start_handshakes() {
  while (started_ < clients_.size() && active_ - idle_ready_ < handshakes_at_once) {
    ++active_;
    Client& client = clients_[started_++];
    client.open();
    if (client.step() == Step::closed) --active_;
  }
  if (!said_ready_ && started_ == clients_.size() && idle_ready_ == active_) {
    said_ready_ = true;
    std::printf("ready %zu\n", idle_ready_);
    std::fflush(stdout);
  }
}

// A client whose message is done goes back to the free ones.
void Generator::settle(Client& client) {
  if (client.step() == Step::closed) --active_;
  free_.push_back(&client);
}

void Generator::hold_or_release() {
  if (said_holding_ || !load_.holding || started_ < load_.options.messages) return;
  std::size_t held = 0;
  for (const Client& client : clients_) held += client.step() == Step::held ? 1 : 0;
  if (held < active_) return;
  said_holding_ = true;
  std::printf("holding %zu\n", held);
  std::fflush(stdout);
}

bool Generator::finished() const {
  if (told_to_end_) return true;
  if (load_.options.idle > 0) return false;
  return load_.messages + load_.failures >= load_.options.messages && (load_.options.reuse || active_ == 0);
}

bool Generator::stalled() const {
  const bool waits_on_purpose = (load_.holding && said_holding_) || said_ready_ || active_ == 0;
  return !waits_on_purpose && Clock::now() - load_.last_progress > load_.options.stall;
}

// --reuse: the measured time ends with the last reply; the QUITs come after it.
void Generator::hang_up() {
  for (Client& client : clients_)
    if (client.step() == Step::ready) client.quit();
  epoll_event events[64];
  for (int rounds = 0; rounds < 10; ++rounds) {
    const int n = epoll_wait(load_.epoll, events, 64, 100);
    if (n <= 0) break;
    for (int i = 0; i < n; ++i)
      if (events[i].data.u64 < clients_.size()) clients_[events[i].data.u64].on_event(events[i].events);
  }
  for (const Client& client : clients_) load_.lost += client.step() == Step::quit ? 1 : 0;
}

void Generator::on_client(Client& client, std::uint32_t events) {
  const Step before = client.step();
  if (before == Step::closed) return;
  const bool was_free = client.available();
  client.on_event(events);
  const Step after = client.step();
  if (load_.options.idle > 0) {
    if (after == Step::ready && before != Step::ready) ++idle_ready_;
    if (after != Step::ready && before == Step::ready) --idle_ready_;
    if (after == Step::closed) --active_;
  } else if (was_free) {
    if (after == Step::closed) --active_;  // left by the server between two messages
  } else if (client.available()) {
    settle(client);
  }
}

// What no reply came for has failed.
void Generator::give_up() {
  std::fprintf(stderr, "no progress for %lld s: given up\n", static_cast<long long>(load_.options.stall.count()));
  if (load_.options.idle == 0) load_.failures = load_.options.messages - load_.messages;
  for (Client& client : clients_) {
    if (client.step() == Step::quit) ++load_.lost;
    if (client.step() != Step::ready) client.close();
  }
  if (load_.options.idle > 0) load_.failures += active_ - idle_ready_;
}

int Generator::run() {
  start_ = Clock::now();
  start_schedule();
  epoll_event events[256];
  while (!finished()) {
    if (load_.options.idle > 0) start_handshakes();
    else start_due();
    const int n = epoll_wait(load_.epoll, events, 256, 1000);
    for (int i = 0; i < n; ++i) {
      const std::uint64_t mark = events[i].data.u64;
      if (mark >= clients_.size()) {
        on_mark(mark);
        continue;
      }
      on_client(clients_[mark], events[i].events);
    }
    hold_or_release();
    if (stalled()) {
      give_up();
      break;
    }
  }
  return load_.options.idle > 0 ? report_idle() : report();
}

int Generator::report_idle() {
  std::printf("{\"idle\": %zu, \"failures\": %llu}\n", idle_ready_, static_cast<unsigned long long>(load_.failures));
  return load_.failures == 0 ? 0 : 1;
}

void Generator::print_commands() {
  const char* before = "\"commands\": {";
  for (const Step step :
       {Step::greeting, Step::ehlo, Step::mail, Step::rcpt, Step::data, Step::final_dot, Step::quit}) {
    const std::vector<float>& waits = load_.waits_of(step);
    std::printf("%s\"%s\": {\"median\": %.1f, \"p90\": %.1f}", before, to_string(step).data(), share_of(waits, 0.5),
                share_of(waits, 0.9));
    before = ", ";
  }
  std::printf("}, ");
}

int Generator::report() {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double cpu = cpu_microseconds();
  if (load_.options.reuse) hang_up();
  const std::uint64_t unsent = load_.options.messages - load_.messages - load_.failures;  // told to end early
  for (std::vector<float>& waits : load_.waits) std::sort(waits.begin(), waits.end());
  const std::vector<float>& dots = load_.waits_of(Step::final_dot);
  std::putchar('{');
  if (load_.options.per_command) print_commands();
  std::printf(
      "\"messages\": %llu, \"octets\": %llu, \"failures\": %llu, \"lost\": %llu, \"late\": %llu, \"seconds\": %.6f, "
      "\"messages_per_second\": %.1f, \"median_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, \"cpu_us\": %.0f",
      static_cast<unsigned long long>(load_.messages), static_cast<unsigned long long>(load_.octets),
      static_cast<unsigned long long>(load_.failures + unsent), static_cast<unsigned long long>(load_.lost),
      static_cast<unsigned long long>(late_), seconds, static_cast<double>(load_.messages) / seconds,
      share_of(dots, 0.5), share_of(dots, 0.9), share_of(dots, 0.99), cpu);
  if (load_.tls)
    std::printf(", \"handshakes\": %llu, \"resumed\": %llu, \"tickets\": %llu",
                static_cast<unsigned long long>(load_.tls->handshakes),
                static_cast<unsigned long long>(load_.tls->resumed),
                static_cast<unsigned long long>(load_.tls->tickets));
  std::puts("}");
  return load_.failures + unsent + load_.lost == 0 ? 0 : 1;
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  try {
    rlimit files{};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    bench::LoadOptions options = bench::parse_options(argc, argv, bench::usage);
    if (options.to.sin_port == 0) throw std::runtime_error("--to HOST:PORT is needed (see --help)");
    return bench::Generator(std::move(options)).run();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "smtp_load: %s\n", error.what());
    return 70;
  }
}
