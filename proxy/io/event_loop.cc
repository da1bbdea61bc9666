#include "proxy/io/event_loop.h"

#include <event2/event.h>
#include <new>
#include <stdexcept>

namespace io {
namespace {

event_base* make_base() {
  event_config* config = event_config_new();
  if (config == nullptr) throw std::bad_alloc();
  event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK | EVENT_BASE_FLAG_NO_CACHE_TIME);
  event_config_require_features(config, EV_FEATURE_ET | EV_FEATURE_EARLY_CLOSE);
  event_base* base = event_base_new_with_config(config);
  event_config_free(config);
  if (base == nullptr) throw std::runtime_error("no event mechanism with edge triggers (epoll) is available");
  return base;
}

timeval time_left(TimePoint now, TimePoint until) {
  const auto left = until <= now ? Duration::zero() : until - now;
  const auto us = std::chrono::ceil<std::chrono::microseconds>(left).count();
  return {static_cast<time_t>(us / 1'000'000), static_cast<suseconds_t>(us % 1'000'000)};
}

}  // namespace

EventLoop::EventLoop() : base_(make_base()), timer_(nullptr) {
  // The timer only ends a turn of the loop; run() looks at the deadlines after every turn.
  timer_ = evtimer_new(base_, [](evutil_socket_t, short, void* me) { static_cast<EventLoop*>(me)->armed_ = never; }, this);
  if (timer_ == nullptr) throw std::bad_alloc();
}

EventLoop::~EventLoop() {
  destroy_roots();
  event_free(timer_);
  event_base_free(base_);
}

TimePoint EventLoop::now() const {
  if (stale_) {
    now_ = Clock::now();
    stale_ = false;
  }
  return now_;
}

void EventLoop::deadline_moved() { arm_timer(); }

void EventLoop::arm_timer() {
  // Lazy: an armed time that is too early only costs one idle turn, so a cancelled deadline never re-arms.
  const auto next = next_deadline();
  if (!next || armed_ <= *next) return;
  armed_ = *next;
  const timeval tv = time_left(now(), *next);
  event_add(timer_, &tv);
}

void EventLoop::run() {
  while (!quit_) {
    arm_timer();
    ++turn_;
    stale_ = true;  // waiting takes time
    event_base_loop(base_, EVLOOP_ONCE | EVLOOP_NO_EXIT_ON_EMPTY | (has_ready() ? EVLOOP_NONBLOCK : 0));
    fire_due(now());
    run_ready();
    stale_ = true;
  }
  quit_ = false;
}

FdWatch::FdWatch(EventLoop& loop, int fd, Mode mode, Owner& owner) : owner_(owner), event_(nullptr) {
  const auto called = [](evutil_socket_t, short what, void* me) {
    Ready ready;
    ready.readable = (what & EV_READ) != 0;
    ready.writable = (what & EV_WRITE) != 0;
    ready.peer_closed = (what & EV_CLOSED) != 0;
    try {
      static_cast<FdWatch*>(me)->owner_.on_ready(ready);
    } catch (const std::exception&) {
      // libevent is C: nothing may pass through it. Level-triggered descriptors are looked at again in the next turn.
    }
  };
  const int what = mode == Mode::stream ? EV_READ | EV_WRITE | EV_CLOSED | EV_ET | EV_PERSIST : EV_READ | EV_PERSIST;
  event_ = event_new(loop.base_, fd, static_cast<short>(what), called, this);
  if (event_ == nullptr) throw std::bad_alloc();
  if (event_add(event_, nullptr) != 0) {
    event_free(event_);
    throw std::runtime_error("cannot watch a descriptor");
  }
}

FdWatch::~FdWatch() { event_free(event_); }

void FdWatch::pause() {
  if (!paused_) event_del(event_);
  paused_ = true;
}

bool FdWatch::resume() {
  if (paused_ && event_add(event_, nullptr) != 0) return false;
  paused_ = false;
  return true;
}

}  // namespace io
