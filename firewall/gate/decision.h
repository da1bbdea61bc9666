// What becomes of a new connection, as a value: no packet, no kernel, no clock of its own. What the skip lists hold does
// not come here: the kernel lets it by, by the rules in force.
#pragma once

#include <cstdint>
#include <expected>
#include <vector>

#include "firewall/gate/packet.h"
#include "firewall/gate/rates.h"
#include "firewall/gate/settings.h"

namespace gate {

enum class Decision {
  take,   // to the proxy
  pass,   // left alone: while the proxy is not ready or full, where failures leave the way open
  reset,  // answered by RST: too many from this network; and while the proxy is not ready or full, where they close it
  drop,   // no SYN at all
};
// The mark of a packet after the decision: the bits of others stay, ours are never all zero. Not for drop.
std::uint32_t mark_after(std::uint32_t mark, Decision decision);

struct Counts {
  std::uint64_t take = 0, pass = 0, reset = 0, drop = 0;
  std::uint64_t unready = 0, full = 0;  // among pass or reset
  bool operator==(const Counts&) const = default;
};

class Gate {
 public:
  Gate(const Settings& settings, std::uint64_t seed);

  Decision decide(std::uint16_t queue, const std::expected<Syn, Fault>& packet, Clock::time_point now);
  void set_ready(bool ready) { ready_ = ready; }
  // The listener with that queue has no room for sessions, or has it again. A queue that is none of ours means nothing.
  void set_full(std::uint16_t queue, bool full);
  const Counts& counts() const { return counts_; }

 private:
  Decision choose(std::uint16_t queue, const std::expected<Syn, Fault>& packet, Clock::time_point now);

  // What is asked about the packets of one queue.
  struct Judge {
    std::uint16_t queue;
    std::uint32_t connections, prefix_v4, prefix_v6;
    bool full = false;
  };
  bool open_;
  std::vector<Judge> judges_;
  ConnectionRates rates_;
  Counts counts_;
  bool ready_ = true;
};

}  // namespace gate
