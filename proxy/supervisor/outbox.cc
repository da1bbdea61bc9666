#include "proxy/supervisor/outbox.h"

#include <algorithm>

namespace supervisor {

void Outbox::send(int socket, std::string packet, scanner::OwnedFd fd) {
  unsent_.emplace_back(std::move(packet), std::move(fd));
  flush(socket);
}

void Outbox::flush(int socket) {
  while (!unsent_.empty()) {
    const auto& [bytes, fd] = unsent_.front();
    if (scanner::send_packet(socket, bytes, fd.get()) == scanner::PacketStatus::would_block) return;
    unsent_.pop_front();
  }
}

std::size_t Outbox::count(std::string_view packet) const {
  return static_cast<std::size_t>(
      std::ranges::count_if(unsent_, [&](const auto& each) { return each.first == packet; }));
}

}  // namespace supervisor
