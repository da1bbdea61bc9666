// Accepts connections; survives running out of descriptors without spinning (T:F5): it pauses and tries again, and a
// descriptor in reserve lets it turn clients away with a word instead of leaving them in the backlog.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <sys/socket.h>

#include "proxy/io/event_loop.h"
#include "proxy/io/wait.h"
#include "scanner/packet_socket.h"

namespace io {

struct Accepted {
  scanner::OwnedFd socket;  // non-blocking, close-on-exec
  sockaddr_storage peer{};
  socklen_t peer_length = 0;
};

class Listener final : public FdWatch::Owner {
 public:
  using Welcome = std::function<void(Accepted)>;
  using Starved = std::function<void(int error)>;  // out of descriptors or memory; called once per pause
  // `socket` listens and is non-blocking. `farewell` is written to clients that cannot be served for want of descriptors.
  Listener(EventLoop& loop, scanner::OwnedFd socket, std::string farewell, Welcome welcome, Starved starved);
  ~Listener();
  void close();  // accepts no more

 private:
  void on_ready(FdWatch::Ready ready) override;
  int accepts_now();
  void turn_away();
  Task<> pause_for(Duration time);

  EventLoop& loop_;
  scanner::OwnedFd socket_;
  scanner::OwnedFd reserve_;
  std::string farewell_;
  Welcome welcome_;
  Starved starved_;
  std::optional<FdWatch> watch_;
  int at_once_ = 1;               // connections accepted in one turn
  std::uint64_t last_turn_ = 0;   // in which there were any
  Scope scope_;
};

}  // namespace io
