// Runs a task on a real event loop to its end, or until a deadline that only a broken test reaches.
#pragma once

#include <doctest/doctest.h>

#include <utility>

#include "proxy/io/event_loop.h"
#include "proxy/io/wait.h"

namespace io_test {

class LoopRun {
 public:
  io::EventLoop loop;

  void finish(io::Task<> task) {
    done_ = false;
    io::Scope guard(loop);
    loop.spawn(watchdog(guard));
    loop.spawn(main(std::move(task)));
    loop.run();
    loop.destroy_roots();
    CHECK_MESSAGE(done_, "the task did not end in time");
  }

 private:
  io::Task<> main(io::Task<> task) {
    co_await task;
    done_ = true;
    loop.quit();
  }
  io::Task<> watchdog(io::Scope& guard) {
    co_await io::Wait(guard, loop.now() + std::chrono::seconds(30));
    loop.quit();
  }
  bool done_ = false;
};

}  // namespace io_test
