#include "test/playbooks/memory_stream.h"

#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <vector>

namespace playbook {

using io::IoResult;
using io::IoStatus;

Peer::~Peer() {
  if (stream_ != nullptr) stream_->peer_ = nullptr;
}

std::unique_ptr<MemoryStream> Peer::connect(std::string address) {
  if (connected_) throw std::logic_error("a peer connects once");
  connected_ = true;
  auto stream = std::make_unique<MemoryStream>(*this, std::move(address));
  stream_ = stream.get();
  return stream;
}

void Peer::send(std::string_view bytes) {
  if (finished_ || reset_) throw std::logic_error("the script sends on a connection that it has closed");
  to_session_ += bytes;
  if (stream_ != nullptr && !bytes.empty()) stream_->readable.raise();
}

void Peer::finish() {
  finished_ = true;
  if (stream_ != nullptr) stream_->readable.raise();
}

void Peer::close() {
  closed_ = true;
  finish();
}

void Peer::reset() {
  reset_ = true;
  to_session_.clear();
  if (stream_ == nullptr) return;
  stream_->readable.raise();
  stream_->writable.raise();
}

void Peer::set_window(std::size_t octets) {
  window_ = octets;
  grant();
}

bool Peer::grant() {
  if (written_ == 0) return false;
  written_ = 0;
  if (stream_ != nullptr) stream_->writable.raise();
  return true;
}

std::string Peer::take(std::size_t octets) {
  std::string taken = received_.substr(0, octets);
  received_.erase(0, octets);
  return taken;
}

MemoryStream::~MemoryStream() {
  if (peer_ == nullptr) return;
  peer_->stream_ = nullptr;
  // As TCP does it: bytes that nobody read turn a close into a RST, too; scripts need not know that.
  peer_->end_ = abort_ ? Peer::End::reset : Peer::End::closed;
}

IoResult MemoryStream::read(char* into, std::size_t room) {
  if (peer_ == nullptr || peer_->reset_) return {IoStatus::reset, 0};
  std::string& bytes = peer_->to_session_;
  if (bytes.empty()) return {peer_->finished_ ? IoStatus::closed : IoStatus::would_block, 0};
  const std::size_t count = std::min(room, bytes.size());
  std::copy_n(bytes.begin(), count, into);
  bytes.erase(0, count);
  return {IoStatus::ok, count};
}

IoResult MemoryStream::write(const iovec* parts, int count) {
  if (peer_ == nullptr || peer_->reset_) return {IoStatus::reset, 0};
  std::string all;
  for (int i = 0; i < count; ++i) all.append(static_cast<const char*>(parts[i].iov_base), parts[i].iov_len);
  if (peer_->closed_) {
    if (peer_->lost_writes_) return {IoStatus::reset, 0};
    peer_->lost_writes_ = true;
    return {IoStatus::ok, all.size()};
  }
  const std::size_t room = peer_->window_ - std::min(peer_->window_, peer_->written_);
  if (room == 0 && !all.empty()) return {IoStatus::would_block, 0};
  if (all.size() > room) all.resize(room);
  if (peer_->window_ != Peer::unlimited) peer_->written_ += all.size();
  peer_->received_ += all;
  if (peer_->heard) peer_->heard(all);
  return {IoStatus::ok, all.size()};
}

IoResult MemoryStream::send_file(int fd, off_t offset, std::size_t count) {
  std::vector<char> piece(std::min<std::size_t>(count, 65536));
  const ssize_t got = ::pread(fd, piece.data(), piece.size(), offset);
  if (got <= 0) return {IoStatus::reset, 0};
  const iovec part{piece.data(), static_cast<std::size_t>(got)};
  return write(&part, 1);
}

void MemoryStream::shutdown_write() {
  if (peer_ != nullptr) peer_->end_ = Peer::End::shut;
}

}  // namespace playbook
