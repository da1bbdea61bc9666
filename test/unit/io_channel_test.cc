#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "proxy/io/channel.h"
#include "test/unit/io_loop_fixture.h"

namespace {

using io::Channel;
using io::Task;
using io::Wait;
using scanner::OwnedFd;
using scanner::PacketStatus;

// Packets of these tests: eight octets of id, then text; id 0 is no answer.
std::string packet(std::uint64_t id, std::string_view text) {
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &id, 8);
  return bytes.append(text);
}
std::optional<std::uint64_t> id_of(std::string_view bytes) {
  if (bytes.size() < 8) return std::nullopt;
  std::uint64_t id = 0;
  std::memcpy(&id, bytes.data(), 8);
  if (id == 0) return std::nullopt;
  return id;
}

struct Both : io_test::LoopRun {
  Both()
      : channel(
            loop, id_of, [this](std::string_view bytes) { others.emplace_back(bytes); }, [this] { ++lost; }),
        scope(loop) {
    connect();
  }
  void connect() {
    auto [ours, theirs] = scanner::make_packet_pair();
    channel.attach(std::move(ours));
    peer = std::move(theirs);
  }
  std::unique_ptr<Channel::Call> call(std::string_view text, int fd = -1) {
    const std::uint64_t id = channel.next_id();
    return channel.call(id, packet(id, text), fd);
  }
  Task<> answered(Channel::Call& open) {
    while (!open.finished()) co_await Wait(scope, io::never, open.answered);
  }
  std::vector<std::string> others;
  unsigned lost = 0;
  Channel channel;
  io::Scope scope;
  OwnedFd peer;
};

Task<> answers_in_any_order(Both& both) {
  std::vector<std::unique_ptr<Channel::Call>> calls;
  for (int i = 0; i < 10; ++i) calls.push_back(both.call("question"));
  std::vector<std::uint64_t> ids;
  for (int i = 0; i < 10; ++i) {
    std::string question;
    OwnedFd none;
    CHECK(scanner::receive_packet(both.peer.get(), question, none) == PacketStatus::ok);
    ids.push_back(*id_of(question));
  }
  calls[3].reset();  // nobody waits for that one any more
  for (std::size_t i = 10; i-- > 0;)
    scanner::send_packet(both.peer.get(), packet(ids[i], "answer " + std::to_string(i)));
  scanner::send_packet(both.peer.get(), packet(0, "hello"));
  scanner::send_packet(both.peer.get(), packet(99, "to nobody"));
  for (std::size_t i = 0; i < 10; ++i) {
    if (!calls[i]) continue;
    Channel::Call& open = *calls[i];
    co_await both.answered(open);
    CHECK_FALSE(calls[i]->lost());
    CHECK(*calls[i]->answer() == packet(ids[i], "answer " + std::to_string(i)));
  }
  // Packets come in order: one more call makes sure that those before it have been read.
  const auto last = both.call("last");
  scanner::send_packet(both.peer.get(), packet(last->id(), "last"));
  co_await both.answered(*last);
  CHECK(both.others.size() == 1);
}

TEST_CASE("channel: answers in any order, some to nobody") {
  Both both;
  both.finish(answers_in_any_order(both));
}

Task<> peer_dies(Both& both) {
  const auto first = both.call("one");
  const auto second = both.call("two");
  both.peer.reset();
  co_await both.answered(*first);
  CHECK(first->lost());
  CHECK(second->lost());
  CHECK(first->sent());  // who can say what the peer did before it died?
  CHECK(both.lost == 1);
  CHECK_FALSE(both.channel.attached());
  const auto after = both.call("three");
  CHECK(after->lost());
  CHECK_FALSE(after->sent());
  CHECK(both.lost == 1);
  CHECK_FALSE(both.channel.last_send_was_full());
  both.connect();
  const auto again = both.call("four");
  CHECK_FALSE(again->finished());
  scanner::send_packet(both.peer.get(), packet(again->id(), "yes"));
  co_await both.answered(*again);
  CHECK(again->answer().has_value());
}

TEST_CASE("channel: a peer that dies loses the open calls, a new one takes over") {
  Both both;
  both.finish(peer_dies(both));
}

Task<> replaced(Both& both) {
  const auto before = both.call("one");
  const OwnedFd former = std::move(both.peer);
  both.connect();
  CHECK(before->lost());  // at once
  CHECK(both.lost == 0);  // we did that
  const auto after = both.call("two");
  scanner::send_packet(both.peer.get(), packet(after->id(), "yes"));
  co_await both.answered(*after);
  CHECK_FALSE(after->lost());
}

TEST_CASE("channel: a new peer loses what the former one was asked") {
  Both both;
  both.finish(replaced(both));
}

TEST_CASE("channel: a full queue is told apart from a lost peer") {
  Both both;
  std::vector<std::unique_ptr<Channel::Call>> calls;
  const std::string large(60'000, 'x');
  while (calls.size() < 10'000) {
    calls.push_back(both.call(large));
    if (calls.back()->lost()) break;
  }
  REQUIRE(calls.size() < 10'000);
  CHECK(both.channel.last_send_was_full());
  CHECK(both.channel.attached());
  CHECK_FALSE(calls.front()->finished());
  CHECK(calls.front()->sent());
  CHECK_FALSE(calls.back()->sent());
}

TEST_CASE("channel: what is no packet is not sent, and the peer stays") {
  Both both;
  for (const std::string& packet : {std::string(), std::string(65'537, 'x')}) {
    const auto call = both.channel.call(both.channel.next_id(), packet, -1);
    CHECK(call->lost());
    CHECK_FALSE(call->sent());
    CHECK(both.channel.attached());
  }
  CHECK(both.lost == 0);
}

int open_descriptors() {
  int count = 0;
  for (int fd = 0; fd < 1024; ++fd)
    if (::fcntl(fd, F_GETFD) >= 0) ++count;
  return count;
}

// Two descriptors in one packet: no peer of ours does that.
void send_two_descriptors(int socket, std::string bytes) {
  iovec part{bytes.data(), bytes.size()};
  alignas(cmsghdr) char space[CMSG_SPACE(2 * sizeof(int))] = {};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = space;
  message.msg_controllen = sizeof space;
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(2 * sizeof(int));
  const int both[2] = {0, 0};
  std::memcpy(CMSG_DATA(header), both, sizeof both);
  CHECK(::sendmsg(socket, &message, 0) == static_cast<ssize_t>(bytes.size()));
}

Task<> descriptors(Both& both) {
  const OwnedFd file(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  const auto call = both.call("with a file", file.get());
  std::string question;
  OwnedFd received;
  CHECK(scanner::receive_packet(both.peer.get(), question, received) == PacketStatus::ok);
  CHECK(static_cast<bool>(received));
  const int before = open_descriptors();
  scanner::send_packet(both.peer.get(), packet(call->id(), "with one"), received.get());
  co_await both.answered(*call);
  CHECK(call->answer().has_value());
  CHECK(open_descriptors() == before);  // nobody asked for it: closed
  const auto second = both.call("again");
  send_two_descriptors(both.peer.get(), packet(second->id(), "with two"));
  co_await both.answered(*second);
  CHECK(second->lost());                    // malformed: the peer cannot be trusted
  CHECK(open_descriptors() == before - 1);  // our end of the socket
}

TEST_CASE("channel: descriptors that nobody asked for are closed, two of them end the trust") {
  Both both;
  both.finish(descriptors(both));
}

}  // namespace
