#include "proxy/serve.h"

#include <csignal>
#include <cstdio>
#include <poll.h>
#include <sysexits.h>
#include <thread>
#include <unistd.h>

#include "proxy/control_reader.h"
#include "proxy/offence_reader.h"
#include "proxy/proxy_loop.h"
#include "proxy/supervisor/control.h"
#include "proxy/supervisor/outbox.h"
#include "proxy/totals.h"

namespace {

using supervisor::Message;

struct Worker {
  std::unique_ptr<ProxyLoop> loop;
  scanner::OwnedFd inbox;
  supervisor::Outbox unsent{};  // to the inbox
  std::thread thread;
};

// Hands each message of the supervisor to the loop that it is for.
class Dispatcher {
 public:
  Dispatcher(std::vector<Worker>& workers, ProxyShared& shared) : workers_(workers), shared_(shared) {}

  void pass_on(const Message& message, const std::string& packet, scanner::OwnedFd fd) {
    if (message.kind == Message::Kind::log_file && fd) shared_.log.reopen(fd.release());
    else if (message.kind == Message::Kind::tls_files && fd) renew_tls(fd.get(), packet);
    else if (message.kind == Message::Kind::reload) reload(packet);
    else if (is_for_all(message.kind)) to_all(packet);
    else if (message.index < workers_.size()) send(workers_[message.index], packet, std::move(fd));
  }

 private:
  static bool is_for_all(Message::Kind kind) {
    return kind == Message::Kind::drain || kind == Message::Kind::cut;
  }
  void reload(const std::string& packet) {
    shared_.complaints.forget();
    to_all(packet);
  }
  void renew_tls(int files, const std::string& packet) {
    if (shared_.use_tls_files(files)) to_all(packet);
    else shared_.log.say(0, admin::Level::error, "TLS: the new certificates cannot be used; the former are kept");
  }
  void to_all(const std::string& packet) {
    for (Worker& worker : workers_) send(worker, packet, {});
  }
  static void send(Worker& worker, const std::string& packet, scanner::OwnedFd fd) {
    worker.unsent.send(worker.inbox.get(), packet, std::move(fd));
  }
  std::vector<Worker>& workers_;
  ProxyShared& shared_;
};

// The supervisor is dead, and the kernel kills us with it: a 451 from now on would have no line in the log.
[[noreturn]] void end_with_supervisor() { ::_exit(EX_TEMPFAIL); }

// Octets that this process has in memory (proc(5)); 0 when nobody says.
std::uint64_t own_memory() {
  unsigned long long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%*u %llu", &resident) != 1) resident = 0;
  std::fclose(file);
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// Tells the supervisor, for the gate, which listeners are full; a listener that was has room when nobody was refused for a
// second.
class RoomTeller {
 public:
  explicit RoomTeller(ProxyShared& shared) : shared_(shared), told_full_(shared.config->listeners.size()) {}

  void tell() {
    const io::TimePoint now = io::Clock::now();
    if (shared_.config->firewall.gate.queue == 0 || now < due_) return;
    due_ = now + std::chrono::seconds(1);
    for (std::size_t i = 0; i < told_full_.size(); ++i) {
      const bool full = shared_.admission.was_full(i);
      if (full == told_full_[i]) continue;
      Message message;
      message.kind = Message::Kind::full;
      message.index = static_cast<std::uint32_t>(i);
      message.text = full ? "full" : "room";
      if (scanner::send_packet(shared_.control, encode(message)) == scanner::PacketStatus::ok) told_full_[i] = full;
    }
  }

 private:
  ProxyShared& shared_;
  std::vector<bool> told_full_;
  io::TimePoint due_{};
};

// The first is the supervisor's, the second the loops'. Behind them: loops that have left messages unread, until they
// have room.
void watch(std::vector<pollfd>& watched, const ControlReader& control, const OffenceReader& offences,
           const std::vector<Worker>& workers) {
  watched.resize(2);
  const int events = control.events(io::Clock::now()) | (offences.waits() ? POLLOUT : 0);
  watched[0].events = static_cast<short>(events);
  for (const Worker& worker : workers)
    if (!worker.unsent.empty()) watched.push_back({worker.inbox.get(), POLLOUT, 0});
}

// What is done once a second, outside of the loops.
void look_around(ProxyShared& shared, Totals& totals) {
  const io::TimePoint now = io::Clock::now();
  if (shared.config->limits.memory != 0) shared.admission.note_memory(own_memory());
  for (const RefusedClients& refused : shared.refusals.due(now))
    log_refused(shared.log, 0, *shared.config, shared.admission, refused);
  totals.look(now);
}

// What is between loops and supervisor, until the last loop has ended.
void tend(std::vector<Worker>& workers, ProxyShared& shared, Totals& totals, int from_loops,
          const std::atomic<std::size_t>& running) {
  Dispatcher dispatcher(workers, shared);
  const auto pass_on = [&dispatcher](const Message& message, const std::string& packet, scanner::OwnedFd fd) {
    dispatcher.pass_on(message, packet, std::move(fd));
  };
  ControlReader control(shared.control, shared.log, pass_on, end_with_supervisor);
  std::vector<pollfd> watched{{shared.control, POLLIN, 0}, {from_loops, POLLIN, 0}};
  OffenceReader offences(from_loops, shared.control, shared.config, shared.log);
  RoomTeller room(shared);
  while (running > 0) {
    watch(watched, control, offences, workers);
    ::poll(watched.data(), watched.size(), 1000);
    for (Worker& worker : workers) worker.unsent.flush(worker.inbox.get());
    look_around(shared, totals);
    room.tell();
    const io::TimePoint now = io::Clock::now();
    const bool heard = (watched[0].revents & ~POLLOUT) != 0;
    for (int i = 0; heard && i < ControlReader::most_at_once && control.read_one(now); ++i) {
    }
    offences.flush(now);
    if (watched[1].revents != 0) offences.read(now);
  }
}

}  // namespace

int run_proxy(ProxyStart start) {
  std::signal(SIGPIPE, SIG_IGN);
  const std::size_t loops = start.listeners.size();
  ProxyShared shared(start, loops);
  if (start.tls_files && !shared.use_tls_files(start.tls_files.get()))
    shared.log.say(0, admin::Level::error, "TLS: certificates and keys did not arrive; nobody gets TLS");
  std::vector<Worker> workers(loops);
  std::atomic<std::size_t> running = loops;
  auto [from_loops, to_main_thread] = scanner::make_packet_pair();
  shared.to_main_thread = to_main_thread.get();
  for (std::size_t i = 0; i < loops; ++i) {
    auto [ours, theirs] = scanner::make_packet_pair();
    workers[i].inbox = std::move(ours);
    workers[i].loop = std::make_unique<ProxyLoop>(shared, static_cast<unsigned>(i), std::move(start.listeners[i]), std::move(theirs));
  }
  for (Worker& worker : workers)
    worker.thread = std::thread([&worker, &running, socket = to_main_thread.get()] {
      worker.loop->run();
      --running;
      scanner::send_packet(socket, "ended");
    });
  Message ready;
  ready.kind = Message::Kind::ready;
  scanner::send_packet(start.control.get(), encode(ready));
  Totals totals(shared.log, *shared.config, shared.refusals, shared.withheld);
  tend(workers, shared, totals, from_loops.get(), running);
  for (Worker& worker : workers) worker.thread.join();
  totals.end();
  return shared.has_cut ? EX_TEMPFAIL : 0;
}
