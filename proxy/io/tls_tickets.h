// The keys of one listener's session tickets (RFC 5077, RFC 8446 4.6.1): shared by all loops, in memory only, changed
// every `period`. A ticket is good for one period, so the former key is kept for as long and then gone.
#pragma once

#include <array>
#include <cstdint>
#include <mutex>
#include <optional>

#include "proxy/io/loop.h"

namespace io {

class TicketKeys {
 public:
  static constexpr std::chrono::hours period{2};
  struct Key {
    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> cipher{};  // AES-256
    std::array<unsigned char, 32> mac{};     // HMAC-SHA-256
  };
  TicketKeys();  // throws std::runtime_error without random octets
  ~TicketKeys();
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // To encrypt with at `now`.
  Key current(TimePoint now);
  struct Found {
    Key key;
    bool former = false;  // good still, but the client should get a new ticket
  };
  std::optional<Found> find(const unsigned char* name, TimePoint now);

 private:
  void age(TimePoint now);
  std::mutex mutex_;  // held for a copy, at most for making a key
  Key current_;
  std::optional<Key> former_;
  std::optional<TimePoint> born_;
};

}  // namespace io
