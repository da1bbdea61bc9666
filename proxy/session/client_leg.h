// The client's leg of a session: command lines in, replies out. Bounded in both directions.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>

#include "config/config.h"
#include "protocol/line_buffer.h"
#include "protocol/reply.h"
#include "proxy/io/stream.h"
#include "proxy/io/tls_context.h"
#include "proxy/io/tls_facts.h"

namespace session {

class ClientLeg {
 public:
  ClientLeg(std::unique_ptr<io::Stream> stream, io::Scope& scope, config::HalfClose half_close)
      : stream_(std::move(stream)), scope_(scope), half_close_(half_close) {}

  // Takes the bytes that are there, without waiting, while fewer than 64 KiB are unread, and up to a bound. After this
  // gone() is current, unless has_more(): then let others have a turn, and come again without waiting.
  void take_input();
  // The same for what the loop knows of, without asking the kernel whether there is more since.
  void take_announced_input();
  bool has_more() const { return more_; }
  bool gone() const { return end_ != io::IoStatus::ok; }  // FIN or RST has been seen
  bool reset() const { return end_ == io::IoStatus::reset; }
  bool full() const { return lines_.unread().size() >= most_unread; }     // take_input() leaves the rest to the kernel

  bool has_line() const { return lines_.has_line(); }
  bool has_unread() const { return !lines_.empty(); }
  std::optional<protocol::Line> next_line();
  bool quit_waits() const;  // a complete QUIT is among the unread lines
  // Of the next line on, without CRLF.
  void limit_lines(std::size_t octets) { lines_.set_limit(octets); }
  // Nobody will hear the answer: RST, or a FIN without a complete QUIT in front of it (dialogue.md D3).
  bool left() const { return reset() || (gone() && half_close_ == config::HalfClose::abort && !quit_waits()); }

  // Content: bytes that are not commands, those first that were read with the command in front of them. Views stay valid
  // until the next call on this leg or of any other read. would_block: wait for readable().
  io::IoStatus read_content(std::string_view& bytes);
  void give_back(std::string_view rest);  // after each read that was ok: what follows the content, or nothing

  void queue(const protocol::Reply& reply, bool with_enhanced = true) { append_wire(out_, reply, with_enhanced); }
  std::size_t queued() const { return out_.size(); }
  bool flush_at_once();  // true: all is out; false: flush() waits for the rest, or knows what is wrong
  io::Task<bool> flush(io::TimePoint until);  // false: the client is gone or does not read
  void flush_now();  // what can be written without waiting, unless half a reply went out before; for farewells

  // The handshake as server; nothing may be unread or queued. After a failure the leg is gone.
  io::Task<std::expected<io::TlsFacts, io::TlsFailure>> start_tls(std::shared_ptr<const io::TlsServerContext> context,
                                                                  io::TlsMeant meant, io::TimePoint until);

  io::Signal& readable() { return stream_->readable; }
  io::Stream& stream() { return *stream_; }
  // The stream speaks a language of its own from now on: nothing that is queued goes out any more.
  io::Stream& give_away() {
    torn_ = true;
    return *stream_;
  }
  // It has said nothing in it: replies may follow.
  void take_back() { torn_ = false; }

 private:
  static constexpr std::size_t most_unread = 65536;
  static constexpr unsigned most_reads = 16;  // of one take_input()
  std::unique_ptr<io::Stream> stream_;
  io::Scope& scope_;
  config::HalfClose half_close_;
  protocol::LineBuffer lines_;
  std::string out_;
  std::size_t lent_ = 0;  // octets of lines_ that read_content() has shown
  io::IoStatus end_ = io::IoStatus::ok;
  bool more_ = false;
  bool torn_ = false;  // a flush was stopped or failed in the middle
};

}  // namespace session
