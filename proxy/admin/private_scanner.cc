#include "proxy/admin/private_scanner.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <utility>

#include "proxy/admin/log.h"
#include "proxy/supervisor/scanner_program.h"

namespace admin {
namespace {

using Clock = std::chrono::steady_clock;
using scanner::Failure;
using scanner::PacketStatus;

constexpr int load_limit_ms = 600'000;   // a full signature set on a slow disk
constexpr int answer_slack_ms = 30'000;  // besides the scan's own limit: the wait for a worker

}  // namespace

std::expected<PrivateScanner, std::string> PrivateScanner::start(const scanner::Settings& settings) {
  auto program = supervisor::start_scanner(settings, 1);
  if (!program) return std::unexpected(program.error());
  PrivateScanner out;
  out.pid_ = program->pid;
  out.socket_ = std::move(program->sockets.front());
  out.said_ = std::move(program->said);
  std::string packet;
  if (!out.receive(packet, load_limit_ms)) {
    std::string why = out.words();
    return std::unexpected(why.empty() ? "the scanner ended before it was ready" : why);
  }
  const auto hello = scanner::decode_hello(packet);
  if (!hello) return std::unexpected("the scanner's greeting was not understood");
  out.hello_ = *hello;
  return out;
}

PrivateScanner::PrivateScanner(PrivateScanner&& other) noexcept
    : pid_(std::exchange(other.pid_, -1)),
      socket_(std::move(other.socket_)),
      said_(std::move(other.said_)),
      hello_(std::move(other.hello_)),
      last_id_(other.last_id_) {}

PrivateScanner::~PrivateScanner() {
  socket_.reset();
  said_.reset();
  while (pid_ > 0 && ::waitpid(pid_, nullptr, 0) < 0 && errno == EINTR) {
  }
}

// False when the scanner is gone, or says nothing in time.
bool PrivateScanner::receive(std::string& packet, int timeout_ms) {
  const auto until = Clock::now() + std::chrono::milliseconds(timeout_ms);
  for (;;) {
    scanner::OwnedFd fd;
    const PacketStatus status = scanner::receive_packet(socket_.get(), packet, fd);
    if (status != PacketStatus::would_block) return status == PacketStatus::ok;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    if (left <= 0) return false;
    pollfd wait{socket_.get(), POLLIN, 0};
    ::poll(&wait, 1, static_cast<int>(left));
  }
}

// Its last words, on one line.
std::string PrivateScanner::words() {
  socket_.reset();
  std::string text;
  char space[4096];
  pollfd wait{said_.get(), POLLIN, 0};
  while (text.size() < sizeof space && ::poll(&wait, 1, 5000) > 0) {
    const ssize_t n = ::read(said_.get(), space, sizeof space);
    if (n <= 0) break;
    text.append(space, static_cast<std::size_t>(n));
  }
  while (!text.empty() && text.back() == '\n') text.pop_back();
  std::string line;
  for (const char c : text) line += c == '\n' ? std::string("; ") : std::string(1, c);
  return escaped(line, 2048);
}

scanner::Report PrivateScanner::scan(int content, std::uint64_t size, std::uint32_t limit_ms) {
  scanner::Request request;
  request.id = ++last_id_;
  request.prefix = static_cast<std::uint32_t>(scanner::synthetic_prefix.size());
  request.size = size;
  request.limit_ms = limit_ms;
  if (!socket_ || scanner::send_packet(socket_.get(), encode(request), content) != PacketStatus::ok)
    return scanner::failed(request.id, Failure::disconnected, "the scanner is gone");
  std::string packet;
  while (receive(packet, static_cast<int>(limit_ms) + answer_slack_ms)) {
    auto report = scanner::decode_report(packet);
    if (!report) return scanner::failed(request.id, Failure::engine, report.error());
    if (report->id == request.id) return *std::move(report);
  }
  return scanner::failed(request.id, Failure::disconnected, "the scanner gives no answer");
}

}  // namespace admin
