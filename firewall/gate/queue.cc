#include "firewall/gate/queue.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <libmnl/libmnl.h>
#include <libnetfilter_queue/libnetfilter_queue.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nfnetlink_queue.h>
#include <poll.h>
#include <sys/socket.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <deque>
#include <optional>
#include <system_error>

#include "firewall/descriptor.h"
#include "firewall/gate/packet.h"

namespace gate {
namespace {

constexpr unsigned at_once = 64;                 // messages of one system call
constexpr std::size_t most_message = 2048;       // octets; the copied part of a packet and its attributes
constexpr int socket_buffer = 8 << 20;           // octets
constexpr int configuration_patience_ms = 5000;  // the kernel answers at once
constexpr std::size_t verdict_size = 64;         // octets of one verdict, more than it needs
constexpr std::uint16_t packet_type = NFNL_SUBSYS_QUEUE << 8 | NFQNL_MSG_PACKET;

std::string failed(const char* what, int error) { return fmt::format("{}: {}", what, std::strerror(error)); }

struct Verdict {
  std::uint16_t queue;
  std::uint32_t id;
  std::optional<std::uint32_t> mark;
  bool like(const Verdict& other) const { return queue == other.queue && mark == other.mark; }
};

nlmsghdr* begin(char* at, int kind, std::uint16_t queue, std::uint16_t flags, std::uint32_t sequence) {
  nlmsghdr* message = ::nfq_nlmsg_put(at, kind, queue);
  message->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
  message->nlmsg_seq = sequence;
  return message;
}

}  // namespace

struct PacketQueues::State {
  explicit State(Answer to) : answer(std::move(to)), space(std::size_t{at_once} * most_message) {}

  std::optional<std::string> open();
  std::optional<std::string> configure(std::uint16_t queue, std::uint32_t length, bool fail_open);
  bool read_some();
  void take_message(const nlmsghdr& message);
  void take_packet(const nlmsghdr& message);
  void send_verdicts();
  void send(const void* octets, std::size_t size) const;
  void wait_for_room() const;

  Answer answer;
  firewall::Descriptor socket;
  std::vector<char> space;
  std::vector<Verdict> verdicts;
  std::vector<char> out;
  QueueCounts counts;
  std::uint32_t expected = 0;       // sequence number of the acknowledgement that configure() waits for
  std::optional<int> acknowledged;  // errno, or 0
};

std::optional<std::string> PacketQueues::State::open() {
  socket = firewall::Descriptor(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_NETFILTER));
  if (!socket) return failed("no netlink socket", errno);
  sockaddr_nl own{};
  own.nl_family = AF_NETLINK;
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&own), sizeof own) != 0)
    return failed("the netlink socket cannot be bound", errno);
  // Where only the ordinary way is open, the kernel's own limit holds.
  if (::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUFFORCE, &socket_buffer, sizeof socket_buffer) != 0)
    ::setsockopt(socket.get(), SOL_SOCKET, SO_RCVBUF, &socket_buffer, sizeof socket_buffer);
  return std::nullopt;
}

// Bound, with its flags and length, and last of all asked for packets: before that it hands out none.
std::optional<std::string> PacketQueues::State::configure(std::uint16_t queue, std::uint32_t length, bool fail_open) {
  const std::uint32_t flags = NFQA_CFG_F_GSO | (fail_open ? NFQA_CFG_F_FAIL_OPEN : 0U);
  const std::array<std::function<void(nlmsghdr*)>, 3> steps{
      [](nlmsghdr* message) { ::nfq_nlmsg_cfg_put_cmd(message, AF_UNSPEC, NFQNL_CFG_CMD_BIND); },
      [=](nlmsghdr* message) {
        ::nfq_nlmsg_cfg_put_qmaxlen(message, length);
        ::mnl_attr_put_u32(message, NFQA_CFG_FLAGS, htonl(flags));
        ::mnl_attr_put_u32(message, NFQA_CFG_MASK, htonl(NFQA_CFG_F_GSO | NFQA_CFG_F_FAIL_OPEN));
      },
      [](nlmsghdr* message) { ::nfq_nlmsg_cfg_put_params(message, NFQNL_COPY_PACKET, static_cast<int>(copied)); }};
  for (const auto& step : steps) {
    std::array<char, 256> buffer{};
    nlmsghdr* message = begin(buffer.data(), NFQNL_MSG_CONFIG, queue, NLM_F_ACK, ++expected);
    step(message);
    acknowledged.reset();
    send(message, message->nlmsg_len);
    while (!acknowledged) {
      pollfd ready{socket.get(), POLLIN, 0};
      if (::poll(&ready, 1, configuration_patience_ms) == 0)
        return fmt::format("queue {}: the kernel is silent", queue);
      read_some();
    }
    if (*acknowledged == EBUSY) return fmt::format("queue {}: another program has it", queue);
    if (*acknowledged == EPERM)
      return fmt::format("queue {}: needs CAP_NET_ADMIN, and that no other program has this queue", queue);
    if (*acknowledged != 0) return failed(fmt::format("queue {}", queue).c_str(), *acknowledged);
  }
  return std::nullopt;
}

bool PacketQueues::State::read_some() {
  std::array<mmsghdr, at_once> headers{};
  std::array<iovec, at_once> pieces{};
  std::array<sockaddr_nl, at_once> senders{};
  for (unsigned i = 0; i < at_once; ++i) {
    pieces[i] = {space.data() + i * most_message, most_message};
    headers[i].msg_hdr.msg_iov = &pieces[i];
    headers[i].msg_hdr.msg_iovlen = 1;
    headers[i].msg_hdr.msg_name = &senders[i];
    headers[i].msg_hdr.msg_namelen = sizeof senders[i];
  }
  const int got = ::recvmmsg(socket.get(), headers.data(), at_once, MSG_DONTWAIT, nullptr);
  if (got < 0) {
    if (errno == ENOBUFS) return ++counts.overruns, true;
    if (errno == EINTR) return true;
    if (errno == EAGAIN) return false;
    throw std::system_error(errno, std::generic_category(), "reading from the packet queues");
  }
  for (unsigned i = 0; i < static_cast<unsigned>(got); ++i) {
    if (senders[i].nl_pid != 0 || (headers[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) continue;  // not the kernel's
    int left = static_cast<int>(headers[i].msg_len);
    const auto* message = reinterpret_cast<const nlmsghdr*>(pieces[i].iov_base);
    for (; ::mnl_nlmsg_ok(message, left); message = ::mnl_nlmsg_next(message, &left)) take_message(*message);
  }
  send_verdicts();
  return static_cast<unsigned>(got) == at_once;
}

void PacketQueues::State::take_message(const nlmsghdr& message) {
  if (message.nlmsg_type == packet_type) return take_packet(message);
  if (message.nlmsg_type != NLMSG_ERROR || message.nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return;
  const auto& error = *static_cast<const nlmsgerr*>(::mnl_nlmsg_get_payload(&message));
  if (error.msg.nlmsg_seq == expected && expected != 0 && !acknowledged) acknowledged = -error.error;
  else if (error.error != 0) ++counts.refused;
}

void PacketQueues::State::take_packet(const nlmsghdr& message) {
  if (message.nlmsg_len < NLMSG_LENGTH(sizeof(nfgenmsg))) return;
  std::array<nlattr*, NFQA_MAX + 1> attributes{};
  if (::nfq_nlmsg_parse(&message, attributes.data()) < 0 || attributes[NFQA_PACKET_HDR] == nullptr ||
      ::mnl_attr_get_payload_len(attributes[NFQA_PACKET_HDR]) < sizeof(nfqnl_msg_packet_hdr))
    return;
  ++counts.packets;
  nfqnl_msg_packet_hdr header{};
  std::memcpy(&header, ::mnl_attr_get_payload(attributes[NFQA_PACKET_HDR]), sizeof header);
  Packet packet;
  packet.queue = ntohs(static_cast<const nfgenmsg*>(::mnl_nlmsg_get_payload(&message))->res_id);
  if (attributes[NFQA_MARK] != nullptr) packet.mark = ntohl(::mnl_attr_get_u32(attributes[NFQA_MARK]));
  if (const nlattr* payload = attributes[NFQA_PAYLOAD]; payload != nullptr)
    packet.octets = {static_cast<const std::uint8_t*>(::mnl_attr_get_payload(payload)),
                     ::mnl_attr_get_payload_len(payload)};
  verdicts.push_back({packet.queue, ntohl(header.packet_id), answer(packet)});
}

// Neighbours that get the same are one verdict ("up to this id"): nothing older waits, for answers are given in order.
void PacketQueues::State::send_verdicts() {
  if (verdicts.empty()) return;
  out.resize(verdicts.size() * verdict_size);
  std::size_t used = 0;
  for (std::size_t i = 0; i < verdicts.size(); ++i) {
    const Verdict& last = verdicts[i];
    if (i + 1 < verdicts.size() && last.like(verdicts[i + 1])) continue;
    const bool several = i > 0 && last.like(verdicts[i - 1]);
    nlmsghdr* message =
        begin(out.data() + used, several ? NFQNL_MSG_VERDICT_BATCH : NFQNL_MSG_VERDICT, last.queue, 0, 0);
    ::nfq_nlmsg_verdict_put(message, static_cast<int>(last.id), last.mark ? NF_REPEAT : NF_DROP);
    if (last.mark) ::nfq_nlmsg_verdict_put_mark(message, *last.mark);
    used += MNL_ALIGN(message->nlmsg_len);
    ++counts.answers;
  }
  verdicts.clear();
  send(out.data(), used);
}

void PacketQueues::State::send(const void* octets, std::size_t size) const {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  for (;;) {
    const ssize_t sent =
        ::sendto(socket.get(), octets, size, 0, reinterpret_cast<const sockaddr*>(&kernel), sizeof kernel);
    if (sent >= 0) return;
    if (errno == EAGAIN || errno == ENOBUFS) wait_for_room();
    else if (errno != EINTR) throw std::system_error(errno, std::generic_category(), "answering the packet queues");
  }
}

void PacketQueues::State::wait_for_room() const {
  pollfd ready{socket.get(), POLLOUT, 0};
  ::poll(&ready, 1, 10);
}

PacketQueues::PacketQueues(std::unique_ptr<State> state) : state_(std::move(state)) {}
PacketQueues::PacketQueues(PacketQueues&&) noexcept = default;
PacketQueues& PacketQueues::operator=(PacketQueues&&) noexcept = default;
PacketQueues::~PacketQueues() = default;

std::expected<PacketQueues, std::string> PacketQueues::bind(const std::vector<std::uint16_t>& queues,
                                                            std::uint32_t length, bool open, Answer answer) {
  auto state = std::make_unique<State>(std::move(answer));
  if (auto error = state->open()) return std::unexpected(*error);
  for (const std::uint16_t queue : queues)
    if (auto error = state->configure(queue, length, open)) return std::unexpected(*error);
  return PacketQueues(std::move(state));
}

int PacketQueues::descriptor() const { return state_->socket.get(); }
bool PacketQueues::serve() { return state_->read_some(); }
const QueueCounts& PacketQueues::counts() const { return state_->counts; }

}  // namespace gate
