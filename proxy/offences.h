// How often a client has done what it can be banned for, within the time of its listener's rule (config/bans.h). The
// loops tell the thread that started them, whose this is alone: no lock, and one count for all loops.
//
// Exact: the last `after` - 1 events of each client are remembered, each for as long as it counts. No more than `most`
// events of all together: past it the oldest is forgotten first.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <tuple>
#include <vector>

#include "config/config.h"
#include "proxy/io/loop.h"
#include "proxy/supervisor/ban_request.h"

class Offences {
 public:
  static constexpr std::size_t most = 65536;

  explicit Offences(std::shared_ptr<const config::Config> config) : config_(std::move(config)) {}

  // One more. True: that makes enough of them, and they are counted anew. A client of whom somebody in front has told
  // is another one than the same address without.
  bool add(const supervisor::BanRequest& offence, io::TimePoint now);
  std::size_t known() const { return order_.size(); }  // events that take memory

 private:
  using Key = std::tuple<std::uint32_t, config::Offence, bool, std::array<std::uint8_t, 16>>;  // a tree: see Admission
  struct Event {
    std::uint64_t number;
    io::TimePoint at;
  };
  void forget_oldest();

  std::shared_ptr<const config::Config> config_;
  std::map<Key, std::vector<Event>> counts_;
  std::deque<std::pair<Key, Event>> order_;  // some are in no count any more
  std::uint64_t numbers_ = 0;
};
