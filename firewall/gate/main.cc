// gatepost-gate: wiring only. Links libnetfilter_queue, so the program as a whole falls under the GPL version 2.
#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>
#include <system_error>

#include "firewall/descriptor.h"
#include "firewall/gate/confinement.h"
#include "firewall/gate/decision.h"
#include "firewall/gate/kernel_counts.h"
#include "firewall/gate/queue.h"

namespace gate {
namespace {

using firewall::Descriptor;

constexpr std::string_view usage =
    "gatepost-gate --settings FD [--control FD]\n"
    "\n"
    "Decides about new connections on their first packet, for the rules that `gatepost firewall` writes. Started by\n"
    "`gatepost serve`:\n"
    "  --settings FD   where the settings (JSON) are read from, to the end\n"
    "  --control FD    SOCK_SEQPACKET socket that says \"ready\" and \"unready\" of the proxy, \"full N\" and \"room "
    "N\" of the\n"
    "                  listener with queue N, and asks \"alive?\"; its end is ours, and so is that of our parent\n"
    "  --version, --help\n"
    "Exit status: 0 SIGTERM came or the control socket was closed, 64 usage, 71 the system lacks something or another\n"
    "program has a queue, 77 CAP_NET_ADMIN is missing, 78 no usable settings.\n";

constexpr std::chrono::minutes between_lines{1};
constexpr std::size_t most_settings = 64 << 20;  // octets

// One sentence on standard error, which the supervisor passes through; dropped rather than waited for.
void say_line(std::string line) {
  line.push_back('\n');
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // there is no other place to say it
}

struct Arguments {
  int settings = -1, control = -1;
};

std::optional<Arguments> parse(int count, char** words) {
  Arguments arguments;
  for (int i = 1; i + 1 < count; i += 2) {
    const std::string_view name = words[i], number = words[i + 1];
    int fd = -1;
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), fd);
    if (error != std::errc() || end != number.data() + number.size() || fd < 0) return std::nullopt;
    if (name == "--settings") arguments.settings = fd;
    else if (name == "--control" && fd > STDERR_FILENO) arguments.control = fd;
    else return std::nullopt;
  }
  if (count % 2 == 0 || arguments.settings < 0) return std::nullopt;
  return arguments;
}

std::expected<Settings, std::string> read_settings(int fd) {
  std::string text;
  char space[4096];
  for (;;) {
    const ssize_t got = ::read(fd, space, sizeof space);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(fmt::format("the settings cannot be read: {}", std::strerror(errno)));
    if (got == 0) break;
    text.append(space, static_cast<std::size_t>(got));
    if (text.size() > most_settings) return std::unexpected("the settings are too long");
  }
  return settings_from_json(text);
}

// SIGTERM and SIGINT as a descriptor; SIGHUP and SIGPIPE mean nothing here.
Descriptor take_signals() {
  for (const int number : {SIGPIPE, SIGHUP}) std::signal(number, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return Descriptor(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

bool is_packet_socket(int fd) {
  int type = 0;
  socklen_t length = sizeof type;
  return ::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && type == SOCK_SEQPACKET &&
         ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
}

class Program {
 public:
  // `kernel`: what the kernel says of the queues, if it may be read.
  Program(Settings settings, std::uint64_t seed, Descriptor signals, Descriptor control, Descriptor kernel)
      : settings_(std::move(settings)),
        gate_(settings_, seed),
        signals_(std::move(signals)),
        control_(std::move(control)),
        kernel_(std::move(kernel)) {
    gate_.set_ready(!control_);
    for (const Listener& each : settings_.listeners) numbers_.push_back(each.queue);
  }

  std::expected<PacketQueues, std::string> bind() {
    return PacketQueues::bind(numbers_, settings_.length, settings_.open,
                              [this](const Packet& packet) { return answer(packet); });
  }

  void run(PacketQueues& queues) {
    tell_ready();
    for (bool more = false, end = false; !end;) {
      std::array<pollfd, 3> waiting{pollfd{queues.descriptor(), POLLIN, 0}, pollfd{signals_.get(), POLLIN, 0},
                                    pollfd{control_.get(), POLLIN, 0}};
      ::poll(waiting.data(), waiting.size(), more ? 0 : wait_ms());
      end = waiting[1].revents != 0 || (waiting[2].revents != 0 && !obey());
      more = queues.serve();
      tell_counts(queues.counts(), false);
    }
    while (queues.serve()) {  // what still waits would be dropped with our end
    }
    tell_counts(queues.counts(), true);
  }

 private:
  std::optional<std::uint32_t> answer(const Packet& packet) {
    const auto parsed = parse_syn(packet.octets);
    const Decision decision = gate_.decide(packet.queue, parsed, Clock::now());
    if (decision == Decision::drop) return std::nullopt;
    return mark_after(packet.mark, decision);
  }

  void tell_ready() {
    say_line(fmt::format("{} queues from number {} on, fail-{}", settings_.listeners.size(),
                         settings_.listeners.front().queue, settings_.open ? "open" : "closed"));
    answer_control("ready");
  }

  void answer_control(std::string_view word) const {
    if (control_) ::send(control_.get(), word.data(), word.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
  }

  // All that has been said. False at the end of the control socket.
  bool obey() {
    for (;;) {
      std::array<char, 64> space{};
      const ssize_t got = ::recv(control_.get(), space.data(), space.size(), MSG_DONTWAIT);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) return got < 0 && errno == EAGAIN;
      const std::string_view word(space.data(), static_cast<std::size_t>(got));
      if (word == "ready" || word == "unready") gate_.set_ready(word == "ready");
      else if (word == "alive?") answer_control("alive");
      else set_full(word);
    }
  }

  void set_full(std::string_view word) {
    constexpr std::string_view full = "full ", room = "room ";
    std::uint16_t queue = 0;
    if (!word.starts_with(full) && !word.starts_with(room)) return;
    const std::string_view number = word.substr(full.size());
    const auto [end, error] = std::from_chars(number.data(), number.data() + number.size(), queue);
    if (error == std::errc() && end == number.data() + number.size()) gate_.set_full(queue, word.starts_with(full));
  }

  KernelCounts ask_kernel() const {
    std::array<char, 65536> text{};  // of a line for each queue there is on this host
    const ssize_t got = kernel_ ? ::pread(kernel_.get(), text.data(), text.size(), 0) : 0;
    return kernel_counts({text.data(), static_cast<std::size_t>(std::max<ssize_t>(got, 0))}, numbers_);
  }

  int wait_ms() const {
    if (told_ == gate_.counts()) return -1;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(next_line_ - Clock::now());
    return static_cast<int>(std::max<std::int64_t>(left.count(), 0));
  }

  // Once a minute at most, and only when there is news.
  void tell_counts(const QueueCounts& queues, bool last) {
    const Counts& counts = gate_.counts();
    if (told_ == counts && told_queues_.overruns == queues.overruns) return;
    const Clock::time_point now = Clock::now();
    if (now < next_line_ && !last) return;
    next_line_ = now + between_lines;
    const KernelCounts kernel = ask_kernel();
    say_line(
        fmt::format("{} connections taken, {} passed by, {} reset, {} no SYN; {} of these while the proxy was not "
                    "ready, {} while it "
                    "was full; {} times the socket was full; {} packets were answered by {} messages, {} of these too "
                    "late; the kernel "
                    "dropped {} for want of room in a queue, {} in the socket",
                    counts.take, counts.pass, counts.reset, counts.drop, counts.unready, counts.full, queues.overruns,
                    queues.packets, queues.answers, queues.refused, kernel.queue_full, kernel.socket_full));
    told_ = counts;
    told_queues_ = queues;
  }

  Settings settings_;
  Gate gate_;
  Descriptor signals_, control_, kernel_;
  std::vector<std::uint16_t> numbers_;  // of the queues
  Counts told_;
  QueueCounts told_queues_;
  Clock::time_point next_line_{};
};

int serve(Settings settings, Descriptor control) {
  std::uint64_t seed = 0;
  if (::getrandom(&seed, sizeof seed, 0) != static_cast<ssize_t>(sizeof seed))
    return say_line(fmt::format("no random numbers: {}", std::strerror(errno))), EX_OSERR;
  Descriptor signals = take_signals();
  if (!signals) return say_line(fmt::format("signalfd: {}", std::strerror(errno))), EX_OSERR;
  Descriptor kernel(::open("/proc/self/net/netfilter/nfnetlink_queue", O_RDONLY | O_CLOEXEC));  // root's, if we are
  if (auto done = keep_net_admin_alone(settings.uid, settings.gid); !done) return say_line(done.error()), EX_NOPERM;
  // A gate that is stopped does not see the end of its control socket, and would keep the queues.
  if (control && ::prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) != 0)
    return say_line(fmt::format("PR_SET_PDEATHSIG: {}", std::strerror(errno))), EX_OSERR;
  Program program(std::move(settings), seed, std::move(signals), std::move(control), std::move(kernel));
  auto queues = program.bind();
  if (!queues) return say_line(queues.error()), EX_OSERR;
  if (auto done = filter_system_calls(); !done) return say_line(done.error()), EX_OSERR;
  program.run(*queues);
  ::_exit(EX_OK);  // what a sanitizer does at an ordinary end needs system calls that are gone
}

}  // namespace

int run(int count, char** words) {
  if (count == 2 && std::string_view(words[1]) == "--help")
    return std::fputs(usage.data(), stdout) < 0 ? EX_IOERR : EX_OK;
  if (count == 2 && std::string_view(words[1]) == "--version")
    return std::puts("gatepost-gate " GATEPOST_VERSION) < 0 ? EX_IOERR : EX_OK;
  const auto arguments = parse(count, words);
  if (!arguments) return std::fputs(usage.data(), stderr), EX_USAGE;
  Descriptor control(arguments->control);
  if (control && !is_packet_socket(control.get()))
    return say_line(fmt::format("descriptor {} is not a SOCK_SEQPACKET socket", control.get())), EX_USAGE;
  auto settings = read_settings(arguments->settings);
  if (!settings) return say_line(settings.error()), EX_CONFIG;
  return serve(*std::move(settings), std::move(control));
}

}  // namespace gate

int main(int count, char** words) try { return gate::run(count, words); } catch (const std::system_error& error) {
  gate::say_line(fmt::format("the gate ends: {}", error.what()));
  return EX_OSERR;
} catch (const std::bad_alloc&) {
  gate::say_line("the gate ends: out of memory");
  return EX_OSERR;
}
