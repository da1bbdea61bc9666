// A bounded ring of log lines: one producing thread, one consuming thread, no lock, no allocation after construction.
// Its memory is touched only as far as lines have filled it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "proxy/admin/log.h"

namespace admin {

class Ring {
 public:
  static constexpr std::size_t octets = 256u << 10;

  Ring() : space_(new char[octets]) {}

  // The producing thread. False (and counted) when there is no room.
  bool push(Level level, std::int64_t unix_ms, std::string_view line);

  // The consuming thread. False when empty; `line` is overwritten.
  bool pop(Level& level, std::int64_t& unix_ms, std::string& line);

  // Any thread.
  bool empty() const { return head_.load() == tail_.load(); }
  bool half_full() const {
    return head_.load(std::memory_order_relaxed) - tail_.load(std::memory_order_relaxed) > octets / 2;
  }
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }
  void count_drop() { dropped_.fetch_add(1, std::memory_order_relaxed); }

 private:
  void put(std::size_t at, const char* bytes, std::size_t count);
  void get(std::size_t at, char* bytes, std::size_t count) const;

  std::unique_ptr<char[]> space_;
  alignas(64) std::atomic<std::size_t> head_{0};  // octets ever written; only the producer stores
  alignas(64) std::atomic<std::size_t> tail_{0};  // octets ever read; only the consumer stores
  alignas(64) std::atomic<std::uint64_t> dropped_{0};
};

}  // namespace admin
