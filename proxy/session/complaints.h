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

  static constexpr std::size_t most_known = 1000;  // past it all further ones are one

  // True: say it now.
  bool may_be_told(const std::string& about, io::TimePoint now) {
    const std::lock_guard lock(mutex_);
    auto place = told_.find(about);
    if (place == told_.end()) {
      make_room(now);
      place = told_.try_emplace(told_.size() < most_known ? about : std::string(), io::TimePoint{}).first;
    }
    if (place->second != io::TimePoint{} && now - place->second < between) return false;
    place->second = now;
    return true;
  }
  // Somebody asks for all of it again.
  void forget() {
    const std::lock_guard lock(mutex_);
    told_.clear();
    swept_ = io::TimePoint{};
  }

 private:
  // Of what was told more than a minute ago; looked through once a second at most.
  void make_room(io::TimePoint now) {
    if (told_.size() < most_known || now - swept_ < std::chrono::seconds(1)) return;
    swept_ = now;
    std::erase_if(told_, [now](const auto& each) { return now - each.second >= between; });
  }

  std::mutex mutex_;
  io::TimePoint swept_{};
  std::map<std::string, io::TimePoint> told_;
};

}  // namespace session
