#include "proxy/serve.h"

#include <csignal>
#include <cstdio>
#include <poll.h>
#include <sysexits.h>
#include <thread>
#include <unistd.h>

#include "proxy/offences.h"
#include "proxy/proxy_loop.h"
#include "proxy/supervisor/control.h"
#include "proxy/supervisor/outbox.h"

namespace {

using supervisor::Message;

struct Worker {
  std::unique_ptr<ProxyLoop> loop;
  scanner::OwnedFd inbox;
  supervisor::Outbox unsent{};  // to the inbox
  std::thread thread;
};

// Hands each message to the loop that it is for; ends the process when the supervisor is gone.
class ControlReader {
 public:
  ControlReader(int socket, std::vector<Worker>& workers, ProxyShared& shared)
      : socket_(socket), workers_(workers), shared_(shared), log_(shared.log) {}

  static constexpr int most_at_once = 64;

  // False: nothing is there.
  bool read_one() {
    std::string packet;
    scanner::OwnedFd fd;
    const auto status = scanner::receive_packet(socket_, packet, fd);
    if (status == scanner::PacketStatus::would_block) return false;
    if (status == scanner::PacketStatus::malformed) {
      // A descriptor that could not be taken: we have none left. No reason to end the sessions that run.
      log_.say(0, admin::Level::error, "a message of the supervisor was lost: no descriptors are left");
      return true;
    }
    // The supervisor is dead, and the kernel kills us with it: a 451 from now on would have no line in the log.
    if (status != scanner::PacketStatus::ok) ::_exit(EX_TEMPFAIL);
    if (const auto message = supervisor::decode(packet)) pass_on(*message, packet, std::move(fd));
    return true;
  }

 private:
  void pass_on(const Message& message, const std::string& packet, scanner::OwnedFd fd) {
    if (message.kind == Message::Kind::log_file && fd) log_.reopen(fd.release());
    else if (message.kind == Message::Kind::tls_files && fd) renew_tls(fd.get(), packet);
    else if (message.kind == Message::Kind::drain || message.kind == Message::Kind::cut) to_all(packet);
    else if (message.index < workers_.size()) send(workers_[message.index], packet, std::move(fd));
  }
  void renew_tls(int files, const std::string& packet) {
    if (shared_.use_tls_files(files)) to_all(packet);
    else log_.say(0, admin::Level::error, "TLS: the new certificates cannot be used; the former are kept");
  }
  void to_all(const std::string& packet) {
    for (Worker& worker : workers_) send(worker, packet, {});
  }
  static void send(Worker& worker, const std::string& packet, scanner::OwnedFd fd) {
    worker.unsent.send(worker.inbox.get(), packet, std::move(fd));
  }
  int socket_;
  std::vector<Worker>& workers_;
  ProxyShared& shared_;
  admin::Log& log_;
};

// Octets that this process has in memory (proc(5)); 0 when nobody says.
std::uint64_t own_memory() {
  unsigned long long resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "re");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%*u %llu", &resident) != 1) resident = 0;
  std::fclose(file);
  return resident * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
}

// What loops say of clients that may have to be banned.
class OffenceReader {
 public:
  OffenceReader(int socket, ProxyShared& shared) : socket_(socket), shared_(shared), offences_(shared.config) {}

  void read() {
    std::string packet;
    scanner::OwnedFd fd;
    for (int i = 0; i < most_at_once && scanner::receive_packet(socket_, packet, fd) == scanner::PacketStatus::ok; ++i)
      if (const auto message = supervisor::decode(packet)) take(*message);
  }

 private:
  static constexpr int most_at_once = 64;

  void take(const Message& message) {
    const auto request = ban_request_in(message, *shared_.config);
    if (!request || !offences_.add(*request, io::Clock::now())) return;
    if (!request->told) scanner::send_packet(shared_.control, encode(message));
    else tell(*request);
  }
  // The packets of this client are those of whoever speaks for it.
  void tell(const supervisor::BanRequest& request) {
    admin::Record record = shared_.log.record(admin::Level::warning);
    record.text("event", "not_banned").text("client", to_text(request.client));
    record.text("listener", shared_.config->listeners[request.listener].name);
    record.text("reason", config::to_string(request.what));
    record.message("a peer in front speaks for it, whose packets the kernel sees");
    shared_.log.write(0, admin::Level::warning, std::move(record));
  }
  int socket_;
  ProxyShared& shared_;
  Offences offences_;
};

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

// Behind the first two: loops that have left messages unread, until they have room.
void watch_unsent(std::vector<pollfd>& watched, const std::vector<Worker>& workers) {
  watched.resize(2);
  for (const Worker& worker : workers)
    if (!worker.unsent.empty()) watched.push_back({worker.inbox.get(), POLLOUT, 0});
}

// What is done once a second, outside of the loops.
void look_around(ProxyShared& shared) {
  if (shared.config->limits.memory != 0) shared.admission.note_memory(own_memory());
  for (const RefusedClients& refused : shared.refusals.due(io::Clock::now())) shared.log_refused(0, refused);
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
  ControlReader control(start.control.get(), workers, shared);
  std::vector<pollfd> watched{{start.control.get(), POLLIN, 0}, {from_loops.get(), POLLIN, 0}};
  OffenceReader offences(from_loops.get(), shared);
  RoomTeller room(shared);
  while (running > 0) {
    watch_unsent(watched, workers);
    ::poll(watched.data(), watched.size(), 1000);
    for (Worker& worker : workers) worker.unsent.flush(worker.inbox.get());
    look_around(shared);
    room.tell();
    for (int i = 0; watched[0].revents != 0 && i < ControlReader::most_at_once && control.read_one(); ++i) {
    }
    if (watched[1].revents != 0) offences.read();
  }
  for (Worker& worker : workers) worker.thread.join();
  return 0;
}
