#include "proxy/session/connection_pool.h"

#include <algorithm>
#include <ranges>

namespace session {
namespace {

// In order, but nobody waits for the answer.
void say_quit(io::Stream& stream) {
  const iovec part{const_cast<char*>("QUIT\r\n"), 6};
  stream.write(&part, 1);
}

// True as long as it lives.
class Flag {
 public:
  explicit Flag(bool& flag) : flag_(flag) { flag_ = true; }
  Flag(const Flag&) = delete;
  Flag& operator=(const Flag&) = delete;
  ~Flag() { flag_ = false; }

 private:
  bool& flag_;
};

bool is_silent(io::Stream& stream) {
  const io::Scratch space = io::scratch();
  return stream.read(space.data, space.size).status == io::IoStatus::would_block;
}

}  // namespace

std::optional<IdleConnection> ConnectionPool::take(const config::Downstream& downstream) {
  const io::TimePoint now = loop_.now();
  for (auto each = idle_.end(); each != idle_.begin();) {
    --each;
    if (each->downstream != &downstream || each->until <= now) continue;
    IdleConnection taken = std::move(each->connection);
    each = idle_.erase(each);
    if (is_silent(*taken.stream)) return taken;
  }
  return std::nullopt;
}

void ConnectionPool::keep(const config::Downstream& downstream, IdleConnection connection) {
  const auto same = [&](const Idle& each) { return each.downstream == &downstream; };
  if (loop_.draining() || std::ranges::count_if(idle_, same) >= static_cast<std::ptrdiff_t>(most_idle))
    return say_quit(*connection.stream);
  idle_.emplace_back(&downstream, std::move(connection), loop_.now() + longest_idle);
  if (!swept_) loop_.spawn(sweep());
}

// Lives as long as something is idle, so that an idle proxy has no timer.
io::Task<> ConnectionPool::sweep() {
  const Flag here(swept_);
  io::Scope scope(loop_);
  try {
    while (!idle_.empty() && !scope.draining()) {
      co_await io::Wait(scope, idle_.front().until, scope.drained);
      while (!idle_.empty() && (scope.draining() || idle_.front().until <= scope.now())) {
        say_quit(*idle_.front().connection.stream);
        idle_.pop_front();
      }
    }
  } catch (const io::Stopped&) {
  }
}

}  // namespace session
