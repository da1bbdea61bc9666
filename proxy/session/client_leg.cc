#include "proxy/session/client_leg.h"

#include <algorithm>

#include "protocol/command.h"

namespace session {

void ClientLeg::take_input() {
  while (!gone() && !full()) {
    const io::Scratch space = io::scratch();
    const io::IoResult got = stream_->read(space.data, space.size);
    if (got.status == io::IoStatus::would_block) return;
    if (got.status != io::IoStatus::ok) {
      end_ = got.status;
      return;
    }
    lines_.append(std::string_view(space.data, got.count));
    unread_ += got.count;
    // Without a complete line the buffer holds less than one, or skips one that is too long: that is never full (T:A7).
    if (!lines_.has_line()) unread_ = 0;
  }
}

std::optional<protocol::Line> ClientLeg::next_line() {
  auto line = lines_.next();
  if (lines_.empty()) unread_ = 0;
  else if (line) unread_ -= std::min(unread_, line->text.size() + 1);
  return line;
}

bool ClientLeg::quit_waits() const {
  protocol::LineBuffer ahead = lines_;
  while (const auto line = ahead.next())
    if (protocol::parse_command(line->text).verb == protocol::Verb::quit) return true;
  return false;
}

io::IoStatus ClientLeg::read_content(std::string_view& bytes) {
  const io::Scratch space = io::scratch();
  const io::IoResult got = stream_->read(space.data, space.size);
  if (got.status == io::IoStatus::ok) bytes = std::string_view(space.data, got.count);
  else if (got.status != io::IoStatus::would_block) end_ = got.status;
  return got.status;
}

void ClientLeg::give_back(std::string_view bytes) {
  lines_.append(bytes);
  unread_ += bytes.size();
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

void ClientLeg::flush_now() {
  if (out_.empty() || torn_) return;
  const iovec part{out_.data(), out_.size()};
  stream_->write(&part, 1);
  out_.clear();
}

}  // namespace session
