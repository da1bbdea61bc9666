#include "proxy/session/tunnel.h"

#include <string>

namespace session {
namespace {

constexpr std::size_t most_held = 65536;  // octets of one direction that the other side has not taken

// One direction.
class Lane {
 public:
  Lane(io::Stream& from, io::Stream& to) : from_(from), to_(to) {}

  // As far as it goes without waiting; true when something has moved.
  bool move() {
    const bool pushed = push();
    const bool pulled = pull();
    return push() || pushed || pulled;
  }
  bool over() const { return passed_end_; }
  bool lost() const { return lost_; }
  std::uint64_t octets() const { return octets_; }

 private:
  bool pull() {
    if (ended_ || held_.size() >= most_held) return false;
    const io::Scratch space = io::scratch();
    from_.look_again();
    const io::IoResult got = from_.read(space.data, space.size);
    if (got.status == io::IoStatus::would_block) return false;
    if (got.status == io::IoStatus::ok) held_.append(space.data, got.count);
    else if (got.status == io::IoStatus::closed) ended_ = true;
    else lost_ = true;
    return true;
  }

  bool push() {
    if (held_.empty()) {
      if (!ended_ || passed_end_) return false;
      to_.shutdown_write();
      passed_end_ = true;
      return true;
    }
    const iovec part{held_.data(), held_.size()};
    const io::IoResult sent = to_.write(&part, 1);
    if (sent.status == io::IoStatus::would_block) return false;
    if (sent.status != io::IoStatus::ok) {
      lost_ = true;
      return true;
    }
    octets_ += sent.count;
    held_.erase(0, sent.count);
    if (held_.empty()) std::string().swap(held_);
    return sent.count > 0;
  }

  io::Stream& from_;
  io::Stream& to_;
  std::string held_;
  std::uint64_t octets_ = 0;
  bool ended_ = false, passed_end_ = false, lost_ = false;
};

}  // namespace

io::Task<Tunnelled> tunnel(io::Stream& client, io::Stream& server, io::Scope& scope, io::Duration patience) {
  Lane up(client, server), down(server, client);
  Tunnelled done;
  io::TimePoint until = scope.now() + patience;
  while (!(up.over() && down.over()) && !up.lost() && !down.lost() && !done.idle) {
    const bool up_moved = up.move();
    const bool down_moved = down.move();
    if (up_moved || down_moved) {
      until = scope.now() + patience;
      co_await io::Yield(scope);  // two that never pause have company on this loop
      continue;
    }
    co_await io::Wait(scope, until, client.readable, client.writable, server.readable, server.writable);
    done.idle = scope.now() >= until;
  }
  done.from_client = up.octets();
  done.from_server = down.octets();
  co_return done;
}

}  // namespace session
