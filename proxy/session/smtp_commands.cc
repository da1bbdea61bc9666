// One small function per verb (RFC 5321 4.1.1): what is asked of the downstream, and what we answer ourselves.
#include <algorithm>

#include "protocol/inquiry.h"
#include "proxy/session/disguise.h"
#include "proxy/session/offer.h"
#include "proxy/session/smtp_session.h"
#include "proxy/session/withheld_log.h"

namespace session {

using io::Task;
using protocol::Reply;
using protocol::SmtpState;
using protocol::Verb;
namespace reply = protocol::reply;

// Outside of any group.
Task<Reply> SmtpSession::ask_server(std::string command) {
  co_await settle();
  if (ending_) co_return reply::ok();  // that nobody reads
  Reply answered = co_await downstream_->inquire(std::move(command));
  co_return answered;
}

// With `hide` the server says so itself (dialogue.md D8). One that takes the line for more is left: what it did with it is
// nobody's.
Task<> SmtpSession::refuse_line(const protocol::Command& command, Reply ours) {
  const bool same = services_.config->downstream_of(listener_).protocol == listener_.protocol;
  std::string line;
  if (greeted_ && same && shows_server(services_, listener_))
    line = line_to_refuse(command, ours, downstream_->capabilities());
  if (line.empty()) co_return own(std::move(ours));
  Reply answered = co_await ask_server(std::move(line));
  const bool refused = answered.permanent() || answered.code() == 421;
  if (!refused && !ending_) downstream_->start_over();
  own(refused ? std::move(answered) : std::move(ours));
}

Task<> SmtpSession::on_hello(const protocol::Command& command) {
  if (!group_.empty()) co_await settle();
  if (ending_) co_return;
  if (greeted_) ++junk_;
  const Verb verb = command.verb;
  auto name = protocol::parse_helo_name(command.argument, false);
  if (!name) {
    Reply ours = reply::make(501, "5.5.4", std::string(to_string(verb)) + ": " + std::string(name.error().reason));
    co_await refuse_line(command, std::move(ours));
    co_return;
  }
  const bool in_transaction = transaction_ != nullptr;
  if (in_transaction) end_transaction(End::reset);
  const Reply answered = co_await downstream_->hello(verb, *name);
  if (!answered.positive()) {
    if (in_transaction) downstream_->forget_transaction();  // a refused EHLO has not ended it there
    co_return own(answered);
  }
  greeted_ = true;
  state_ = SmtpState::greeted;
  facts_.helo = std::move(*name);  // one that the server refuses is nobody's
  facts_.esmtp = verb != Verb::helo;
  offered_ = protocol::Capabilities();
  if (facts_.esmtp) offered_ = offer(services_, listener_, facts_, downstream_->capabilities(), offers_starttls());
  client_->limit_lines(offered_.auth.empty() ? longest_command : protocol::max_auth_line);
  const std::string& name_shown = services_.config->hostname;
  if (!facts_.esmtp && listener_.hide) co_return client_->queue(Reply(250, std::nullopt, answered.lines()), false);
  if (!facts_.esmtp) co_return client_->queue(Reply(250, std::nullopt, name_shown), false);
  note_withheld();
  client_->queue(listener_.hide ? disguised(answered, offered_) : ehlo_reply(name_shown, offered_), false);
}

// What the server has and the client does not read of: an administrator may wonder.
void SmtpSession::note_withheld() {
  if (services_.withheld == nullptr) return;
  const std::vector<std::string> keywords = withheld(downstream_->capabilities(), offered_);
  const std::string news =
      services_.withheld->news(listener_.name, listener_.downstream, downstream_->address(), keywords);
  if (!news.empty()) note(admin::Level::info, "withheld", news);
}

std::optional<Reply> SmtpSession::on_mail(std::string_view argument) {
  ++mails_;
  auto command = parse_mail(argument, offered_);
  if (!command) return command.error();
  downstream_->mail(*command);
  group_.emplace_back(std::move(*command));
  state_ = after(state_, Verb::mail);
  return std::nullopt;
}

std::optional<Reply> SmtpSession::on_rcpt(std::string_view argument) {
  const std::size_t most = takes_one_recipient(services_, listener_) ? 1 : listener_.max_recipients;
  if (recipients_asked() >= most)
    return reply::make(452, "4.5.3", "Too many recipients, send the others in a further transaction");
  auto command = parse_rcpt(argument, offered_, smtputf8_asked());
  if (!command) return command.error();
  downstream_->rcpt(*command);
  group_.emplace_back(std::move(*command));
  state_ = after(state_, Verb::rcpt);
  return std::nullopt;
}

bool SmtpSession::smtputf8_asked() const {
  for (auto asked = group_.rbegin(); asked != group_.rend(); ++asked)  // the youngest MAIL is that of this transaction
    if (const auto* mail = std::get_if<protocol::MailCommand>(&*asked)) return mail->parameters.smtputf8;
  return transaction_ && transaction_->envelope.mail.parameters.smtputf8;
}

// Of this transaction, those included whose answer is still open.
std::size_t SmtpSession::recipients_asked() const {
  std::size_t count = transaction_ ? transaction_->envelope.recipients.size() : 0;
  for (const Asked& asked : group_) {
    if (std::holds_alternative<ResetAsked>(asked)) count = 0;
    if (std::holds_alternative<protocol::RcptCommand>(asked)) ++count;
  }
  return count;
}

void SmtpSession::on_rset() {
  ++junk_;
  downstream_->reset();
  group_.emplace_back(ResetAsked());
  state_ = after_transaction(state_);
}

Task<> SmtpSession::on_noop() {
  ++junk_;
  if (!shows_server(services_, listener_)) co_return own(reply::ok());
  own(co_await ask_server("NOOP"));
}

// VRFY, EXPN, HELP and ETRN: the server's answer where these are forwarded, else what RFC 5321 4.1.1 has for those who
// will not tell. HELP tells nothing that the rest of a server that is shown does not.
Task<> SmtpSession::on_inquiry(const protocol::Command& command) {
  const Verb verb = command.verb;
  ++junk_;
  const auto& forwarded = listener_.forward_commands;
  const bool shown = verb == Verb::help && shows_server(services_, listener_);
  if (shown || std::ranges::find(forwarded, to_string(verb)) != forwarded.end()) {
    const auto inquiry = parse_inquiry(verb, command.argument, offered_);
    if (inquiry) own(co_await ask_server(format(*inquiry)));
    else co_await refuse_line(command, inquiry.error());
  } else if (verb == Verb::vrfy) {
    own(reply::make(252, "2.5.0", "Cannot verify, but will accept mail for those whom the server accepts"));
  } else if (verb == Verb::help) {
    own(reply::make(214, "2.0.0", "See RFC 5321"));
  } else {
    own(reply::make(502, "5.5.1", std::string(to_string(verb)) + " is not offered here"));
  }
}

Task<> SmtpSession::on_quit() {
  if (!group_.empty()) co_await settle();
  if (ending_) co_return;
  quit_ = true;
  std::optional<Reply> servers;
  if (shows_server(services_, listener_)) servers = co_await downstream_->farewell();
  end_with(servers && servers->code() == 221 ? *servers : reply::make(221, "2.0.0", "Bye"));
}

}  // namespace session
