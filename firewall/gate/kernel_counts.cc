#include "firewall/gate/kernel_counts.h"

#include <algorithm>
#include <array>
#include <charconv>

namespace gate {
namespace {

// Number of the queue, port id, waiting packets, copy mode, copied octets, dropped (queue, socket), last id, 1.
constexpr std::size_t columns = 9, queue_at = 0, queue_full_at = 5, socket_full_at = 6;

bool read_line(std::string_view line, std::array<std::uint64_t, columns>& into) {
  for (std::uint64_t& each : into) {
    line.remove_prefix(std::min(line.size(), line.find_first_not_of(' ')));
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), each);
    if (error != std::errc()) return false;
    line.remove_prefix(static_cast<std::size_t>(end - line.data()));
  }
  return true;
}

}  // namespace

KernelCounts kernel_counts(std::string_view text, std::span<const std::uint16_t> queues) {
  KernelCounts counts;
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(text.size(), line.size() + 1));
    std::array<std::uint64_t, columns> numbers{};
    if (!read_line(line, numbers) || std::ranges::find(queues, numbers[queue_at]) == queues.end()) continue;
    counts.queue_full += numbers[queue_full_at];
    counts.socket_full += numbers[socket_full_at];
  }
  return counts;
}

}  // namespace gate
