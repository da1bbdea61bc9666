#include "test/bench/smtp_client.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <stdexcept>

namespace bench {
namespace {

constexpr std::size_t content_piece = 128 << 10;
constexpr std::size_t longest_reply = 8192;
constexpr std::string_view mail_command = "MAIL FROM:<sender@sender.example>\r\n";
constexpr std::string_view rcpt_command = "RCPT TO:<recipient@recipient.example>\r\n";

const sockaddr* generic(const sockaddr_in& address) {
  return static_cast<const sockaddr*>(static_cast<const void*>(&address));
}

// Many source addresses, so that one connection per message never runs out of ports in TIME_WAIT.
void bind_source(int fd, const Load& load, std::uint32_t number) {
  if (load.options.sources < 2 || load.options.from.s_addr == 0) return;
  const int on = 1;
  setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(ntohl(load.options.from.s_addr) + number % load.options.sources);
  if (bind(fd, generic(source), sizeof source) != 0)
    throw std::runtime_error(std::string("bind: ") + std::strerror(errno));
}

int expected_code(Step step) {
  switch (step) {
    case Step::greeting:
      return 220;
    case Step::data:
      return 354;
    case Step::quit:
      return 221;
    default:
      return 250;
  }
}

}  // namespace

std::string_view to_string(Step step) {
  constexpr std::string_view names[] = {"closed", "connecting", "greeting", "EHLO", "ready",     "MAIL",
                                        "RCPT",   "DATA",       "content",  "held", "final dot", "QUIT"};
  return names[static_cast<std::size_t>(step)];
}

void Load::fail(const std::string& what, std::uint64_t& count) {
  constexpr std::uint64_t said = 5;
  if (++count <= said) std::fprintf(stderr, "%s\n", what.c_str());
  last_progress = Clock::now();
}

void Client::send_message(std::uint64_t index) {
  index_ = index;
  has_message_ = true;
  if (load_.corpus.empty()) {
    content_ = ContentStream(load_.options.seed, index, load_.options.size);
  } else {
    content_ = ContentStream(std::string_view(load_.corpus[index % load_.corpus.size()]));
  }
  size_ = content_.left();
  if (step_ == Step::closed) open();
  else begin();
}

void Client::open() {
  fd_ = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd_ < 0) throw std::runtime_error(std::string("socket: ") + std::strerror(errno));
  const int on = 1;
  setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  bind_source(fd_, load_, number_);
  step_ = Step::connecting;
  asked_at_ = Clock::now();
  if (connect(fd_, generic(load_.options.to), sizeof load_.options.to) != 0 && errno != EINPROGRESS) {
    failed(std::string("connect: ") + std::strerror(errno));
    return;
  }
  epoll_event event{};
  event.events = EPOLLIN | EPOLLOUT;
  event.data.u64 = number_;
  if (epoll_ctl(load_.epoll, EPOLL_CTL_ADD, fd_, &event) != 0) throw std::runtime_error("epoll_ctl");
  watches_write_ = true;
  if (tls_) tls_->begin(fd_);
}

void Client::close() {
  if (fd_ >= 0 && tls_) tls_->end();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
  step_ = Step::closed;
  has_message_ = watches_write_ = false;
  in_.clear();
  out_.clear();
  written_ = 0;
}

void Client::failed(std::string_view what) {
  const bool costs_message = has_message_ || load_.options.idle > 0;
  load_.fail(std::string(to_string(step_)) + ": " + std::string(what), costs_message ? load_.failures : load_.lost);
  close();
}

void Client::watch(bool writable) {
  if (writable == watches_write_) return;
  epoll_event event{};
  event.events = writable ? EPOLLIN | EPOLLOUT : EPOLLIN;
  event.data.u64 = number_;
  epoll_ctl(load_.epoll, EPOLL_CTL_MOD, fd_, &event);
  watches_write_ = writable;
}

void Client::on_event(std::uint32_t events) {
  if (step_ == Step::closed) return;
  if (step_ == Step::connecting) {
    int error = 0;
    socklen_t length = sizeof error;
    getsockopt(fd_, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error != 0) return failed(std::string("connect: ") + std::strerror(error));
    if (!(events & EPOLLOUT)) return;
    step_ = Step::greeting;
    watch(false);
    if (tls_) read_replies();  // sends the ClientHello
  } else if (events & EPOLLOUT) {
    if (!flush()) return;
  }
  if (step_ != Step::closed && (events & (EPOLLIN | EPOLLHUP | EPOLLERR))) read_replies();
}

void Client::command(Step next, std::string_view text) {
  step_ = next;
  out_ += text;
  flush();
}

void Client::begin() {
  if (load_.options.pipelining) command(Step::mail, std::string(mail_command) + std::string(rcpt_command) + "DATA\r\n");
  else command(Step::mail, mail_command);
}

// Fills the output buffer with the next piece; the last piece carries the dot unless that is held back.
void Client::more_content() {
  out_.clear();
  written_ = 0;
  content_.append_to(out_, content_piece);
  if (!content_.ended()) return;
  if (load_.holding) {
    step_ = Step::held;
    return;
  }
  out_ += ".\r\n";
  step_ = Step::final_dot;
}

bool Client::flush() {
  for (;;) {
    while (written_ < out_.size()) {
      if (step_ != Step::content) asked_at_ = Clock::now();
      const char* from = out_.data() + written_;
      const std::size_t left = out_.size() - written_;
      const ssize_t n = tls_ ? tls_->send(from, left) : send(fd_, from, left, MSG_NOSIGNAL);
      if (n < 0 && errno == EAGAIN) return watch(true), true;
      if (n < 0) return failed("send: " + why()), false;
      written_ += static_cast<std::size_t>(n);
      load_.last_progress = Clock::now();
    }
    out_.clear();
    written_ = 0;
    if (step_ != Step::content) break;
    more_content();
  }
  watch(false);
  return true;
}

void Client::release() {
  if (step_ == Step::held) command(Step::final_dot, ".\r\n");
}

void Client::quit() { command(Step::quit, "QUIT\r\n"); }

std::string Client::why() const {
  return errno == EPROTO && tls_ && !tls_->failure().empty() ? tls_->failure() : std::string(std::strerror(errno));
}

// A record that OpenSSL has read already raises no event: with TLS everything is taken.
void Client::read_replies() {
  while (read_some() && tls_) {
  }
}

bool Client::read_some() {
  char buffer[4096];
  const ssize_t n = tls_ ? tls_->recv(buffer, sizeof buffer) : recv(fd_, buffer, sizeof buffer, 0);
  if (n < 0 && errno == EAGAIN) return false;
  if (n < 0) return failed("recv: " + why()), false;
  if (n == 0) return failed("connection closed"), false;
  load_.last_progress = Clock::now();
  in_.append(buffer, static_cast<std::size_t>(n));
  std::size_t start = 0;
  while (step_ != Step::closed) {
    const auto end = in_.find("\r\n", start);
    if (end == std::string::npos) break;
    const std::string line = in_.substr(start, end - start);
    start = end + 2;
    if (line.size() > 3 && line[3] == '-') continue;
    on_reply(line);
  }
  if (step_ == Step::closed) return false;
  in_.erase(0, start);
  if (in_.size() > longest_reply) failed("endless reply");
  return step_ != Step::closed;
}

void Client::on_reply(std::string_view line) {
  const std::string code = std::to_string(expected_code(step_));
  const bool awaited = step_ != Step::ready && step_ != Step::content && step_ != Step::held;
  if (!awaited || !line.starts_with(code)) return failed(line);
  advance();
}

void Client::advance() {
  const std::chrono::duration<float, std::micro> waited = Clock::now() - asked_at_;
  load_.waits_of(step_).push_back(waited.count());
  const bool one_by_one = !load_.options.pipelining;
  switch (step_) {
    case Step::greeting:
      return command(Step::ehlo, "EHLO sender.example\r\n");
    case Step::ehlo:
      step_ = Step::ready;
      if (has_message_) begin();
      return;
    case Step::mail:
      return command(Step::rcpt, one_by_one ? rcpt_command : "");
    case Step::rcpt:
      return command(Step::data, one_by_one ? "DATA\r\n" : "");
    case Step::data:
      return command(Step::content, "");
    case Step::final_dot:
      return accepted();
    case Step::quit:
      return close();
    default:
      return failed("reply out of turn");
  }
}

void Client::accepted() {
  ++load_.messages;
  load_.octets += size_;
  has_message_ = false;
  step_ = Step::ready;
  if (!load_.options.reuse) quit();
}

}  // namespace bench
