#include "proxy/session/smtp_session.h"

#include <algorithm>
#include <new>

#include "protocol/characters.h"

namespace session {

using io::Task;
using protocol::Reply;
using protocol::SmtpState;
using protocol::Verb;
namespace reply = protocol::reply;

namespace {

// A group is answered at the latest after this many commands, so that both directions stay bounded.
constexpr std::size_t most_in_group = 100;
constexpr std::size_t most_queued = 16384;  // octets of replies
// From half of the permitted errors on each further one costs its sender a second (T:B13).
constexpr io::Duration error_delay = std::chrono::seconds(1);

Reply odd_line(const protocol::Line& line) {
  return reply::make(500, "5.5.2",
                     line.too_long  ? "Line too long"
                     : line.nul     ? "A command cannot hold NUL octets"
                     : line.bare_lf ? "A command must end in CRLF, not in LF alone"
                                    : "A command cannot hold a lone CR");
}
// MAILMAX of RFC 9422.
Reply enough_messages() { return reply::make(421, "4.7.0", "Too many messages in one session, please reconnect"); }
Reply shutting_down() { return reply::make(421, "4.3.2", "Service is shutting down, please reconnect"); }

}  // namespace

SmtpSession::SmtpSession(const Services& services, const config::Listener& listener, std::unique_ptr<io::Stream> client,
                         const Arrival& arrival, io::Loop& loop)
    : services_(services),
      listener_(listener),
      scope_(loop),
      trace_id_(services.new_trace_id()),
      facts_(facts_of(arrival, listener)),
      occupancy_(arrival.occupancy) {
  client_ = std::make_unique<ClientLeg>(std::move(client), scope_, listener.half_close);
  downstream_ = make_downstream(services_, listener_, facts_, scope_);
}

Task<> SmtpSession::run() {
  bool stopped = false;
  std::string failure;
  try {
    co_await story();
  } catch (const io::Stopped&) {
    stopped = true;
  } catch (const std::bad_alloc&) {
    failure = "out of memory";
  } catch (const std::exception& error) {
    failure = error.what();
  }
  if (stopped || !failure.empty()) interrupted(stopped, failure);
  if (stopped && occupancy_ != nullptr) occupancy_->cut(transaction_ != nullptr);
  if (transaction_) end_transaction(end_when_cut());
  client_->flush_now();
  co_await leave(stopped || !failure.empty());  // a connection that broke off somewhere is nobody's
}

Task<> SmtpSession::leave(bool stopped) {
  client_.reset();
  try {
    co_await downstream_->close(!stopped);
  } catch (const io::Stopped&) {
  }
}

Task<> SmtpSession::story() {
  const bool greeted = co_await greet();
  while (greeted && !ending_) {
    const bool line_waits = co_await await_line();
    if (!line_waits) break;
    while (!ending_ && group_.size() < most_in_group && client_->queued() < most_queued) {
      const std::optional<protocol::Line> line = client_->next_line();
      if (!line) break;
      co_await obey(*line);
    }
    if (group_.empty()) sum_up();
    else co_await settle();
    bool told = replied_at_once();
    if (!told) told = co_await deliver_replies();
    if (!told) break;
    // Chunks of one octet, without end: others on this loop have their turn in between.
    if (client_->has_line()) co_await io::Yield(scope_);
  }
}

Reply SmtpSession::greeting() const {
  if (banner_) return *banner_;
  return Reply(220, std::nullopt, services_.config->hostname + (is_lmtp() ? " LMTP gatepost" : " ESMTP gatepost"));
}

Task<bool> SmtpSession::greet() {
  const bool introduced = co_await read_proxy_header();
  if (!introduced) co_return false;
  if (listener_.tls.mode == config::ListenerTlsMode::implicit) {
    const bool secured = co_await secure();
    if (!secured) co_return false;
  }
  const Reply banner = co_await downstream_->open();
  if (!banner.positive()) {
    const std::string at = downstream_->address();
    const std::string why = downstream_->trouble();
    note(admin::Level::warning, "downstream_refused",
         to_text(banner) + (why.empty() ? "" : "; " + at + (at.empty() ? "" : " ") + why));
    end_with(banner);
    co_await deliver_replies();
    co_return false;
  }
  if (listener_.hide) banner_ = Reply(220, std::nullopt, banner.lines());
  const io::TimePoint quiet_until = scope_.now() + listener_.early_talker_wait;
  client_->take_input();
  while (scope_.now() < quiet_until && !client_->gone() && !client_->has_unread()) {
    co_await io::Wait(scope_, quiet_until, client_->readable());
    client_->take_input();
  }
  if (client_->has_unread()) {
    note(admin::Level::warning, "early_talker");
    offended(config::Offence::early_talk);
    end_with(reply::make(554, "5.5.1", "Protocol error: you spoke before the banner"));
  } else {
    client_->queue(greeting(), false);
  }
  bool told = replied_at_once();
  if (!told) told = co_await deliver_replies();
  co_return told && !ending_;
}

Task<bool> SmtpSession::await_line() {
  const io::TimePoint until = scope_.now() + listener_.command_timeout;
  while (!client_->has_line()) {
    client_->take_input();
    if (client_->has_line()) break;
    const io::TimePoint now = scope_.now();
    if (client_->gone()) {
      if (transaction_ || client_->reset()) note(admin::Level::info, "lost_connection");
      co_return false;
    }
    if (downstream_->broken())
      end_with(reply::make(421, "4.3.0", "The mail server behind does not follow the protocol, closing"));
    else if (scope_.draining() && !transaction_) end_with(shutting_down());
    else if (now >= until) end_with(reply::make(421, "4.4.2", "Timeout, closing the connection"));
    if (ending_) {
      co_await deliver_replies();
      co_return false;
    }
    const io::TimePoint wake = transaction_ ? std::min(until, downstream_->keep_alive(now)) : until;
    if (client_->has_more()) co_await io::Yield(scope_);
    else co_await io::Wait(scope_, wake, client_->readable(), downstream_->stirred(), scope_.drained);
    downstream_->look();
  }
  co_return true;
}

// DATA and BDAT decide for themselves, once the group before them is answered.
std::optional<Reply> SmtpSession::refuse(const protocol::Command& command, std::size_t octets) {
  if (octets > longest_command && command.verb != Verb::auth) return reply::make(500, "5.5.2", "Line too long");
  if (command.verb == Verb::unknown) return reply::unknown_command();
  if (command.verb == Verb::known_elsewhere)
    return reply::make(502, "5.5.1", std::string(command.word) + " is not offered here");
  if (command.verb == Verb::data || command.verb == Verb::bdat) return std::nullopt;
  const bool tells = command.verb == Verb::xclient || command.verb == Verb::xforward;
  std::optional<Reply> refusal =
      tells ? refuse_to_be_told(command.verb) : check_legal(state_, command.verb, circumstances());
  if (!refusal && needs_tls(command.verb)) refusal = reply::make(530, "5.7.0", "Must issue a STARTTLS command first");
  return refusal;
}

Task<> SmtpSession::obey(const protocol::Line& line) {
  if (line.too_long || line.nul || line.bare_lf || line.bare_cr) {
    const bool chunk = protocol::upper(line.text.substr(0, 4)) == "BDAT";
    if (!chunk) co_return own(odd_line(line));
    co_await say_goodbye(odd_line(line));  // the octets behind it must not be taken for commands (T:B5)
    co_return;
  }
  const protocol::Command command = protocol::parse_command(line.text);
  if (command.verb == Verb::forbidden) {
    note(admin::Level::warning, "not_smtp", line.text);
    offended(config::Offence::errors);
    co_await say_goodbye(reply::make(221, "2.7.0", "This is a mail server"));
    co_return;
  }
  if (std::optional<Reply> refusal = refuse(command, line.text.size())) {
    if (command.verb == Verb::bdat) co_await say_goodbye(std::move(*refusal));
    else co_await refuse_line(command, std::move(*refusal));
    co_return;
  }
  std::optional<Task<>> rest = perform(command);
  if (rest) co_await std::move(*rest);
}

// What of it takes time, if anything does.
std::optional<Task<>> SmtpSession::perform(const protocol::Command& command) {
  std::optional<Reply> refusal;
  switch (command.verb) {
    case Verb::ehlo:
    case Verb::helo:
    case Verb::lhlo: return on_hello(command);
    case Verb::mail:
      if (scope_.draining()) return say_goodbye(shutting_down());
      if (listener_.max_messages != 0 && mails_ >= listener_.max_messages) return say_goodbye(enough_messages());
      refusal = on_mail(command.argument);
      break;
    case Verb::rcpt: refusal = on_rcpt(command.argument); break;
    case Verb::rset: on_rset(); break;
    case Verb::data: return on_data();
    case Verb::bdat: return on_bdat(command.argument);
    case Verb::quit: return on_quit();
    case Verb::starttls: return on_starttls(command);
    case Verb::xclient: return on_xclient(command.argument);
    case Verb::xforward: return on_xforward(command.argument);
    case Verb::auth: return on_auth(command.argument);
    case Verb::noop: return on_noop();
    case Verb::vrfy:
    case Verb::expn:
    case Verb::help:
    case Verb::etrn: return on_inquiry(command);
    default: own(reply::make(502, "5.5.1", std::string(command.word) + " is not offered here")); break;
  }
  if (refusal) return refuse_line(command, std::move(*refusal));
  return std::nullopt;
}

// Behind the answers of the group, unless one of them was a farewell itself.
Task<> SmtpSession::say_goodbye(Reply reply) {
  co_await settle();
  if (!ending_) end_with(reply);
}

Task<> SmtpSession::settle() {
  std::vector<Asked> group = std::move(group_);
  group_.clear();
  for (Asked& asked : group) {
    if (ending_) break;
    if (const Reply* known = std::get_if<Reply>(&asked)) {
      say(*known);
      continue;
    }
    Reply answered = co_await downstream_->answer();
    if (const auto* mail = std::get_if<protocol::MailCommand>(&asked)) apply(*mail, answered);
    else if (const auto* rcpt = std::get_if<protocol::RcptCommand>(&asked)) apply(*rcpt, answered);
    else apply_reset(answered);
    say(answered);
  }
  sum_up();
}

void SmtpSession::sum_up() {
  state_ = actual_state();
  const bool junk = junk_ > listener_.max_junk;
  if (!ending_ && (errors_ > listener_.max_errors || junk)) {
    note(admin::Level::warning, junk ? "too_much_junk" : "too_many_errors");
    offended(config::Offence::errors);
    end_with(reply::make(421, "4.7.0", junk ? "Too many commands without mail, closing" : "Too many errors, closing"));
  }
}

void SmtpSession::apply(const protocol::MailCommand& command, Reply& answer) {
  if (!answer.positive()) return;
  transaction_ = std::make_unique<Transaction>(trace_id_ + "." + std::to_string(++transactions_), command);
  downstream_->follow(&transaction_->envelope);
}

void SmtpSession::apply(const protocol::RcptCommand& command, Reply& answer) {
  if (!transaction_) {
    // Pipelined behind a MAIL that was refused: whatever the server says, nobody is a recipient of nothing.
    if (answer.positive()) answer = reply::bad_sequence("MAIL first");
    return;
  }
  if (answer.positive()) transaction_->envelope.recipients.push_back(command);
  else transaction_->reply = answer;  // the summary tells the last refusal, if nothing follows
}

// RSET cannot fail for the client: a server that refuses it, or is gone, is replaced before the next command.
void SmtpSession::apply_reset(Reply& answer) {
  if (transaction_) end_transaction(End::reset);
  if (answer.positive() || answer.code() == 421) return;
  downstream_->start_over();
  answer = reply::ok();
}

void SmtpSession::say(const Reply& reply) {
  if (reply.transient() || reply.permanent()) ++errors_;
  client_->queue(reply);
  if (reply.code() == 421) ending_ = true;
}

void SmtpSession::end_with(const Reply& reply) {
  client_->queue(reply);
  ending_ = true;
}

// Nearly always: the kernel takes them.
bool SmtpSession::replied_at_once() {
  if (errors_ > errors_told_) return false;
  if (ending_ && !client_->has_unread()) client_->stream().last_words();
  return client_->flush_at_once();
}

Task<bool> SmtpSession::deliver_replies() {
  const bool new_errors = errors_ > errors_told_;
  errors_told_ = errors_;
  if (new_errors && errors_ > listener_.max_errors / 2 && !ending_)
    co_await io::Wait(scope_, scope_.now() + error_delay);
  // Not where the client has said more: the RST for what nobody reads would overtake these words.
  if (ending_ && !client_->has_unread()) client_->stream().last_words();
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  co_return told;
}

void SmtpSession::end_transaction(End end) {
  chunks_.reset();
  chunks_failed_ = false;
  const std::unique_ptr<Transaction> mail = std::move(transaction_);
  downstream_->follow(nullptr);
  mail->end = end;
  state_ = actual_state();
  note_origin(*mail);
  admin::Record record(services_.config->log.format, admin::Level::info, mail->trace_id);
  summarise(record, *mail, facts_);
  facts_.origin.reset();
  facts_.forwarded.reset();
  services_.log(admin::Level::info, std::move(record));
}

void SmtpSession::interrupted(bool stopped, std::string_view what) {
  if (!stopped) note(admin::Level::error, "session_failed", what);
  const bool in_data = transaction_ && transaction_->times.final_dot != io::TimePoint{};
  if (in_data && transaction_->reply) return;  // it is known, and on its way: a second one would follow it
  Reply farewell = stopped ? shutting_down() : reply::make(421, "4.3.0", "Mail system failure, please try again later");
  if (in_data && transaction_->slot.is_open())
    farewell = reply::make(451, "4.4.2", "The mail server behind did not confirm the message, please try again");
  if (in_data) transaction_->reply = farewell;
  client_->queue(farewell);
}

// How a transaction ended that nobody finished.
End SmtpSession::end_when_cut() const {
  if (transaction_->end == End::answered) return End::answer_lost;
  if (transaction_->end == End::unknown || transaction_->slot.is_open()) return End::unknown;
  return quit_ ? End::reset : End::open;
}

protocol::Circumstances SmtpSession::circumstances() const {
  protocol::Circumstances circumstances(offered_);
  circumstances.lmtp = is_lmtp();
  circumstances.tls = facts_.tls.has_value();
  circumstances.authenticated = facts_.authenticated;
  circumstances.binary = transaction_ && transaction_->envelope.mail.parameters.body == protocol::Body::binary_mime;
  return circumstances;
}

SmtpState SmtpSession::actual_state() const {
  if (!greeted_) return SmtpState::connected;
  if (!transaction_) return SmtpState::greeted;
  if (chunks_failed_) return SmtpState::failed;
  if (chunks_) return SmtpState::chunks;
  return transaction_->envelope.recipients.empty() ? SmtpState::mail : SmtpState::rcpt;
}

void SmtpSession::note(admin::Level level, std::string_view event, std::string_view detail) {
  admin::Record record(services_.config->log.format, level, trace_id_);
  record.text("event", event).text("client", facts_.address).listener(facts_.listener, facts_.direction);
  if (facts_.intercepted) record.text("meant_for", facts_.intercepted->destination.text);
  if (!facts_.helo.empty()) record.path("helo", facts_.helo);
  if (!detail.empty()) record.quoted("detail", detail);
  services_.log(level, std::move(record));
}

}  // namespace session
