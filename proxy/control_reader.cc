#include "proxy/control_reader.h"

#include <poll.h>

namespace {

constexpr std::chrono::seconds until_memory{1};

}  // namespace

short ControlReader::events(io::TimePoint now) const { return now < again_at_ ? 0 : POLLIN; }

bool ControlReader::read_one(io::TimePoint now) {
  using scanner::PacketStatus;
  std::string packet;
  scanner::OwnedFd fd;
  const PacketStatus status = scanner::receive_packet(socket_, packet, fd);
  if (status == PacketStatus::would_block) return false;
  if (status == PacketStatus::closed) {
    orphaned_();
    return false;
  }
  if (status == PacketStatus::failed) {
    // No memory, most likely, and the supervisor lives: no reason to end the sessions that run.
    again_at_ = now + until_memory;
    log_.say(0, admin::Level::error, "the supervisor cannot be heard now");
    return false;
  }
  if (status == PacketStatus::malformed) {
    // A descriptor that could not be taken: we have none left. No reason either.
    log_.say(0, admin::Level::error, "a message of the supervisor was lost: no descriptors are left");
    return true;
  }
  if (const auto message = supervisor::decode(packet)) obey_(*message, packet, std::move(fd));
  return true;
}
