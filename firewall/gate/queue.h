// The kernel's packet queues (libnetfilter_queue): the only file that knows nfnetlink. One socket serves them all.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace gate {

struct Packet {
  std::uint16_t queue = 0;
  std::uint32_t mark = 0;
  std::span<const std::uint8_t> octets;  // its beginning
};
// The packet's new mark; nothing = it is dropped.
using Answer = std::function<std::optional<std::uint32_t>(const Packet&)>;

struct QueueCounts {
  std::uint64_t packets = 0;
  std::uint64_t answers = 0;   // messages that answered them: one for packets in a row that are treated alike
  std::uint64_t overruns = 0;  // times that our socket was full (ENOBUFS): packets went the way of on_failure
  std::uint64_t refused = 0;   // of our answers, by the kernel: the packet was gone
  bool operator==(const QueueCounts&) const = default;
};

class PacketQueues {
 public:
  // `open`: packets for which there is no room go on without a mark, and are not dropped. Needs CAP_NET_ADMIN; the
  // error is a sentence. Packets that come while this still runs are answered, too.
  static std::expected<PacketQueues, std::string> bind(const std::vector<std::uint16_t>& queues, std::uint32_t length,
                                                       bool open, Answer answer);
  PacketQueues(PacketQueues&&) noexcept;
  PacketQueues& operator=(PacketQueues&&) noexcept;
  ~PacketQueues();

  int descriptor() const;  // readable = serve()
  // Answers what has come, a bounded number of packets; does not block. True = there may be more. An answered packet
  // traverses its table again (NF_REPEAT), with its mark, so that rules of others behind ours are not skipped.
  // Throws std::system_error when the socket is of no use any more.
  bool serve();
  const QueueCounts& counts() const;

 private:
  struct State;
  explicit PacketQueues(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace gate
