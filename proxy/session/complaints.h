// What is to be logged once a minute, whichever loop has it to say.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <mutex>
#include <string>

#include "proxy/io/loop.h"

namespace session {

// Shared by all loops of the process; the lock is held for one look-up.
class Complaints {
 public:
  static constexpr std::chrono::minutes between{1};

  // True: say it now.
  bool may_be_told(const std::string& about, io::TimePoint now) {
    const std::lock_guard lock(mutex_);
    if (told_.size() >= most_known) std::erase_if(told_, [now](const auto& each) { return now - each.second >= between; });
    const auto [place, is_new] = told_.try_emplace(about, now);
    if (!is_new && now - place->second < between) return false;
    place->second = now;
    return true;
  }
  // Somebody asks for all of it again.
  void forget() {
    const std::lock_guard lock(mutex_);
    told_.clear();
  }

 private:
  static constexpr std::size_t most_known = 1000;
  std::mutex mutex_;
  std::map<std::string, io::TimePoint> told_;
};

}  // namespace session
