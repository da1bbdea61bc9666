#include "proxy/session/smtp_downstream.h"

#include <algorithm>
#include <iterator>
#include <utility>

namespace session {

using io::IoStatus;
using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

// Postfix allows 100 junk commands in a session (dialogue.md D3).
constexpr unsigned most_keep_alives = 50;

bool is_mail(const std::string& command) { return command.starts_with("MAIL "); }
bool is_xforward(const std::string& command) { return command.starts_with("XFORWARD "); }
bool is_greeting(const std::string& command) {
  return command.starts_with("EHLO ") || command.starts_with("HELO ") || command.starts_with("LHLO ");
}

}  // namespace

void SmtpDownstream::ask(std::string command, bool for_us) {
  command += "\r\n";
  asked_.push_back(std::move(command));
  for_us_.push_back(for_us);
}

// Here, where it leaves: when it was asked for, this connection may not have been made yet. Whatever a reply to an older
// RSET says: with MAIL a transaction is open.
void SmtpDownstream::count_sent(const std::string& command) {
  if (is_mail(command)) {
    clean_ = false;
    ++life_.transactions;
  } else if (is_greeting(command)) {
    life_.greet();
  } else if (command == "RSET\r\n") {
    ++life_.idle_commands;
  }
}

// The next commands to go out, counted as sent.
std::string SmtpDownstream::take_asked() {
  // A server without PIPELINING gets one command at a time (RFC 2920 3.1).
  const std::size_t count = std::min<std::size_t>(asked_.size(), capabilities_.pipelining ? asked_.size() : 1);
  outstanding_ += count;
  last_sent_ = scope_.now();
  const auto end = asked_.begin() + static_cast<std::ptrdiff_t>(count);
  std::for_each(asked_.begin(), end, [this](const std::string& command) { count_sent(command); });
  std::string group;
  if (count == 1 && !unproven_) {
    group = std::move(asked_.front());
    asked_.erase(asked_.begin());
    return group;
  }
  for (auto each = asked_.begin(); each != end; ++each) group += *each;
  if (unproven_) std::move(asked_.begin(), end, std::back_inserter(sent_));
  asked_.erase(asked_.begin(), end);
  return group;
}

Task<bool> SmtpDownstream::send_asked() {
  const std::string group = take_asked();
  std::string_view rest = group;
  IoStatus sent = write_at_once(*stream_, rest);
  if (sent == IoStatus::would_block) sent = co_await write_all(*stream_, scope_, reply_deadline(), rest);
  if (sent != IoStatus::ok) lose(sent == IoStatus::timeout ? "does not read" : "closed the connection");
  co_return sent == IoStatus::ok;
}

Task<Reply> SmtpDownstream::answer() {
  while (true) {
    const bool for_us = !for_us_.empty() && for_us_.front();
    if (!for_us_.empty()) for_us_.erase(for_us_.begin());
    Reply answered = co_await answer_next();
    if (!for_us || broken_) co_return answered;
  }
}

Task<Reply> SmtpDownstream::answer_next() {
  if (broken_) {
    asked_.clear();
    co_return lost_reply();
  }
  if (stream_ && outstanding_ == 0 && (unheeded_ > 0 || !unread_.empty())) co_await swallow(reply_deadline());
  if (!stream_ && outstanding_ == 0) {
    const bool alive = co_await revive();
    if (!alive) outstanding_ += std::exchange(asked_, {}).size();  // one attempt answers the whole group
  }
  if (stream_ && outstanding_ == 0) co_await send_asked();
  if (!stream_ && unproven_) co_await replace_unproven();
  if (!stream_) {
    // What was asked before the loss is answered by the loss, one reply each.
    if (outstanding_ > 0) --outstanding_;
    else if (!asked_.empty()) asked_.erase(asked_.begin());
    co_return lost_reply();
  }
  std::optional<Reply> answered = co_await read_reply(reply_deadline());
  // 503: a transaction of the session before is open there.
  const bool in_use = unproven_ && mail_asked_ && answered && answered->code() == 503;
  if (unproven_ && (in_use || !answered || answered->code() == 421)) {
    const bool alive = co_await replace_unproven();
    if (in_use) answered.reset();
    if (alive) answered = co_await read_reply(reply_deadline());
  }
  --outstanding_;
  if (!answered) co_return lost_reply();
  note(*answered);
  if (answered->intermediate() && !(auth_asked_ && answered->code() == 334)) {
    lose("answered out of turn: " + to_text(*answered));
    co_return lost_reply();
  }
  if (outstanding_ == 0 && !unread_.empty()) {
    lose("sent more replies than it was asked for");
    broken_ = true;
  }
  co_return std::move(*answered);
}

void SmtpDownstream::mail(const protocol::MailCommand& command) {
  if (channel_ == Channel::xforward) ask_xforward();
  ask(format(command, capabilities_));
  mail_asked_ = true;
}

// What this reply says about the connection's further use.
void SmtpDownstream::note(const Reply& answered) {
  if (answered.transient() || answered.permanent()) ++life_.negative_replies;
  if (!unproven_ || sent_.empty()) return;
  std::string command = std::move(sent_.front());
  sent_.erase(sent_.begin());
  if (is_xforward(command)) forwarded_.push_back(std::move(command));
  else if (is_mail(command)) prove();
}

void SmtpDownstream::prove() {
  unproven_ = false;
  sent_.clear();
  forwarded_.clear();
}

std::optional<Reply> SmtpDownstream::parse_reply(std::string_view& input) {
  auto parsed = parser_.feed(input);
  if (!parsed) {
    lose("sent what is not an SMTP reply (" + std::string(to_string(parsed.error())) + ")");
    return std::nullopt;
  }
  return std::move(*parsed);
}

Task<std::optional<Reply>> SmtpDownstream::read_reply(io::TimePoint until) {
  while (stream_) {
    if (!unread_.empty()) {
      std::string_view input = unread_;
      std::optional<Reply> reply = parse_reply(input);
      unread_.erase(0, unread_.size() - input.size());
      if (reply) co_return reply;
      if (!stream_) break;
    }
    const io::Scratch space = io::scratch();
    stream_->look_again();
    const io::IoResult got = stream_->read(space.data, space.size);
    if (got.status == IoStatus::ok) {
      std::string_view input(space.data, got.count);
      std::optional<Reply> reply = parse_reply(input);
      if (stream_) unread_.assign(input);  // what is not a reply is not the next connection's first octet either
      if (reply) co_return reply;
    } else if (got.status != IoStatus::would_block) {
      lose("closed the connection");
    } else if (co_await io::Wait(scope_, until, stream_->readable) == io::Woken::deadline) {
      lose("does not answer");
    }
  }
  co_return std::nullopt;
}

Task<bool> SmtpDownstream::swallow(io::TimePoint until) {
  while (unheeded_ > 0 && stream_) {
    const std::optional<Reply> reply = co_await read_reply(until);
    if (!reply) break;
    heed(*reply);
  }
  if (stream_ && unheeded_ == 0 && !unread_.empty()) {
    lose("sent more replies than it was asked for");
    broken_ = true;
  }
  co_return static_cast<bool>(stream_);
}

// A reply that nobody waits for.
void SmtpDownstream::heed(const Reply& reply) {
  --unheeded_;
  const bool to_reset = reset_unheeded_ && unheeded_ == 0;
  if (to_reset) reset_unheeded_ = false;
  if (reply.code() == 421) lose("ended the session: " + to_text(reply));
  else if (to_reset && !reply.positive()) lose("refused RSET: " + to_text(reply));  // it may hold the old transaction
  else if (to_reset) clean_ = true;
}

void SmtpDownstream::lose(std::string why) {
  lost_why_ = std::move(why);
  drop();
}

void SmtpDownstream::drop() {
  if (stream_) stream_->abort_on_close();
  stream_.reset();
  unread_.clear();
  unheeded_ = 0;
  reset_unheeded_ = false;
}

Reply SmtpDownstream::lost_reply() const {
  if (broken_) return reply::make(421, "4.3.0", "The mail server behind does not follow the protocol, closing");
  if (authenticated_) return reply::make(421, "4.4.2", "The connection to the mail server behind was lost, closing");
  return reply::make(451, "4.4.2", "The connection to the mail server behind was lost, please try again");
}

bool SmtpDownstream::carries_binary() const {
  return accepted_ == nullptr || accepted_->mail.parameters.body != protocol::Body::binary_mime ||
         (capabilities_.chunking && capabilities_.binary_mime);
}

bool SmtpDownstream::carries_all() const {
  if (accepted_ == nullptr) return true;
  const protocol::MailParameters& used = accepted_->mail.parameters;
  const bool dsn = used.ret || used.envid ||
                   std::any_of(accepted_->recipients.begin(), accepted_->recipients.end(),
                               [](const auto& r) { return r.parameters.notify || r.parameters.orcpt; });
  return (!used.smtputf8 || capabilities_.smtputf8) && (!used.body || capabilities_.eight_bit_mime) &&
         (!dsn || capabilities_.dsn) && carries_binary();
}

namespace {

// Of what the client was told and may be using. Without CHUNKING other content goes by DATA.
bool lacks_some(const protocol::Capabilities& now, const protocol::Capabilities& told,
                const std::vector<std::string>& asked) {
  const auto is_binary = [](const std::string& command) { return command.find(" BODY=BINARYMIME") != command.npos; };
  const bool binary = std::ranges::any_of(asked, is_binary);
  return (told.eight_bit_mime && !now.eight_bit_mime) || (told.smtputf8 && !now.smtputf8) || (told.dsn && !now.dsn) ||
         (binary && !(now.binary_mime && now.chunking));
}

}  // namespace

Task<bool> SmtpDownstream::revive() {
  // Nothing of a message has gone downstream yet, so a new connection loses nothing (D3); but it would be nobody's, and
  // the next line of an exchange no answer to anything.
  if (authenticated_ || in_exchange_) co_return false;
  std::vector<std::string> asked = std::exchange(asked_, {});
  std::vector<bool> for_us = std::exchange(for_us_, {});
  const protocol::Capabilities told = capabilities_;
  const Reply banner = co_await connect_anew();  // never one that others have used: it would have to be replaced, too
  if (banner.positive() && greeting_) {
    co_await introduce();
  } else if (banner.positive() && !hello_name_.empty()) {
    const Reply greeted = co_await hello(hello_verb_, hello_name_);
    if (!greeted.positive()) lose("refused us: " + to_text(greeted));
  }
  lacks_binary_ = stream_ && !carries_binary();
  if (stream_ && !carries_all()) lose("no longer offers what this message needs");
  // The client has read of keywords that may be in use by now.
  if (stream_ && accepted_ == nullptr && !asked.empty() && lacks_some(capabilities_, told, asked))
    lose("no longer offers what the client was told");
  if (stream_ && accepted_ != nullptr) co_await replay();
  asked_ = std::move(asked);
  for_us_ = std::move(for_us);
  co_return static_cast<bool>(stream_);
}

Task<bool> SmtpDownstream::replay() {
  mail(accepted_->mail);
  for (const protocol::RcptCommand& recipient : accepted_->recipients) rcpt(recipient);
  const std::size_t count = 1 + accepted_->recipients.size();
  bool all = true;
  for (std::size_t i = 0; i < count; ++i) {
    if (!stream_) break;
    const Reply again = co_await answer();
    all = all && again.positive();
  }
  if (stream_ && !all) lose("no longer accepts what it accepted before");
  asked_.clear();
  for_us_.clear();
  outstanding_ = 0;
  co_return static_cast<bool>(stream_);
}

void SmtpDownstream::forget_transaction() {
  keep_alives_ = 0;
  if (!stream_) return;
  const iovec part{const_cast<char*>("RSET\r\n"), 6};
  const io::IoResult sent = stream_->write(&part, 1);
  // A server whose socket is full after a message-long silence is not worth keeping.
  if (sent.status != IoStatus::ok || sent.count != part.iov_len) return lose("does not read");
  ++unheeded_;
  ++life_.idle_commands;
  reset_unheeded_ = true;
}

void SmtpDownstream::start_over() {
  if (stream_) lose("refused RSET");
}

io::Signal& SmtpDownstream::stirred() { return stream_ ? stream_->readable : never_; }

void SmtpDownstream::look() {
  while (stream_ && outstanding_ == 0) {
    const io::Scratch space = io::scratch();
    const io::IoResult got = stream_->read(space.data, space.size);
    if (got.status == IoStatus::would_block) return;
    if (got.status != IoStatus::ok) return lose("closed the connection");
    std::string_view input(space.data, got.count);
    while (stream_ && !input.empty()) {
      const std::optional<Reply> reply = parse_reply(input);
      if (!reply) break;
      if (unheeded_ > 0) {
        heed(*reply);
        continue;
      }
      const bool farewell = reply->code() == 421;
      lose((farewell ? "ended the session: " : "spoke without being asked: ") + to_text(*reply));
      if (!farewell) broken_ = true;
    }
  }
}

io::TimePoint SmtpDownstream::keep_alive(io::TimePoint now) {
  if (!stream_ || settings_.keepalive.count() == 0 || keep_alives_ >= most_keep_alives) return io::never;
  const io::TimePoint due = last_sent_ + settings_.keepalive;
  if (now < due) return due;
  if (unheeded_ > 0) {  // the last one is not answered yet: the server is slow, more of them would not help
    last_sent_ = now;
    return now + settings_.keepalive;
  }
  const iovec part{const_cast<char*>("NOOP\r\n"), 6};
  const io::IoResult sent = stream_->write(&part, 1);
  if (sent.status != IoStatus::ok || sent.count != part.iov_len) {
    lose("does not read");
    return io::never;
  }
  ++unheeded_;
  ++life_.idle_commands;
  ++keep_alives_;
  last_sent_ = now;
  return now + settings_.keepalive;
}

Task<std::optional<Reply>> SmtpDownstream::farewell() {
  std::optional<Reply> answered;
  if (in_exchange_) drop();  // QUIT would be a response
  if (stream_ && outstanding_ == 0) {
    const io::TimePoint until = scope_.now() + farewell_patience;
    const bool heeded = co_await swallow(until);
    if (heeded) {
      const IoStatus sent = co_await write_all(*stream_, scope_, until, "QUIT\r\n");
      if (sent == IoStatus::ok) answered = co_await read_reply(until);
    }
    stream_.reset();
  }
  co_return answered;
}

Task<> SmtpDownstream::close(bool polite) {
  if (in_exchange_) drop();
  if (stream_ && polite) {
    const bool shared = co_await release();
    if (shared) co_return;
    co_await farewell();
  }
  drop();
}

}  // namespace session
