#include "proxy/supervisor/supervisor.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <thread>

#include "firewall/conntrack.h"
#include "firewall/state.h"
#include "proxy/serve.h"
#include "proxy/supervisor/announcement.h"
#include "proxy/supervisor/directories.h"
#include "proxy/supervisor/family.h"
#include "proxy/supervisor/readiness.h"
#include "proxy/supervisor/sockets.h"
#include "proxy/supervisor/tls_material.h"

namespace supervisor {
namespace {

using admin::Level;
using scanner::OwnedFd;

constexpr std::chrono::seconds after_cut{5};    // for the proxy to answer what it owes
constexpr std::chrono::seconds between_conntrack_looks{10};
constexpr std::chrono::seconds for_others{10};  // for keeper and scanner, which have nothing left to do
constexpr std::chrono::seconds for_rules{10};   // for their withdrawal, when nobody wants to wait for it any more

std::expected<OwnedFd, std::string> open_log(const config::Log& log) {
  if (log.to == "stderr" || log.to == "syslog") return OwnedFd();
  OwnedFd file(::open(log.to.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK, 0640));
  if (!file) return std::unexpected(fmt::format("log file {}: {}", log.to, std::strerror(errno)));
  return file;
}

int log_descriptor(const config::Log& log, const OwnedFd& file) {
  return log.to == "syslog" ? -1 : log.to == "stderr" ? STDERR_FILENO : file.get();
}

OwnedFd take_signals() {
  ::signal(SIGPIPE, SIG_IGN);
  sigset_t set;
  sigemptyset(&set);
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD}) sigaddset(&set, number);
  ::sigprocmask(SIG_BLOCK, &set, nullptr);
  return OwnedFd(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
}

// Ours and, by inheritance, the proxy's: a session needs two descriptors and more.
void raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &limit);
}

int give_up(const std::string& sentence) {
  fmt::print(stderr, "gatepost: {}\n", sentence);
  return EX_CONFIG;
}

// Somebody listens where intercepted connections would come to: another gatepost, most likely.
bool serves_another(const config::Config& config) {
  return std::ranges::any_of(config.listeners, [](const config::Listener& each) {
    return each.intercept != config::Intercept::none && probe(each.address.get(), each.address.length) == EADDRINUSE;
  });
}

// The same before anything was begun, and while we have no port: rules that are in force may lead to nobody.
int give_up(const std::string& sentence, const config::Config& config) {
  const int status = give_up(sentence);
  const auto rules = firewall::load_state(config.firewall.state_directory);
  if (config.firewall.manage && rules && *rules && !serves_another(config))
    fmt::print(stderr,
               "gatepost: rules of the packet filter are in force: unless another gatepost serves, new connections "
               "fail; gatepost firewall remove takes them back\n");
  return status;
}

class Supervisor {
 public:
  Supervisor(ServeOptions& options, OwnedFd log_file, Listening listening, Family::RunProxy run_proxy,
             std::string scanner_directory)
      : options_(options),
        config_(*options.config),
        ready_line_(ready_line(config_.listeners, listening.addresses, ::getpid())),
        signals_(take_signals()),
        log_file_(std::move(log_file)),
        log_(config_.log, "gatepost", log_descriptor(config_.log, log_file_), 0),
        family_(options.config, announced(std::move(listening)), std::move(run_proxy), log_,
                log_descriptor(config_.log, log_file_), std::move(scanner_directory)) {}

  int run();
  void use(TlsMaterial material);

 private:
  // Withdrawing: told to end, and serving until no rule of the packet filter brings new clients here any more. Ending:
  // nobody is served, and the rest of the children and of the rules goes.
  enum class Stage { serving, withdrawing, draining, cut, ending };

  // The first lines of the log, before anything is started.
  Listening announced(Listening listening) {
    announce(config_, options_.warnings, listening.addresses, log_);
    return listening;
  }
  int end_hopeless();
  bool all_ended() const { return stage_ == Stage::ending && !family_.anyone_running() && family_.rules_settled(); }
  int wait_ms(Clock::time_point now) const;
  void wait();
  void read_signals();
  void obey(int number);
  void drain();
  void cut();
  void step(Clock::time_point now);
  void look_at_conntrack(Clock::time_point now);
  void begin_end(Message::Kind how);
  void stop_serving(Clock::time_point now);
  void tell_ready();
  void reopen_log();
  void reload();

  ServeOptions& options_;
  const config::Config& config_;
  std::string ready_line_;
  OwnedFd signals_, log_file_;
  admin::Log log_;
  Family family_;
  Stage stage_ = Stage::serving;
  Message::Kind end_by_ = Message::Kind::drain;  // or cut; once it is told to end
  Clock::time_point stage_ends_ = Clock::time_point::max();
  Clock::time_point rules_end_ = Clock::time_point::max();  // when nobody waits for them any more
  bool told_ready_ = false, unfinished_ = false;
  firewall::ConntrackWatch conntrack_;
  // When to look again; never where nobody depends on it.
  Clock::time_point conntrack_due_ = Clock::time_point::max();
};

int Supervisor::run() {
  if (firewall::needs_conntrack(config_)) conntrack_due_ = Clock::now();
  for (;;) {
    const Clock::time_point now = Clock::now();
    step(now);
    if (all_ended()) break;
    if (family_.hopeless() && stage_ == Stage::serving) return end_hopeless();
    family_.act_due(now);
    wait();
  }
  const bool clean = family_.ended_well() && !unfinished_ && !family_.rules_left();
  log_.say(0, Level::info, clean ? "gatepost has ended" : "gatepost has ended; not everything could be finished");
  return clean ? EX_OK : EX_TEMPFAIL;
}

// Nobody will be served, so no rule of an earlier life may lead here any more.
int Supervisor::end_hopeless() {
  family_.end_proxy(Message::Kind::cut);
  family_.end_others();
  begin_end(Message::Kind::cut);
  const auto wait_for_rules = [this] {
    for (Clock::time_point now; !family_.rules_settled() && (now = Clock::now()) < rules_end_; wait())
      family_.act_due(now);
  };
  wait_for_rules();
  family_.finish_rules();
  wait_for_rules();
  family_.abandon_rules();
  family_.kill_all();
  return give_up("cannot start: the reason is in a line above");
}

void Supervisor::look_at_conntrack(Clock::time_point now) {
  if (now < conntrack_due_) return;
  conntrack_due_ = now + between_conntrack_looks;
  if (const auto sentence = conntrack_.look()) log_.say(0, Level::warning, *sentence);
}

// What time and deaths bring.
void Supervisor::step(Clock::time_point now) {
  look_at_conntrack(now);
  if (!told_ready_ && stage_ == Stage::serving && family_.ready()) {
    family_.put_in_rules();
    if (family_.rules_settled()) tell_ready();
  }
  if (now >= rules_end_) family_.abandon_rules();
  if (family_.rules_settled()) rules_end_ = Clock::time_point::max();
  if (stage_ == Stage::withdrawing && family_.rules_settled()) stop_serving(now);
  if ((stage_ == Stage::draining || stage_ == Stage::cut) && !family_.proxy_running()) {
    stage_ = Stage::ending;
    stage_ends_ = now + for_others;
    family_.end_others();
    family_.finish_rules();
    if (end_by_ == Message::Kind::cut) rules_end_ = now + for_rules;
  }
  if (now < stage_ends_) return;
  if (stage_ == Stage::draining) {
    log_.say(0, Level::warning, "limits.drain is over: what still runs is cut");
    return cut();
  }
  stage_ends_ = now + for_others;
  if (!family_.anyone_running()) return;  // the rules alone are waited for
  unfinished_ = true;
  family_.kill_all();
}

int Supervisor::wait_ms(Clock::time_point now) const {
  if ((stage_ == Stage::withdrawing && family_.rules_settled()) || all_ended()) return 0;  // no worker was needed
  Clock::time_point next = std::min({stage_ends_, rules_end_, conntrack_due_});
  if (const auto due = family_.next_due()) next = std::min(next, *due);
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void Supervisor::wait() {
  std::vector<pollfd> polls{{signals_.get(), POLLIN, 0}};
  family_.add_polls(polls);
  ::poll(polls.data(), polls.size(), wait_ms(Clock::now()));  // whatever it says: nothing below blocks
  read_signals();
  family_.serve_sockets();
}

void Supervisor::read_signals() {
  signalfd_siginfo caught{};
  bool children = false;
  while (::read(signals_.get(), &caught, sizeof caught) == static_cast<ssize_t>(sizeof caught)) {
    if (caught.ssi_signo == SIGCHLD) children = true;
    else obey(static_cast<int>(caught.ssi_signo));
  }
  if (children) family_.reap();
}

void Supervisor::obey(int number) {
  switch (number) {
    case SIGTERM:
      return stage_ == Stage::serving ? drain() : cut();
    case SIGINT:
      return cut();
    case SIGUSR1:
      return reopen_log();
    case SIGHUP:
      return reload();
    case SIGUSR2:
      return log_.say(0, Level::warning, "SIGUSR2: signatures cannot be reloaded yet; restart instead");
    default:
      return;
  }
}

void Supervisor::drain() {
  log_.say(0, Level::info, "SIGTERM: draining");
  begin_end(Message::Kind::drain);
}

void Supervisor::cut() {
  if (stage_ == Stage::ending) rules_end_ = std::min(rules_end_, Clock::now() + for_rules);
  if (stage_ == Stage::cut || stage_ == Stage::ending || end_by_ == Message::Kind::cut) return;
  log_.say(0, Level::info, "ending now: what still runs is cut");
  begin_end(Message::Kind::cut);
}

void Supervisor::begin_end(Message::Kind how) {
  end_by_ = how;
  if (stage_ == Stage::draining) return stop_serving(Clock::now());
  if (stage_ == Stage::serving) {
    stage_ = Stage::withdrawing;
    notify_service_manager("STOPPING=1");
    family_.withdraw_rules();
  }
  if (how == Message::Kind::cut) rules_end_ = Clock::now() + for_rules;
}

void Supervisor::stop_serving(Clock::time_point now) {
  const bool drains = end_by_ == Message::Kind::drain;
  // A drain that is cut had something left to wait for.
  if (!drains) unfinished_ = unfinished_ || stage_ == Stage::draining || family_.messages_in_flight();
  stage_ = drains ? Stage::draining : Stage::cut;
  stage_ends_ = now + (drains ? config_.limits.drain : after_cut);
  family_.end_proxy(end_by_);
}

void Supervisor::tell_ready() {
  told_ready_ = true;
  std::string sentence = "gatepost is serving";
  if (!config_.scanners.empty() && !family_.scanner_ready()) sentence += ", but its scanner is not: mail is deferred";
  log_.say(0, Level::info, sentence);
  if (config_.log.to != "stderr") fmt::print(stderr, "{}\n", sentence);
  notify_service_manager("READY=1");
  if (options_.ready_fd < 0) return;
  const OwnedFd fd(std::exchange(options_.ready_fd, -1));
  if (::write(fd.get(), ready_line_.data(), ready_line_.size()) < 0)
    log_.say(0, Level::warning, fmt::format("--ready-fd: {}", std::strerror(errno)));
}

void Supervisor::reopen_log() {
  auto file = open_log(config_.log);
  if (!file) return log_.say(0, Level::error, file.error());
  if (!*file) return;  // standard error and syslog need no such thing
  log_.reopen(::dup(file->get()));
  log_file_ = std::move(*file);
  family_.use_log_file(log_file_.get());
}

// Sessions that run keep what they have; a bad pair leaves everything as it was (T:F9, T:G4).
void Supervisor::reload() {
  log_.say(0, Level::info,
           "SIGHUP: certificates and keys are read again, servers are examined again; the configuration is not read, "
           "restart for that");
  auto material = read_tls(config_);
  if (!material) {
    for (const std::string& error : material.error()) log_.say(0, Level::error, "TLS: " + error + "; the former is kept");
  } else {
    use(std::move(*material));
  }
  family_.doubt_servers();  // behind what they are examined with
}

void Supervisor::use(TlsMaterial material) {
  for (const std::string& warning : material.warnings) log_.say(0, Level::warning, "TLS: " + warning);
  family_.use_tls_files(std::move(material.sealed));
}

}  // namespace

int serve(ServeOptions options, std::function<int(ProxyStart)> run_proxy) {
  // What we inherited and do not know is not for our children either.
  ::close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
  raise_descriptor_limit();
  const config::Config& config = *options.config;
  if (auto done = provide_directories(config); !done) return give_up(done.error(), config);
  const unsigned loops = config.loops != 0 ? config.loops : std::max(1U, std::thread::hardware_concurrency());
  auto material = read_tls(config);
  if (!material) return give_up("TLS: " + material.error().front(), config);
  auto listening = listen_on(config.listeners, loops);
  if (!listening) return give_up(listening.error(), config);
  auto log_file = open_log(config.log);
  if (!log_file) {
    *listening = {};  // or it would look as if another one served
    return give_up(log_file.error(), config);
  }
  const std::string scanner_directory = config.scanners.empty() ? std::string() : provide_scanner_directory(config);
  Supervisor supervisor(options, std::move(*log_file), std::move(*listening), std::move(run_proxy), scanner_directory);
  supervisor.use(std::move(*material));
  return supervisor.run();
}

}  // namespace supervisor
