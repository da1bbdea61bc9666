#include "scanner/nursery.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <ranges>
#include <system_error>

#include "scanner/say.h"

namespace scanner {
namespace {

// epoll keys: what kind of descriptor, and its index or number.
constexpr std::uint64_t kind_mask = 3ull << 32;
constexpr std::uint64_t control_key = 0;
constexpr std::uint64_t signal_key = 1ull << 32;
constexpr std::uint64_t proxy_key = 2ull << 32;
constexpr std::uint64_t worker_key = 3ull << 32;

int checked(int result, const char* what) {
  if (result < 0) throw std::system_error(errno, std::generic_category(), what);
  return result;
}

// libclamav is not to be trusted after a failed allocation, nor a worker whose temporary directory fails.
bool needs_successor(const Report& report) {
  return std::ranges::any_of(report.findings, [](const Finding& finding) {
    return finding.failure == Failure::memory || finding.failure == Failure::storage;
  });
}

}  // namespace

Nursery::Nursery(Engine& engine, const Settings& settings, const std::string& directory, std::vector<OwnedFd> sockets,
                 OwnedFd control)
    : settings_(settings),
      hello_(encode(engine.hello())),
      epoll_(checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
      control_(std::move(control)) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  signals_.reset(checked(::signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd"));
  watch(EPOLL_CTL_ADD, signals_.get(), EPOLLIN, signal_key);
  if (control_) watch(EPOLL_CTL_ADD, control_.get(), EPOLLIN, control_key);
  for (std::uint32_t i = 0; i < settings.workers; ++i)
    workers_.emplace_back(engine, settings, fmt::format("{}/worker-{}", directory, i));
  jobs_.resize(workers_.size());
  start_workers(Clock::now());
  for (OwnedFd& socket : sockets) add(std::move(socket));
}

void Nursery::run() {
  const auto working = [this] {
    return !queue_.empty() || std::ranges::any_of(workers_, [](const WorkerProcess& worker) {
      return worker.state() == WorkerProcess::State::busy;
    });
  };
  while ((control_ || !proxies_.empty()) && terms_ < 2 && (terms_ == 0 || working())) wait();
  end();
}

void Nursery::wait() {
  std::array<epoll_event, 64> events;
  const int timeout = wait_ms(Clock::now());
  const int count = ::epoll_wait(epoll_.get(), events.data(), static_cast<int>(events.size()), timeout);
  if (count < 0 && errno != EINTR) checked(count, "epoll_wait");
  for (const epoll_event& event : events | std::views::take(std::max(count, 0))) {
    const std::size_t index = event.data.u64 & ~kind_mask;
    switch (event.data.u64 & kind_mask) {
      case signal_key:
        read_signal();
        break;
      case control_key:
        read_control();
        break;
      case proxy_key:
        read_proxy(index);
        break;
      default:
        read_worker(index);
    }
  }
  const Clock::time_point now = Clock::now();
  end_overdue(now);
  start_workers(now);
}

int Nursery::wait_ms(Clock::time_point now) const {
  using State = WorkerProcess::State;
  Clock::time_point next = Clock::time_point::max();
  for (const WorkerProcess& worker : workers_) {
    if (worker.state() == State::busy) next = std::min(next, worker.deadline());
    if (worker.state() == State::absent) next = std::min(next, worker.start_at());
  }
  if (!queue_.empty()) next = std::min(next, queue_.front().deadline);
  if (next == Clock::time_point::max()) return -1;
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(next - now).count();
  return static_cast<int>(std::clamp<std::int64_t>(left, 0, 60'000));
}

void Nursery::start_workers(Clock::time_point now) {
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    WorkerProcess& worker = workers_[i];
    if (worker.state() != WorkerProcess::State::absent || worker.start_at() > now || !worker.start(now)) continue;
    watch(EPOLL_CTL_ADD, worker.socket(), EPOLLIN, worker_key | i);
    idle_.push_back(i);
  }
  assign_queued();
}

void Nursery::end_overdue(Clock::time_point now) {
  while (!queue_.empty() && queue_.front().deadline <= now) {
    const Job late = std::move(queue_.front());
    queue_.pop_front();
    answer(late, failed(late.id, Failure::busy, "no worker was free in time"));
  }
  for (std::size_t i = 0; i < workers_.size(); ++i) {
    WorkerProcess& worker = workers_[i];
    if (worker.state() != WorkerProcess::State::busy || worker.deadline() > now) continue;
    worker.kill();
    const Job& job = jobs_[i];
    Report report;
    report.elapsed_us = static_cast<std::uint32_t>(std::min<std::int64_t>(job.limit.count() * 1000, UINT32_MAX));
    report.findings.push_back({Outcome::unscannable, Unscannable::time, Failure::none, settings_.name,
                               fmt::format("killed after {} ms", job.limit.count())});
    answer(job, std::move(report));
    say("scanner worker {} was killed: a message took longer than {} ms", worker.pid(), job.limit.count());
  }
}

void Nursery::read_signal() {
  signalfd_siginfo caught{};
  while (::read(signals_.get(), &caught, sizeof caught) == static_cast<ssize_t>(sizeof caught)) ++terms_;
}

void Nursery::read_control() {
  if (!control_) return;
  const PacketStatus status = receive_packet(control_.get(), packet_, fd_);
  if (status == PacketStatus::would_block) return;
  if (status == PacketStatus::closed || status == PacketStatus::failed) return control_.reset();
  if (status == PacketStatus::ok && packet_ == new_socket && fd_) return add(std::move(fd_));
  fd_.reset();
  say("a packet of the supervisor was not understood, or there was no descriptor left for its socket");
}

void Nursery::add(OwnedFd socket) {
  // Whoever does not read must not stop the others.
  checked(::fcntl(socket.get(), F_SETFL, ::fcntl(socket.get(), F_GETFL) | O_NONBLOCK), "fcntl");
  const std::size_t number = next_number_++;
  watch(EPOLL_CTL_ADD, socket.get(), EPOLLIN, proxy_key | number);
  proxies_[number].socket = std::move(socket);
  send(number, hello_);
}

void Nursery::read_proxy(std::size_t number) {
  if (!flush(number)) return;
  switch (receive_packet(proxies_.at(number).socket.get(), packet_, fd_)) {
    case PacketStatus::would_block:
      return;
    case PacketStatus::closed:
      return drop(number, {});
    case PacketStatus::malformed:
      return drop(number, "a malformed packet");
    case PacketStatus::failed:
      return drop(number, "an unreadable packet");
    case PacketStatus::ok:
      break;
  }
  const auto request = decode_request(packet_);
  if (!request) return drop(number, request.error());
  if (request->kind == Request::Kind::cancel) return cancel(number, request->id);
  if (request->kind == Request::Kind::scan && !fd_) return drop(number, "a request without a descriptor");
  accept(number, *request);
  fd_.reset();
}

void Nursery::accept(std::size_t number, const Request& request) {
  const std::uint32_t asked = request.limit_ms == 0 ? settings_.scan_limit_ms : request.limit_ms;
  const std::chrono::milliseconds limit(std::min(asked, settings_.scan_limit_ms));
  Job job{number, request.id, limit, Clock::now() + limit, {}, {}};
  if (terms_ > 0) return answer(job, failed(request.id, Failure::not_ready, "the scanner is ending"));
  while (queue_.empty() && !idle_.empty()) {
    const std::size_t worker = idle_.back();
    idle_.pop_back();
    if (assign(worker, job, packet_, fd_.get())) return;
  }
  if (queue_.size() >= settings_.queue)
    return answer(job, failed(request.id, Failure::busy, fmt::format("{} messages are waiting", queue_.size())));
  job.packet = packet_;
  job.fd = std::move(fd_);
  queue_.push_back(std::move(job));
}

void Nursery::cancel(std::size_t number, std::uint64_t id) {
  std::erase_if(queue_, [number, id](const Job& job) { return job.proxy == number && job.id == id; });
}

void Nursery::read_worker(std::size_t index) {
  WorkerProcess& worker = workers_[index];
  if (worker.state() == WorkerProcess::State::absent) return;
  const PacketStatus status = receive_packet(worker.socket(), packet_, fd_);
  if (status == PacketStatus::would_block) return;
  if (status != PacketStatus::ok) return lost(index);
  if (worker.state() == WorkerProcess::State::busy) return take_report(index);
  // A report of a worker that was just killed comes too late; an idle worker has nothing to say.
  if (worker.state() == WorkerProcess::State::idle) std::erase(idle_, index);
  worker.kill();
}

void Nursery::take_report(std::size_t index) {
  WorkerProcess& worker = workers_[index];
  const Job& job = jobs_[index];
  const auto report = decode_report(packet_);
  if (!report || report->id != job.id) {
    answer(job, failed(job.id, Failure::engine, report ? "a report of another message" : report.error()));
    return worker.kill();
  }
  worker.finished();  // before the answer: a proxy that is gone has the workers killed that still work for it
  send(job.proxy, packet_);
  if (needs_successor(*report)) return worker.kill();
  idle_.push_back(index);
  assign_queued();
}

// The worker's socket is closed: by its death, or by itself.
void Nursery::lost(std::size_t index) {
  WorkerProcess& worker = workers_[index];
  const WorkerProcess::State state = worker.state();
  const pid_t pid = worker.pid();
  const Death death = worker.bury(Clock::now());
  std::erase(idle_, index);
  if (state == WorkerProcess::State::dying) return;
  say("scanner worker {} died ({}){}", pid, death.text(),
      state == WorkerProcess::State::busy ? " while it scanned a message" : "");
  if (state != WorkerProcess::State::busy) return;
  // Nobody but the kernel, when the machine is out of memory, and an administrator kill a worker with SIGKILL.
  const Failure failure = death.signal == SIGKILL ? Failure::killed : Failure::crashed;
  answer(jobs_[index], failed(jobs_[index].id, failure, death.text()));
}

bool Nursery::assign(std::size_t index, Job& job, std::string_view packet, int fd) {
  if (!workers_[index].hand(packet, fd, job.deadline)) {
    workers_[index].kill();  // its socket reports the end
    return false;
  }
  Job& held = jobs_[index];
  held.proxy = job.proxy;
  held.id = job.id;
  held.limit = job.limit;
  return true;
}

void Nursery::assign_queued() {
  while (!queue_.empty() && !idle_.empty()) {
    const std::size_t worker = idle_.back();
    idle_.pop_back();
    Job& job = queue_.front();
    if (assign(worker, job, job.packet, job.fd.get())) queue_.pop_front();
  }
}

void Nursery::answer(const Job& job, Report report) {
  report.id = job.id;
  for (Finding& finding : report.findings) finding.engine = settings_.name;
  send(job.proxy, encode(report));
}

void Nursery::send(std::size_t number, std::string_view packet) {
  const auto found = proxies_.find(number);
  if (found == proxies_.end()) return;  // nobody waits any more
  Proxy& proxy = found->second;
  if (proxy.backlog.empty()) {
    const PacketStatus status = send_packet(proxy.socket.get(), packet);
    if (status == PacketStatus::ok) return;
    if (status != PacketStatus::would_block) return drop(number, {});
    watch(EPOLL_CTL_MOD, proxy.socket.get(), EPOLLOUT, proxy_key | number);
  }
  proxy.backlog.emplace_back(packet);
}

bool Nursery::flush(std::size_t number) {
  const auto found = proxies_.find(number);
  if (found == proxies_.end()) return false;
  Proxy& proxy = found->second;
  if (proxy.backlog.empty()) return true;
  while (!proxy.backlog.empty()) {
    const PacketStatus status = send_packet(proxy.socket.get(), proxy.backlog.front());
    if (status == PacketStatus::would_block) return false;
    if (status != PacketStatus::ok) return drop(number, {}), false;
    proxy.backlog.pop_front();
  }
  watch(EPOLL_CTL_MOD, proxy.socket.get(), EPOLLIN, proxy_key | number);
  return true;
}

void Nursery::drop(std::size_t number, std::string_view why) {
  if (!why.empty()) say("a connection of the proxy was dropped: {}", why);
  fd_.reset();
  proxies_.erase(number);
  std::erase_if(queue_, [number](const Job& job) { return job.proxy == number; });
  for (std::size_t i = 0; i < workers_.size(); ++i)
    if (workers_[i].state() == WorkerProcess::State::busy && jobs_[i].proxy == number) workers_[i].kill();
}

void Nursery::watch(int operation, int fd, std::uint32_t events, std::uint64_t key) {
  epoll_event event{};
  event.events = events;
  event.data.u64 = key;
  checked(::epoll_ctl(epoll_.get(), operation, fd, &event), "epoll_ctl");
}

void Nursery::end() {
  for (WorkerProcess& worker : workers_)
    if (worker.state() != WorkerProcess::State::absent) worker.kill();
  for (WorkerProcess& worker : workers_)
    if (worker.state() != WorkerProcess::State::absent) worker.bury(Clock::now());
}

}  // namespace scanner
