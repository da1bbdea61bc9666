// One worker as the nursery sees it: a forked process behind a socket, its job and deadline, its death and successor.
#pragma once

#include <sys/types.h>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "scanner/engine.h"
#include "scanner/packet_socket.h"
#include "scanner/temporary.h"

namespace scanner {

using Clock = std::chrono::steady_clock;

// How a process ended.
struct Death {
  int signal = 0;            // 0 = it exited
  int exit_code = 0;         // when it exited
  std::string text() const;  // "SIGSEGV", "exit status 3"
};

class WorkerProcess {
 public:
  enum class State {
    absent,  // to be started at start_at()
    idle,
    busy,  // with a job, until deadline()
    dying  // killed; its socket will close soon
  };

  WorkerProcess(Engine& engine, const Settings& settings, std::string directory)
      : engine_(&engine), settings_(&settings), directory_(std::move(directory)) {}

  State state() const { return state_; }
  int socket() const { return socket_.get(); }
  pid_t pid() const { return pid_; }
  Clock::time_point start_at() const { return start_at_; }
  Clock::time_point deadline() const { return deadline_; }

  // absent -> idle: forks. false = the system refused; start_at() is then later.
  bool start(Clock::time_point now);
  // idle -> busy: hands a request and its descriptor over. false = the worker is gone.
  bool hand(std::string_view request, int fd, Clock::time_point deadline);
  // busy -> idle, after its report.
  void finished();
  // -> dying: SIGKILL.
  void kill();
  // -> absent: reaps the process, whatever it did, and empties its directory. `restart` = when a successor may start:
  // at once, or later each time when workers die young without having finished anything.
  Death bury(Clock::time_point now);

 private:
  [[noreturn]] void live(pid_t nursery, OwnedFd socket);
  void back_off(Clock::time_point now, std::chrono::milliseconds longest);

  Engine* engine_;
  const Settings* settings_;
  std::string directory_;
  State state_ = State::absent;
  OwnedFd socket_;
  pid_t pid_ = -1;
  Clock::time_point start_at_{}, started_{}, deadline_{};
  std::uint64_t scans_ = 0;
  unsigned young_deaths_ = 0;  // in a row
};

}  // namespace scanner
