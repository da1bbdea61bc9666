// The loop over libevent: one event_base per thread, no locks. event_loop.cc is the only file that knows libevent's event.
#pragma once

#include <cstdint>

#include "proxy/io/loop.h"

struct event;
struct event_base;

namespace io {

class EventLoop : public Loop {
 public:
  EventLoop();  // throws std::runtime_error
  ~EventLoop() override;

  // Read once a turn, when somebody asks first.
  TimePoint now() const override;
  void run();   // until quit(); then it may run again
  void quit() { quit_ = true; }
  std::uint64_t turn() const { return turn_; }  // how many there have been

 private:
  friend class FdWatch;
  friend class UnboundResolver;  // libunbound registers with libevent itself
  void deadline_moved() override;
  void arm_timer();
  event_base* base_;
  event* timer_;
  mutable TimePoint now_{};
  mutable bool stale_ = true;
  TimePoint armed_ = never;
  std::uint64_t turn_ = 0;
  bool quit_ = false;
};

// Watches one descriptor as long as it lives; destroy it before the descriptor is closed.
class FdWatch {
 public:
  enum class Mode { stream, readable };  // stream: edge-triggered read, write and peer-closed; readable: level-triggered
  struct Ready {
    bool readable = false;
    bool writable = false;
    bool peer_closed = false;
  };
  class Owner {
   public:
    virtual void on_ready(Ready ready) = 0;

   protected:
    ~Owner() = default;
  };
  FdWatch(EventLoop& loop, int fd, Mode mode, Owner& owner);
  ~FdWatch();
  FdWatch(const FdWatch&) = delete;
  FdWatch& operator=(const FdWatch&) = delete;
  void pause();   // no more calls until resume()
  [[nodiscard]] bool resume();  // false: not yet, for want of memory; to be tried again

 private:
  Owner& owner_;
  event* event_;
  bool paused_ = false;
};

}  // namespace io
