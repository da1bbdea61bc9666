// One SMTP client connection of the load generator: a state machine over a non-blocking socket, with TLS or without.
// One command at a time (or MAIL, RCPT and DATA together), every reply checked.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "test/bench/content.h"
#include "test/bench/load_options.h"
#include "test/bench/tls_leg.h"

namespace bench {

using Clock = std::chrono::steady_clock;

enum class Step { closed, connecting, greeting, ehlo, ready, mail, rcpt, data, content, held, final_dot, quit };
inline constexpr std::size_t step_count = static_cast<std::size_t>(Step::quit) + 1;
std::string_view to_string(Step step);

// What all clients share; made by the program, outlives them.
struct Load {
  LoadOptions options;
  std::vector<std::string> corpus;   // dot-stuffed
  std::unique_ptr<TlsSettings> tls;  // null: plain text
  int epoll = -1;
  bool holding = false;  // --hold-before-dot and not yet released
  // Counts.
  std::uint64_t messages = 0;  // accepted with 250 after the final dot
  std::uint64_t octets = 0;    // content of those
  std::uint64_t failures = 0;  // messages (with --idle: connections) that ended in any other way
  std::uint64_t lost = 0;      // connections that ended wrongly after or between messages
  // By the step whose reply came: microseconds from the last octet sent before it (greeting: from connect()).
  std::array<std::vector<float>, step_count> waits;
  std::vector<float>& waits_of(Step step) { return waits[static_cast<std::size_t>(step)]; }
  Clock::time_point last_progress = Clock::now();
  void fail(const std::string& what, std::uint64_t& count);  // counts, and says the first few on stderr
};

class Client {
 public:
  Client(Load& load, std::uint32_t number) : load_(load), number_(number) {
    if (load.tls) tls_.emplace(*load.tls);
  }
  Client(const Client&) = delete;
  ~Client() { close(); }

  // Needs `available()`. Opens a connection when there is none.
  void send_message(std::uint64_t index);
  void open();                          // connection and EHLO only; ends in Step::ready
  void release();                       // from Step::held: the final dot
  void on_event(std::uint32_t events);  // from epoll
  void quit();                          // from Step::ready
  void close();

  Step step() const { return step_; }
  bool available() const { return step_ == Step::closed || (step_ == Step::ready && !has_message_); }

 private:
  void command(Step next, std::string_view text);
  void begin();
  void more_content();
  bool flush();  // false when the connection failed
  void read_replies();
  bool read_some();  // false: nothing more for now, or the connection is closed
  std::string why() const;
  void on_reply(std::string_view line);
  void advance();
  void accepted();
  void failed(std::string_view what);
  void watch(bool writable);

  Load& load_;
  const std::uint32_t number_;
  int fd_ = -1;
  Step step_ = Step::closed;
  bool has_message_ = false;
  bool watches_write_ = false;
  std::uint64_t index_ = 0;
  std::size_t size_ = 0;
  std::string out_, in_;
  std::size_t written_ = 0;
  ContentStream content_;
  Clock::time_point asked_at_{};
  std::optional<TlsLeg> tls_;
};

}  // namespace bench
