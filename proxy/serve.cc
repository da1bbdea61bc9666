#include "proxy/serve.h"

#include <csignal>
#include <cstdio>
#include <poll.h>
#include <thread>
#include <unistd.h>

#include "proxy/proxy_loop.h"
#include "proxy/supervisor/control.h"

namespace {

using supervisor::Message;

struct Worker {
  std::unique_ptr<ProxyLoop> loop;
  scanner::OwnedFd inbox;
  std::thread thread;
};

// Hands each message to the loop that it is for; returns when the supervisor is gone or said drain or cut.
class ControlReader {
 public:
  ControlReader(int socket, std::vector<Worker>& workers, ProxyShared& shared)
      : socket_(socket), workers_(workers), shared_(shared), log_(shared.log) {}

  // False when the control socket is finished.
  bool read_one() {
    std::string packet;
    scanner::OwnedFd fd;
    const auto status = scanner::receive_packet(socket_, packet, fd);
    if (status == scanner::PacketStatus::would_block) return true;
    if (status == scanner::PacketStatus::malformed) {
      // A descriptor that could not be taken: we have none left. No reason to end the sessions that run.
      log_.say(0, admin::Level::error, "a message of the supervisor was lost: no descriptors are left");
      return true;
    }
    if (status != scanner::PacketStatus::ok) {
      Message cut;
      cut.kind = Message::Kind::cut;
      to_all(encode(cut));
      return false;
    }
    if (const auto message = supervisor::decode(packet)) pass_on(*message, packet, std::move(fd));
    return true;
  }

 private:
  void pass_on(const Message& message, const std::string& packet, scanner::OwnedFd fd) {
    if (message.kind == Message::Kind::log_file && fd) log_.reopen(fd.release());
    else if (message.kind == Message::Kind::tls_files && fd) renew_tls(fd.get(), packet);
    else if (message.kind == Message::Kind::drain || message.kind == Message::Kind::cut) to_all(packet);
    else if (message.index < workers_.size()) scanner::send_packet(workers_[message.index].inbox.get(), packet, fd.get());
  }
  void renew_tls(int files, const std::string& packet) {
    if (shared_.use_tls_files(files)) to_all(packet);
    else log_.say(0, admin::Level::error, "TLS: the new certificates cannot be used; the former are kept");
  }
  void to_all(const std::string& packet) {
    for (const Worker& worker : workers_) scanner::send_packet(worker.inbox.get(), packet);
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
  auto [ended, ended_here] = scanner::make_packet_pair();
  for (std::size_t i = 0; i < loops; ++i) {
    auto [ours, theirs] = scanner::make_packet_pair();
    workers[i].inbox = std::move(ours);
    workers[i].loop = std::make_unique<ProxyLoop>(shared, static_cast<unsigned>(i), std::move(start.listeners[i]), std::move(theirs));
  }
  for (Worker& worker : workers)
    worker.thread = std::thread([&worker, &running, socket = ended.get()] {
      worker.loop->run();
      --running;
      scanner::send_packet(socket, "ended");
    });
  Message ready;
  ready.kind = Message::Kind::ready;
  scanner::send_packet(start.control.get(), encode(ready));
  ControlReader control(start.control.get(), workers, shared);
  pollfd watched[2] = {{start.control.get(), POLLIN, 0}, {ended_here.get(), POLLIN, 0}};
  while (running > 0) {
    ::poll(watched, 2, 1000);
    look_around(shared);
    if (watched[0].revents != 0 && !control.read_one()) watched[0].fd = -1;
    std::string packet;
    scanner::OwnedFd fd;
    if (watched[1].revents != 0) scanner::receive_packet(ended_here.get(), packet, fd);
  }
  for (Worker& worker : workers) worker.thread.join();
  return 0;
}
