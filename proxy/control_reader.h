// What the supervisor says to the proxy, read by the thread that started the loops.
#pragma once

#include <functional>
#include <string>

#include "proxy/admin/log.h"
#include "proxy/io/loop.h"
#include "proxy/supervisor/control.h"
#include "scanner/packet_socket.h"

class ControlReader {
 public:
  static constexpr int most_at_once = 64;
  using Obey = std::function<void(const supervisor::Message& message, const std::string& packet, scanner::OwnedFd fd)>;

  // `socket` stays the caller's. `orphaned`: the supervisor is gone.
  ControlReader(int socket, admin::Log& log, Obey obey, std::function<void()> orphaned)
      : socket_(socket), log_(log), obey_(std::move(obey)), orphaned_(std::move(orphaned)) {}

  // What to wait for, as poll() has it. Nothing for a second after the kernel would not give what is there.
  short events(io::TimePoint now) const;
  // False: nothing is there, or not now.
  bool read_one(io::TimePoint now);

 private:
  int socket_;
  admin::Log& log_;
  Obey obey_;
  std::function<void()> orphaned_;
  io::TimePoint again_at_{};
};
