#include "proxy/session/client_leg.h"

#include <algorithm>

#include "protocol/chunking.h"
#include "protocol/command.h"
#include "proxy/io/tls_stream.h"

namespace session {

void ClientLeg::take_input() {
  stream_->look_again();
  take_announced_input();
}

void ClientLeg::take_announced_input() {
  // A line without end is dropped as it comes, so that it never fills the buffer.
  more_ = false;
  for (unsigned reads = 0; !gone() && !full(); ++reads) {
    more_ = reads == most_reads;
    if (more_) return;
    const io::Scratch space = io::scratch();
    const io::IoResult got = stream_->read(space.data, space.size);
    if (got.status == io::IoStatus::would_block) return;
    if (got.status != io::IoStatus::ok) {
      end_ = got.status;
      return;
    }
    lines_.append(std::string_view(space.data, got.count));
  }
}

std::optional<protocol::Line> ClientLeg::next_line() {
  return lines_.next();
}

bool ClientLeg::quit_waits() const {
  protocol::LineBuffer ahead = lines_;
  while (const auto line = ahead.next()) {
    const protocol::Command command = protocol::parse_command(line->text);
    if (command.verb == protocol::Verb::quit) return true;
    if (command.verb != protocol::Verb::bdat) continue;
    if (const auto chunk = protocol::parse_bdat(command.argument))
      ahead.skip(static_cast<std::size_t>(std::min<std::uint64_t>(chunk->size, ahead.unread().size())));
  }
  return false;
}

io::IoStatus ClientLeg::read_content(std::string_view& bytes) {
  bytes = lines_.unread();
  lent_ = bytes.size();
  if (lent_ != 0) return io::IoStatus::ok;
  const io::Scratch space = io::scratch();
  stream_->look_again();
  const io::IoResult got = stream_->read(space.data, space.size);
  if (got.status == io::IoStatus::ok) bytes = std::string_view(space.data, got.count);
  else if (got.status != io::IoStatus::would_block) end_ = got.status;
  return got.status;
}

void ClientLeg::give_back(std::string_view rest) {
  if (lent_ == 0) {
    lines_.append(rest);
    return;
  }
  lines_.skip(lent_ - rest.size());
  lent_ = 0;
}

bool ClientLeg::flush_at_once() {
  std::string_view rest = out_;
  if (io::write_at_once(*stream_, rest) == io::IoStatus::ok) {
    std::string().swap(out_);  // clear() would keep the memory
    return true;
  }
  torn_ = rest.size() < out_.size();
  out_.erase(0, out_.size() - rest.size());
  return false;
}

io::Task<bool> ClientLeg::flush(io::TimePoint until) {
  const std::string bytes = std::move(out_);
  out_.clear();
  if (bytes.empty()) co_return true;
  torn_ = true;
  const io::IoStatus status = co_await write_all(*stream_, scope_, until, bytes);
  torn_ = status != io::IoStatus::ok;
  if (!torn_) co_return true;
  end_ = status == io::IoStatus::timeout ? io::IoStatus::reset : status;
  co_return false;
}

io::Task<std::expected<io::TlsFacts, io::TlsFailure>> ClientLeg::start_tls(
    std::shared_ptr<const io::TlsServerContext> context, io::TlsMeant meant, io::TimePoint until) {
  auto stream = std::make_unique<io::TlsStream>(std::move(stream_), std::move(context), std::move(meant));
  io::TlsStream& tls = *stream;
  stream_ = std::move(stream);
  torn_ = true;  // no plain text into a handshake
  io::TlsStream::Handshake shaken = co_await tls.handshake(scope_, until);
  torn_ = !shaken;
  if (!shaken) end_ = io::IoStatus::reset;
  co_return shaken;
}

void ClientLeg::flush_now() {
  if (out_.empty() || torn_) return;
  const iovec part{out_.data(), out_.size()};
  stream_->write(&part, 1);
  out_.clear();
}

}  // namespace session
