// One child process of the supervisor: started, spoken to over its control socket, started again after its death with a
// growing pause.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "proxy/supervisor/backoff.h"
#include "proxy/supervisor/control.h"
#include "proxy/supervisor/outbox.h"
#include "scanner/packet_socket.h"

namespace supervisor {

using Clock = std::chrono::steady_clock;

// How a child ended.
struct End {
  int status = 0;  // exit status; -1 = by a signal
  int signal = 0;
  std::string text() const;  // "exit status 78", "SIGSEGV"
};

class Child {
 public:
  explicit Child(std::string name) : name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  pid_t pid() const { return pid_; }
  bool running() const { return pid_ > 0; }
  // Not running, and its pause is over.
  bool due(Clock::time_point now) const { return !running() && start_at_ <= now; }
  Clock::time_point start_at() const { return start_at_; }
  Clock::time_point started() const { return started_; }

  // Forks. The child runs `body` with its end of the control socket; the result is its exit status. It has standard
  // input, output and error, that socket and `keep`; SIGPIPE, SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGUSR2 are ignored
  // (orders come over the socket), and it dies with us. False, with errno, when the system refuses.
  bool fork(const std::function<int(scanner::OwnedFd control)>& body, std::vector<int> keep);
  // For a program that was started otherwise; `control` is our end of its control socket.
  void adopt(pid_t pid, scanner::OwnedFd control);

  // Sends, or keeps until there is room; nothing happens when the child is gone, or has left thousands of them unread.
  void tell(const Message& message, scanner::OwnedFd fd = {}) { send(encode(message), std::move(fd)); }
  void send(std::string packet, scanner::OwnedFd fd);
  void flush();
  bool has_unsent() const { return !unsent_.empty(); }
  std::size_t unsent(const Message& message) const { return unsent_.count(encode(message)); }  // how many like this one
  int control() const { return control_.get(); }
  void close_control() { control_.reset(); }
  // What one that does our work has said next. None: nothing yet, or it is gone, and its death comes by SIGCHLD.
  std::optional<std::string> heard();
  void signal(int number) const;

  // It is dead, or could not be started: sets the time of the next start. Returns the pause.
  std::chrono::milliseconds buried(Clock::time_point now);
  // The next death is our doing: no pause, no warning. From `by` on it is to be killed.
  void expect_end(Clock::time_point by);
  bool end_expected() const { return kill_at_.has_value(); }
  void kill_overdue(Clock::time_point now);
  std::optional<Clock::time_point> kill_at() const { return kill_at_; }

  bool ready = false;  // said so

 private:
  std::string name_;
  pid_t pid_ = -1;
  scanner::OwnedFd control_;
  Outbox unsent_;
  Backoff backoff_;
  Clock::time_point started_{}, start_at_{};
  std::optional<Clock::time_point> kill_at_;
};

}  // namespace supervisor
