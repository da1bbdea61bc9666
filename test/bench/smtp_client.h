// One SMTP client connection of the load generator: a state machine over a non-blocking socket. One command at a time
// (or MAIL, RCPT and DATA together), every reply checked.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "test/bench/content.h"
#include "test/bench/load_options.h"

namespace bench {

using Clock = std::chrono::steady_clock;

// What all clients share; made by the program, outlives them.
struct Load {
  LoadOptions options;
  std::vector<std::string> corpus;  // dot-stuffed
  int epoll = -1;
  bool holding = false;  // --hold-before-dot and not yet released
  // Counts.
  std::uint64_t messages = 0;       // accepted with 250 after the final dot
  std::uint64_t octets = 0;         // content of those
  std::uint64_t failures = 0;       // messages (with --idle: connections) that ended in any other way
  std::uint64_t lost = 0;           // connections that ended wrongly after or between messages
  std::vector<float> dot_to_reply;  // microseconds, one per accepted message
  Clock::time_point last_progress = Clock::now();
  void fail(const std::string& what, std::uint64_t& count);  // counts, and says the first few on stderr
};

class Client {
 public:
  enum class Step { closed, connecting, greeting, ehlo, ready, mail, rcpt, data, content, held, final_dot, quit };

  Client(Load& load, std::uint32_t number) : load_(load), number_(number) {}
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
  Clock::time_point dot_at_{};
};

std::string_view to_string(Client::Step step);

}  // namespace bench
