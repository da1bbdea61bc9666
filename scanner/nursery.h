// Dispatcher: requests from the proxy's loops in, reports out. Forks the workers after the signatures are loaded, so
// that they share them copy-on-write, and is single-threaded. Never looks at content.
//
// One bounded queue (settings.queue) for all loops; one deadline per busy worker, at which it is killed and its message
// becomes unscannable(time). A worker that dies costs the message that it held: error(crashed, killed or memory).
// A socket that closes, or sends what is no request, is dropped with its jobs, and the workers that scan for it are
// killed; the others live on. Sockets are numbered and no number is used twice, so no answer meets another proxy's job.
#pragma once

#include <deque>
#include <map>
#include <vector>

#include "scanner/job.h"
#include "scanner/packet_socket.h"
#include "scanner/worker_process.h"

namespace scanner {

class Nursery {
 public:
  // `sockets` are non-blocking, one per loop of the proxy; more come over `control`, where there is one. SIGTERM is
  // blocked by the caller. Starts the workers and says hello. Throws std::system_error when the system lacks what it
  // needs.
  Nursery(Engine& engine, const Settings& settings, const std::string& directory, std::vector<OwnedFd> sockets,
          OwnedFd control);

  // Serves until all sockets are closed, or SIGTERM and everything accepted is answered (new requests get
  // error(not_ready)), or a second SIGTERM. All workers are dead and reaped when it returns.
  void run();

 private:
  struct Proxy {
    OwnedFd socket;
    std::deque<std::string> backlog;  // what it has not taken yet; while there is some, nothing more is read from it
  };
  struct Job {
    std::size_t proxy = 0;
    std::uint64_t id = 0;
    std::chrono::milliseconds limit{};
    Clock::time_point deadline{};  // from its acceptance on: whoever asked waits no longer
    std::string packet;            // the request as it came; empty for a job that went to a worker
    OwnedFd fd;
  };

  void wait();
  int wait_ms(Clock::time_point now) const;
  void start_workers(Clock::time_point now);
  void end_overdue(Clock::time_point now);
  void read_signal();
  void read_control();
  void add(OwnedFd socket);
  void read_proxy(std::size_t number);
  void accept(std::size_t number, const Request& request);
  void cancel(std::size_t number, std::uint64_t id);
  void read_worker(std::size_t index);
  void take_report(std::size_t index);
  void lost(std::size_t index);
  bool assign(std::size_t index, Job& job, std::string_view packet, int fd);
  void assign_queued();
  void answer(const Job& job, Report report);
  void send(std::size_t proxy, std::string_view packet);
  bool flush(std::size_t number);                       // true when it is there and has taken all
  void drop(std::size_t number, std::string_view why);  // empty = it just closed
  void watch(int operation, int fd, std::uint32_t events, std::uint64_t key);
  void end();

  const Settings& settings_;
  std::string hello_;
  OwnedFd epoll_, signals_, control_;
  std::map<std::size_t, Proxy> proxies_;  // by number
  std::size_t next_number_ = 0;
  std::vector<WorkerProcess> workers_;
  std::vector<Job> jobs_;          // of the busy workers, by index
  std::vector<std::size_t> idle_;  // the one that worked last is at the end: its caches are warm
  std::deque<Job> queue_;
  unsigned terms_ = 0;  // SIGTERMs so far
  std::string packet_;  // last received
  OwnedFd fd_;          // last received
};

}  // namespace scanner
