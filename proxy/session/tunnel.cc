#include "proxy/session/tunnel.h"

#include <string>

namespace session {
namespace {

constexpr std::size_t most_held = 65536;  // octets of one direction that the other side has not taken

// How a TLS record begins (RFC 8446 5.1): its type, then 3 for the version.
constexpr char handshake = 22, alert = 21, version = 3;

// One direction. `types`: of the records that it may begin with.
class Lane {
 public:
  Lane(io::Stream& from, io::Stream& to, std::string_view types, std::uint64_t& octets)
      : from_(from), to_(to), types_(types), octets_(octets) {}

  // As far as it goes without waiting; true when something has moved.
  bool move() {
    const bool pushed = push();
    const bool pulled = pull();
    return push() || pushed || pulled;
  }
  bool over() const { return passed_end_; }
  bool lost() const { return lost_; }
  bool plain() const { return begun_ == Begun::plain; }

 private:
  enum class Begun { no, tls, plain };

  // As soon as its first two octets tell.
  void look_at_beginning() {
    if (begun_ != Begun::no || held_.empty() || (held_.size() == 1 && !ended_)) return;
    const bool tls = held_.size() > 1 && types_.find(held_[0]) != std::string_view::npos && held_[1] == version;
    begun_ = tls ? Begun::tls : Begun::plain;
  }

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
    look_at_beginning();
    if (begun_ != Begun::tls) return false;
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
  std::string_view types_;
  std::string held_;
  std::uint64_t& octets_;
  Begun begun_ = Begun::no;
  bool ended_ = false, passed_end_ = false, lost_ = false;
};

}  // namespace

io::Task<> tunnel(io::Stream& client, io::Stream& server, io::Scope& scope, io::Duration patience, Tunnelled& done) {
  constexpr char from_client[] = {handshake}, from_server[] = {handshake, alert};
  Lane up(client, server, std::string_view(from_client, 1), done.from_client);
  Lane down(server, client, std::string_view(from_server, 2), done.from_server);
  bool idle = false;
  io::TimePoint until = scope.now() + patience;
  while (!(up.over() && down.over()) && !up.lost() && !down.lost() && !up.plain() && !down.plain() && !idle) {
    const bool up_moved = up.move();
    const bool down_moved = down.move();
    if (up_moved || down_moved) {
      until = scope.now() + patience;
      co_await io::Yield(scope);  // two that never pause have company on this loop
      continue;
    }
    co_await io::Wait(scope, until, client.readable, client.writable, server.readable, server.writable);
    idle = scope.now() >= until;
  }
  done.ended = up.plain() || down.plain() ? "not_tls" : idle ? "idle" : up.lost() || down.lost() ? "lost" : "closed";
}

}  // namespace session
