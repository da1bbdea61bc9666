// What the kernel says of the packet queues: /proc/net/netfilter/nfnetlink_queue.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace gate {

// Packets that were dropped because no more may wait, and because our socket was full. Where failures leave the way
// open the kernel lets such packets by and counts none of them.
struct KernelCounts {
  std::uint64_t queue_full = 0, socket_full = 0;
  bool operator==(const KernelCounts&) const = default;
};

// The sum over these queues; lines that are not understood count as nothing.
KernelCounts kernel_counts(std::string_view text, std::span<const std::uint16_t> queues);

}  // namespace gate
