// Messages for one socket, in order: those for which it has no room yet wait here.
#pragma once

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <utility>

#include "scanner/packet_socket.h"

namespace supervisor {

class Outbox {
 public:
  // With a descriptor of its own, or none. The oldest is sent first, here or in flush(); what a peer that is gone does
  // not take is dropped.
  void send(int socket, std::string packet, scanner::OwnedFd fd = {});
  void flush(int socket);
  bool empty() const { return unsent_.empty(); }
  std::size_t size() const { return unsent_.size(); }
  std::size_t count(std::string_view packet) const;  // that wait and are like this one
  void clear() { unsent_.clear(); }

 private:
  std::deque<std::pair<std::string, scanner::OwnedFd>> unsent_;
};

}  // namespace supervisor
