#include "test/unit/dns_script.h"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <sys/socket.h>

#include <cstring>

namespace dns_test {
namespace {

using scanner::OwnedFd;

unsigned read16(std::string_view octets, std::size_t at) {
  return static_cast<unsigned char>(octets[at]) * 256U + static_cast<unsigned char>(octets[at + 1]);
}

OwnedFd bound(int kind, const sockaddr_in& address) {
  OwnedFd socket(::socket(AF_INET, kind | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  REQUIRE(static_cast<bool>(socket));
  if (::bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return {};
  return socket;
}

Question parse(std::string_view packet, bool tcp) {
  Question question;
  REQUIRE(packet.size() > 12);
  question.id = static_cast<std::uint16_t>(read16(packet, 0));
  std::size_t at = 12;
  while (packet[at] != 0) {
    const auto size = static_cast<unsigned char>(packet[at]);
    if (!question.name.empty()) question.name += '.';
    for (const char c : packet.substr(at + 1, size)) question.name += static_cast<char>(std::tolower(c));
    at += size + 1U;
  }
  question.type = static_cast<io::RecordType>(read16(packet, at + 1));
  question.tcp = tcp;
  question.section = packet.substr(12, at + 5 - 12);
  return question;
}

}  // namespace

std::string number16(unsigned value) { return {static_cast<char>(value >> 8U), static_cast<char>(value & 0xFFU)}; }

std::string wire_name(std::string_view name) {
  std::string wire;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    wire += static_cast<char>(label.size());
    wire += label;
    name.remove_prefix(std::min(label.size() + 1, name.size()));
  }
  return wire + '\0';
}

std::string record(std::string_view owner, unsigned type, unsigned ttl, std::string_view rdata) {
  return wire_name(owner) + number16(type) + number16(1) + number16(ttl >> 16U) + number16(ttl & 0xFFFFU) +
         number16(static_cast<unsigned>(rdata.size())) + std::string(rdata);
}

std::string a(std::string_view owner, std::string_view address, unsigned ttl) {
  std::string rdata(4, '\0');
  REQUIRE(::inet_pton(AF_INET, std::string(address).c_str(), rdata.data()) == 1);
  return record(owner, 1, ttl, rdata);
}

std::string aaaa(std::string_view owner, std::string_view address, unsigned ttl) {
  std::string rdata(16, '\0');
  REQUIRE(::inet_pton(AF_INET6, std::string(address).c_str(), rdata.data()) == 1);
  return record(owner, 28, ttl, rdata);
}

std::string cname(std::string_view owner, std::string_view target, unsigned ttl) {
  return record(owner, 5, ttl, wire_name(target));
}

std::string soa(std::string_view owner, unsigned ttl) {
  std::string rdata = wire_name("ns.test") + wire_name("admin.test");
  for (const unsigned value : {1U, 3600U, 600U, 86400U, ttl})
    rdata += number16(value >> 16U) + number16(value & 0xFFFFU);
  return record(owner, 6, ttl, rdata);
}

std::string message(const Question& question, const Reply& reply) {
  constexpr unsigned response = 0x8000, recursion = 0x0180, truncated = 0x0200;
  std::string out = number16(question.id);
  out += number16(response | recursion | (reply.truncated ? truncated : 0U) | reply.code) + number16(1);
  out +=
      number16(static_cast<unsigned>(reply.answers.size())) + number16(static_cast<unsigned>(reply.authority.size()));
  out += number16(0) + question.section;
  for (const std::string& each : reply.answers) out += each;
  for (const std::string& each : reply.authority) out += each;
  return out;
}

Server::Server(io::EventLoop& loop, Script says) : script(std::move(says)), loop_(loop) {
  OwnedFd stream;
  for (int tries = 0; tries < 50 && !socket_; ++tries) {  // a port that is free for both
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    stream = bound(SOCK_STREAM, address);
    socklen_t length = sizeof address;
    REQUIRE(::getsockname(stream.get(), reinterpret_cast<sockaddr*>(&address), &length) == 0);
    std::memcpy(&address_.address, &address, sizeof address);
    address_.length = sizeof address;
    socket_ = bound(SOCK_DGRAM, address);
  }
  REQUIRE(static_cast<bool>(socket_));
  REQUIRE(::listen(stream.get(), 64) == 0);
  address_.text = io::format_address(address_.get());
  const int room = 4 << 20;  // a thousand questions may come before the loop looks
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  watch_.emplace(loop_, socket_.get(), io::FdWatch::Mode::readable, *this);
  const auto welcome = [this](io::Accepted accepted) {
    const auto* peer = reinterpret_cast<const sockaddr*>(&accepted.peer);
    loop_.spawn(serve(std::make_unique<io::TcpStream>(loop_, std::move(accepted.socket), peer, accepted.peer_length)));
  };
  listener_.emplace(loop_, std::move(stream), "", welcome, [](int) {});
}

Server::~Server() { loop_.destroy_roots(); }

std::vector<std::string> Server::answers_to(std::string_view packet, bool tcp) {
  asked.push_back(parse(packet, tcp));
  const Question question = asked.back();
  return script(question);
}

void Server::on_ready(io::FdWatch::Ready) {
  char packet[65536];
  sockaddr_storage from{};
  socklen_t length = sizeof from;
  auto* peer = reinterpret_cast<sockaddr*>(&from);
  const ssize_t size = ::recvfrom(socket_.get(), packet, sizeof packet, 0, peer, &length);
  if (size <= 0) return;
  for (const std::string& answer : answers_to({packet, static_cast<std::size_t>(size)}, false))
    ::sendto(socket_.get(), answer.data(), answer.size(), 0, peer, length);
}

io::Task<> Server::serve(std::unique_ptr<io::TcpStream> client) {
  io::Scope scope(loop_);
  std::string input;
  while (true) {
    while (input.size() >= 2 && input.size() >= 2 + read16(input, 0)) {
      const std::size_t size = 2 + read16(input, 0);
      const std::vector<std::string> answers = answers_to(std::string_view(input).substr(2, size - 2), true);
      for (std::size_t i = 0; i < answers.size(); ++i) {
        const std::string framed = number16(static_cast<unsigned>(answers.at(i).size())) + answers.at(i);
        const io::IoStatus sent = co_await write_all(*client, scope, io::never, framed);
        if (sent != io::IoStatus::ok) co_return;
      }
      input.erase(0, size);
    }
    char piece[4096];
    const io::IoResult got = client->read(piece, sizeof piece);
    if (got.status == io::IoStatus::ok) input.append(piece, got.count);
    else if (got.status == io::IoStatus::would_block) co_await io::Wait(scope, io::never, client->readable);
    else co_return;
  }
}

}  // namespace dns_test
