// First packets of TCP connections that nobody means to have, by a raw socket: each from another source address and
// port of a network, to one destination. Prints one JSON line. Needs CAP_NET_RAW. The TCP checksum is left out: whoever
// decides on first packets does not look at it, and they must not come to a socket.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>
#include <thread>
#include <vector>

namespace {

constexpr const char* usage =
    "syn_burst FROM TO PORT COUNT [BURST PAUSE]: COUNT SYNs to the address TO, each from an address of its own in the\n"
    "network that begins with FROM (/8 of IPv4, /40 of IPv6); after each BURST of them a PAUSE in microseconds\n";
constexpr unsigned at_once = 64;  // packets of one system call
constexpr std::size_t ipv4_header = 20, ipv6_header = 40, tcp_header = 20;

struct Task {
  bool six = false;
  std::array<std::uint8_t, 16> from{}, to{};
  std::uint16_t port = 0;
  std::uint64_t count = 0, burst = 0, pause_us = 0;
};

template <class Number>
bool read_number(std::string_view text, Number& into) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), into);
  return error == std::errc{} && end == text.data() + text.size();
}

std::optional<Task> parse(int argc, char** argv) {
  Task task;
  if (argc != 5 && argc != 7) return std::nullopt;
  task.six = std::string_view(argv[1]).find(':') != std::string_view::npos;
  const int family = task.six ? AF_INET6 : AF_INET;
  if (inet_pton(family, argv[1], task.from.data()) != 1 || inet_pton(family, argv[2], task.to.data()) != 1)
    return std::nullopt;
  if (!read_number(argv[3], task.port) || !read_number(argv[4], task.count)) return std::nullopt;
  if (argc == 7 && (!read_number(argv[5], task.burst) || !read_number(argv[6], task.pause_us))) return std::nullopt;
  return task;
}

void put16(std::uint8_t* at, std::uint32_t value) {
  at[0] = static_cast<std::uint8_t>(value >> 8);
  at[1] = static_cast<std::uint8_t>(value);
}

using Packet = std::array<std::uint8_t, ipv6_header + tcp_header>;

std::size_t header_of(const Task& task) { return task.six ? ipv6_header : ipv4_header; }

// All but the source.
Packet pattern(const Task& task) {
  Packet packet{};
  std::uint8_t* tcp = packet.data() + header_of(task);
  if (task.six) {
    packet[0] = 0x60;
    put16(&packet[4], tcp_header);
    packet[6] = IPPROTO_TCP;
    packet[7] = 64;
    std::copy_n(task.from.begin(), 16, &packet[8]);
    std::copy_n(task.to.begin(), 16, &packet[24]);
  } else {
    packet[0] = 0x45;
    put16(&packet[2], ipv4_header + tcp_header);
    packet[8] = 64;
    packet[9] = IPPROTO_TCP;
    std::copy_n(task.from.begin(), 4, &packet[12]);
    std::copy_n(task.to.begin(), 4, &packet[16]);
  }
  put16(tcp + 2, task.port);
  tcp[12] = 5 << 4;
  tcp[13] = 0x02;  // SYN
  put16(tcp + 14, 64240);
  return packet;
}

// The n-th: no two in sixteen million have the same address, and neighbours are far apart.
void set_source(const Task& task, Packet& packet, std::uint64_t n) {
  const auto host = static_cast<std::uint32_t>(n * 0x9E3779B1U) & 0xFFFFFFU;
  std::uint8_t* address = &packet[task.six ? 8 + 12 : 12];
  address[1] = static_cast<std::uint8_t>(host >> 16);
  put16(address + 2, host);
  if (task.six) std::copy_n(address + 1, 3, &packet[8 + 5]);  // another /64, too
  put16(packet.data() + header_of(task), 1024 + static_cast<std::uint32_t>(n % 60000));
}

int fail(const char* what) {
  std::fprintf(stderr, "syn_burst: %s: %s\n", what, std::strerror(errno));
  return EX_OSERR;
}

// Sends all of them; false when the system refuses.
bool send_all(int fd, std::vector<mmsghdr>& messages, std::size_t count) {
  std::size_t sent = 0;
  while (sent < count) {
    const int n = sendmmsg(fd, &messages[sent], static_cast<unsigned>(count - sent), 0);
    if (n < 0 && errno != EINTR && errno != ENOBUFS && errno != EAGAIN) return false;
    if (n > 0) sent += static_cast<std::size_t>(n);
  }
  return true;
}

int run(const Task& task) {
  const int fd = socket(task.six ? AF_INET6 : AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
  if (fd < 0) return fail("raw socket");
  sockaddr_in6 to6{};
  to6.sin6_family = AF_INET6;
  std::copy_n(task.to.begin(), 16, to6.sin6_addr.s6_addr);
  sockaddr_in to4{};
  to4.sin_family = AF_INET;
  std::memcpy(&to4.sin_addr, task.to.data(), 4);
  std::vector<Packet> packets(at_once, pattern(task));
  std::vector<iovec> pieces(at_once);
  std::vector<mmsghdr> messages(at_once);
  for (unsigned i = 0; i < at_once; ++i) {
    pieces[i] = {packets[i].data(), header_of(task) + tcp_header};
    messages[i].msg_hdr.msg_iov = &pieces[i];
    messages[i].msg_hdr.msg_iovlen = 1;
    messages[i].msg_hdr.msg_name = task.six ? static_cast<void*>(&to6) : &to4;
    messages[i].msg_hdr.msg_namelen = task.six ? sizeof to6 : sizeof to4;
  }
  const auto start = std::chrono::steady_clock::now();
  for (std::uint64_t sent = 0, in_burst = 0; sent < task.count;) {
    const auto part = static_cast<std::size_t>(std::min<std::uint64_t>(at_once, task.count - sent));
    for (std::size_t i = 0; i < part; ++i) set_source(task, packets[i], sent + i);
    if (!send_all(fd, messages, part)) return fail("sendmmsg");
    sent += part;
    in_burst += part;
    if (task.burst == 0 || in_burst < task.burst) continue;
    in_burst = 0;
    std::this_thread::sleep_for(std::chrono::microseconds(task.pause_us));
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("{\"sent\": %llu, \"seconds\": %.6f}\n", static_cast<unsigned long long>(task.count), seconds);
  close(fd);
  return EX_OK;
}

}  // namespace

int main(int argc, char** argv) {
  const auto task = parse(argc, argv);
  if (!task) {
    std::fputs(usage, stderr);
    return EX_USAGE;
  }
  return run(*task);
}
