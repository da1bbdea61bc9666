#include "proxy/io/channel.h"

namespace io {

Channel::Call::~Call() {
  if (channel_ != nullptr) channel_->calls_.erase(id_);
}

Channel::~Channel() { drop_peer(); }

void Channel::attach(scanner::OwnedFd socket) {
  drop_peer();
  watch_.emplace(loop_, socket.get(), FdWatch::Mode::readable, *this);
  socket_ = std::move(socket);  // what cannot be watched is no peer
}

void Channel::drop_peer() {
  watch_.reset();
  socket_.reset();
  for (auto& [id, call] : calls_) {
    call->lost_ = true;
    call->channel_ = nullptr;
    call->answered.raise();
  }
  calls_.clear();
}

void Channel::lose_peer() {
  drop_peer();
  lost_();
}

std::unique_ptr<Channel::Call> Channel::call(std::uint64_t id, std::string_view packet, int fd) {
  std::unique_ptr<Call> call(new Call(*this, id));
  full_ = false;
  const auto status = socket_ ? scanner::send_packet(socket_.get(), packet, fd) : scanner::PacketStatus::closed;
  if (status == scanner::PacketStatus::ok) {
    call->sent_ = true;
    calls_.emplace(id, call.get());
  } else {
    full_ = status == scanner::PacketStatus::would_block;
    call->lost_ = true;
    call->channel_ = nullptr;
  }
  return call;
}

bool Channel::send(std::string_view packet) {
  return socket_ && scanner::send_packet(socket_.get(), packet) == scanner::PacketStatus::ok;
}

void Channel::on_ready(FdWatch::Ready) {
  std::string packet;
  scanner::OwnedFd fd;  // no answer carries one; closed if it comes
  // Level-triggered: one packet a turn costs one system call less than reading until there is none.
  switch (scanner::receive_packet(socket_.get(), packet, fd)) {
    case scanner::PacketStatus::would_block:
      return;
    case scanner::PacketStatus::ok:
      break;
    default:
      lose_peer();
      return;
  }
  const auto id = id_of_(packet);
  if (!id) {
    other_(packet);
    return;
  }
  const auto found = calls_.find(*id);
  if (found == calls_.end()) return;  // nobody waits for it any more
  Call* call = found->second;
  calls_.erase(found);
  call->channel_ = nullptr;
  call->answer_ = std::move(packet);
  call->answered.raise();
}

}  // namespace io
