// The window: a shared memfd with one slot per in-flight end of data, from before our final dot until the reply is
// written. When a proxy dies, the supervisor logs `outcome=unknown` for each used slot. No locks: a slot belongs to one
// loop; `used` is written last on open and first on close.
#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string_view>

namespace supervisor {

// An end of data: whose message, from where to where.
struct EndOfData {
  std::string_view trace_id;
  std::uint64_t size = 0;               // octets of content
  std::array<std::uint64_t, 2> hash{};  // 128-bit XXH3 of the content
  std::string_view client;              // address
  std::string_view listener;
  std::string_view direction;  // config::told_direction
  std::string_view downstream;
};

// One cache line less to share between loops: a slot begins where a line begins. Texts are zero-terminated, and cut.
struct alignas(64) WindowSlot {
  std::atomic<std::uint32_t> used{0};
  std::uint64_t size = 0;
  std::array<std::uint64_t, 2> hash{};
  std::array<char, 24> trace_id{};
  std::array<char, 64> client{};
  std::array<char, 64> listener{};
  std::array<char, 16> direction{};
  std::array<char, 64> downstream{};
};

// A mapping of the shared slots: `loops` x `per_loop`. Made by the supervisor before it forks; the proxy inherits it.
class Window {
 public:
  Window(unsigned loops, unsigned per_loop);  // throws std::system_error
  ~Window();
  Window(const Window&) = delete;
  Window& operator=(const Window&) = delete;

  // nullptr when all slots of the loop are in use (then the message is deferred before its final dot).
  WindowSlot* open(unsigned loop, const EndOfData& end);
  static void close(WindowSlot* slot);
  // Is any end of data in flight?
  bool in_use() const;
  // Calls `seen` for each used slot and empties it. For the supervisor after the proxy's death.
  void sweep(const std::function<void(const WindowSlot&)>& seen);

 private:
  WindowSlot* slots_;
  unsigned loops_, per_loop_;
};

}  // namespace supervisor
