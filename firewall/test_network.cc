#include "firewall/test_network.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "config/endpoint.h"
#include "firewall/command.h"

namespace firewall {
namespace {

constexpr const char* there_interface = "gp-verify1";

struct Range {
  const char* four;
  const char* six;
};
constexpr std::array<Range, 3> ranges{
    {{"198.18.25.", "2001:2:0:25::"}, {"198.19.253.", "2001:2:0:fd::"}, {"198.18.109.", "2001:2:0:6d::"}}};

bool is_taken(const Range& range, const Facts& facts) {
  return std::ranges::any_of(facts.interfaces, [&](const Interface& interface) {
    return interface.name != verify_interface && std::ranges::any_of(interface.addresses, [&](const std::string& each) {
             return each.starts_with(range.four) || each.starts_with(range.six);
           });
  });
}

// Held while it is open; the kernel knows the name in this network alone. EADDRINUSE: somebody has it.
Descriptor only_one_here() {
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  verify_interface.copy(name.sun_path + 1, sizeof name.sun_path - 1);  // abstract: no file
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + verify_interface.size());
  Descriptor socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&name), length) != 0) return {};
  return socket;
}

void note_source(Attempt& attempt) {
  sockaddr_storage address{};
  socklen_t length = sizeof address;
  if (::getsockname(attempt.socket.get(), reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& four = reinterpret_cast<const sockaddr_in&>(address);
    ::inet_ntop(AF_INET, &four.sin_addr, text.data(), text.size());
    attempt.source_port = ntohs(four.sin_port);
  } else {
    const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
    ::inet_ntop(AF_INET6, &six.sin6_addr, text.data(), text.size());
    attempt.source_port = ntohs(six.sin6_port);
  }
  attempt.source = text.data();
}

Reached reached_by(int error) {
  if (error == 0) return Reached::connected;
  if (error == ECONNREFUSED) return Reached::refused;
  return error == ETIMEDOUT || error == EINPROGRESS ? Reached::silence : Reached::unreachable;
}

}  // namespace

Attempt connect_from(Descriptor socket, Version version, const std::string& address, std::uint16_t port) {
  Attempt attempt;
  attempt.socket = std::move(socket);
  const int fd = attempt.socket.get();
  const std::string text = fmt::format("{}{}{}:{}", version == Version::v6 ? "[" : "", address,
                                       version == Version::v6 ? "]" : "", port);
  const auto target = config::parse_address(text);
  ::fcntl(fd, F_SETFL, O_NONBLOCK);
  int error = !target ? EINVAL : ::connect(fd, target->get(), target->length) == 0 ? 0 : errno;
  note_source(attempt);
  if (error == EINPROGRESS) {
    pollfd done{fd, POLLOUT, 0};
    const auto patience = std::chrono::milliseconds(attempt_patience).count();
    socklen_t size = sizeof error;
    if (::poll(&done, 1, static_cast<int>(patience)) == 1) ::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
  }
  attempt.reached = reached_by(error);
  return attempt;
}

void hang_up(const Attempt& made) {
  constexpr int patience = 500;  // ms
  ::shutdown(made.socket.get(), SHUT_WR);
  pollfd waiting{made.socket.get(), POLLIN, 0};
  std::array<char, 1024> rest{};
  while (::poll(&waiting, 1, patience) == 1 && ::recv(waiting.fd, rest.data(), rest.size(), MSG_DONTWAIT) > 0) {
  }
}

std::expected<TestNetwork, std::string> TestNetwork::create(const Facts& facts) {
  const auto free = std::ranges::find_if(ranges, [&](const Range& range) { return !is_taken(range, facts); });
  if (free == ranges.end()) return std::unexpected("this host has addresses in all ranges for tests of networks");
  Descriptor alone = only_one_here();
  if (!alone && errno == EADDRINUSE) return std::unexpected("another verify is at work; try again when it has ended");
  if (!alone) return std::unexpected(fmt::format("no socket: {}", std::strerror(errno)));
  auto there = NetworkNamespace::create();
  if (!there) return std::unexpected(there.error() + "; this needs root");
  TestNetwork network(std::move(alone), std::move(*there), free->four, free->six);
  if (const std::string wrong = network.lay_cable(); !wrong.empty()) return std::unexpected(wrong);
  return network;
}

TestNetwork::~TestNetwork() {
  // The kernel would do it in its own time.
  if (there_.descriptor() >= 0) run({{"ip", "link", "delete", std::string(verify_interface)}});
}

std::string TestNetwork::address(Version version) const { return (version == Version::v4 ? four_ : six_) + "2"; }
std::string TestNetwork::here(Version version) const { return (version == Version::v4 ? four_ : six_) + "1"; }

std::string TestNetwork::lay_cable() const {
  const std::string near(verify_interface), far = there_interface;
  struct Made {
    Command command;
    const NetworkNamespace* inside;
    bool six;
  };
  const Made all[] = {
      {{{"ip", "link", "add", far, "type", "veth", "peer", "name", near, "netns",
         fmt::format("/proc/{}/ns/net", ::getpid())}},
       &there_,
       false},
      {{{"ip", "address", "add", here(Version::v4) + "/30", "dev", near}}, nullptr, false},
      {{{"ip", "address", "add", here(Version::v6) + "/126", "dev", near, "nodad"}}, nullptr, true},
      {{{"ip", "link", "set", near, "up"}}, nullptr, false},
      {{{"ip", "address", "add", address(Version::v4) + "/30", "dev", far}}, &there_, false},
      {{{"ip", "address", "add", address(Version::v6) + "/126", "dev", far, "nodad"}}, &there_, true},
      {{{"ip", "link", "set", far, "up"}}, &there_, false},
      {{{"ip", "route", "add", "default", "via", here(Version::v4)}}, &there_, false},
      {{{"ip", "-6", "route", "add", "default", "via", here(Version::v6)}}, &there_, true},
  };
  for (const Made& each : all) {
    const Outcome outcome = run(each.command, each.inside);
    if (outcome.ok() || each.six) continue;  // a kernel without IPv6 is none of our business
    return fmt::format("no network to test from: {} ended with {}: {}", in_shell(each.command.argv), outcome.status,
                       outcome.err);
  }
  return {};
}

// Where a packet is taken from the cable, before any packet filter of this host: what is redirected there goes through
// those of the other interface, its ingress hook first. ARP and neighbour discovery stay on the cable.
std::string TestNetwork::arrive_by(const std::string& interface, Version version) const {
  const std::string near(verify_interface);
  run({{"tc", "qdisc", "delete", "dev", near, "clsact"}});
  if (interface == near) return {};
  if (find_program("tc").empty()) return "there is no tc (package iproute2)";
  const bool four = version == Version::v4;
  const Command all[] = {
      {{"tc", "qdisc", "add", "dev", near, "clsact"}},
      {{"tc", "filter", "add", "dev", near, "ingress", "protocol", four ? "ip" : "ipv6", "u32", "match",
        four ? "ip" : "ip6", "protocol", std::to_string(IPPROTO_TCP), "0xff", "action", "mirred", "ingress", "redirect",
        "dev", interface}},
  };
  for (const Command& each : all) {
    const Outcome outcome = run(each);
    if (outcome.ok()) continue;
    run({{"tc", "qdisc", "delete", "dev", near, "clsact"}});
    return fmt::format("tc cannot do it here (sch_ingress, cls_u32, act_mirred): {}", outcome.err);
  }
  return {};
}

Attempt TestNetwork::connect(Version version, const std::string& address, std::uint16_t port) const {
  Descriptor socket;
  there_.inside([&] {
    socket = Descriptor(::socket(version == Version::v4 ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0));
  });
  return connect_from(std::move(socket), version, address, port);
}

}  // namespace firewall
