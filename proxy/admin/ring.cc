#include "proxy/admin/ring.h"

#include <algorithm>
#include <cstring>

namespace admin {
namespace {

struct Entry {
  std::uint32_t length;
  std::uint32_t level;
  std::int64_t unix_ms;
};
static_assert(sizeof(Entry) == 16 && Ring::octets % sizeof(Entry) == 0);

// Entries begin at multiples of their head's size, so that a head is never split by the end of the ring.
constexpr std::size_t footprint(std::size_t length) {
  return (sizeof(Entry) + length + sizeof(Entry) - 1) & ~(sizeof(Entry) - 1);
}

}  // namespace

void Ring::put(std::size_t at, const char* bytes, std::size_t count) {
  const std::size_t place = at % octets;
  const std::size_t first = std::min(count, octets - place);
  std::memcpy(space_.get() + place, bytes, first);
  std::memcpy(space_.get(), bytes + first, count - first);
}

void Ring::get(std::size_t at, char* bytes, std::size_t count) const {
  const std::size_t place = at % octets;
  const std::size_t first = std::min(count, octets - place);
  std::memcpy(bytes, space_.get() + place, first);
  std::memcpy(bytes + first, space_.get(), count - first);
}

bool Ring::push(Level level, std::int64_t unix_ms, std::string_view line) {
  const std::size_t head = head_.load(std::memory_order_relaxed);
  const std::size_t used = head - tail_.load(std::memory_order_acquire);
  if (line.size() > octets / 2 || footprint(line.size()) > octets - used) {
    count_drop();
    return false;
  }
  const Entry entry{static_cast<std::uint32_t>(line.size()), static_cast<std::uint32_t>(level), unix_ms};
  char bytes[sizeof entry];
  std::memcpy(bytes, &entry, sizeof entry);
  put(head, bytes, sizeof bytes);
  put(head + sizeof entry, line.data(), line.size());
  // seq_cst: the producer then looks whether the writer sleeps, the writer looks at the rings after saying that it
  // does.
  head_.store(head + footprint(line.size()), std::memory_order_seq_cst);
  return true;
}

bool Ring::pop(Level& level, std::int64_t& unix_ms, std::string& line) {
  const std::size_t tail = tail_.load(std::memory_order_relaxed);
  if (head_.load(std::memory_order_seq_cst) == tail) return false;
  char bytes[sizeof(Entry)];
  get(tail, bytes, sizeof bytes);
  Entry entry;
  std::memcpy(&entry, bytes, sizeof entry);
  level = static_cast<Level>(entry.level);
  unix_ms = entry.unix_ms;
  line.resize(entry.length);
  get(tail + sizeof entry, line.data(), line.size());
  tail_.store(tail + footprint(entry.length), std::memory_order_release);
  return true;
}

}  // namespace admin
