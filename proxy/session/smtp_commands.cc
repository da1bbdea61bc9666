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

Task<> SmtpSession::on_hello(Verb verb, std::string_view argument) {
  co_await settle();
  if (ending_) co_return;
  if (greeted_) ++junk_;
  auto name = protocol::parse_helo_name(argument, false);
  if (!name) {
    own(reply::make(501, "5.5.4", std::string(to_string(verb)) + ": " + std::string(name.error().reason)));
    co_return;
  }
  const bool in_transaction = transaction_ != nullptr;
  if (in_transaction) end_transaction(End::reset);
  facts_.helo = *name;
  const Reply answered = co_await downstream_->hello(verb, std::move(*name));
  if (!answered.positive()) {
    if (in_transaction) downstream_->forget_transaction();  // a refused EHLO has not ended it there
    co_return own(answered);
  }
  greeted_ = true;
  state_ = SmtpState::greeted;
  facts_.esmtp = verb != Verb::helo;
  const std::vector<std::string> shown = listener_.hide ? answered.lines() : std::vector{services_.config->hostname};
  offered_ = protocol::Capabilities();
  if (facts_.esmtp) offered_ = offer(services_, listener_, facts_, downstream_->capabilities(), offers_starttls());
  client_->limit_lines(offered_.auth.empty() ? longest_command : protocol::max_auth_line);
  if (!facts_.esmtp) co_return client_->queue(Reply(250, std::nullopt, shown), false);
  note_withheld();
  client_->queue(listener_.hide ? disguised(answered, offered_) : ehlo_reply(shown.front(), offered_), false);
}

// What the server has and the client does not read of: an administrator may wonder.
void SmtpSession::note_withheld() {
  if (services_.withheld == nullptr) return;
  const std::vector<std::string> keywords = withheld(downstream_->capabilities(), offered_);
  const std::string news = services_.withheld->news(listener_.name, downstream_->address(), keywords);
  if (!news.empty()) note(admin::Level::info, "withheld", news);
}

void SmtpSession::on_mail(std::string_view argument) {
  ++mails_;
  auto command = parse_mail(argument, offered_);
  if (!command) return own(command.error());
  downstream_->mail(*command);
  group_.emplace_back(std::move(*command));
  state_ = after(state_, Verb::mail);
}

void SmtpSession::on_rcpt(std::string_view argument) {
  const std::size_t most = takes_one_recipient(services_, listener_) ? 1 : listener_.max_recipients;
  if (recipients_asked() >= most)
    return own(reply::make(452, "4.5.3", "Too many recipients, send the others in a further transaction"));
  auto command = parse_rcpt(argument, offered_, smtputf8_asked());
  if (!command) return own(command.error());
  downstream_->rcpt(*command);
  group_.emplace_back(std::move(*command));
  state_ = after(state_, Verb::rcpt);
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

void SmtpSession::on_noop() {
  ++junk_;
  own(reply::ok());
}

// VRFY, EXPN, HELP and ETRN: the server's answer where these are forwarded, else what RFC 5321 4.1.1 has for those who
// will not tell.
Task<> SmtpSession::on_inquiry(Verb verb, std::string_view argument) {
  ++junk_;
  const auto& forwarded = listener_.forward_commands;
  if (std::ranges::find(forwarded, to_string(verb)) != forwarded.end()) {
    const auto inquiry = parse_inquiry(verb, argument, offered_);
    if (!inquiry) co_return own(inquiry.error());
    co_await settle();
    if (ending_) co_return;
    const Reply answered = co_await downstream_->inquire(format(*inquiry));
    own(answered);
  } else if (verb == Verb::vrfy) {
    own(reply::make(252, "2.5.0", "Cannot verify, but will accept mail for those whom the server accepts"));
  } else if (verb == Verb::help) {
    own(reply::make(214, "2.0.0", "See RFC 5321"));
  } else {
    own(reply::make(502, "5.5.1", std::string(to_string(verb)) + " is not offered here"));
  }
}

Task<> SmtpSession::on_quit() {
  co_await settle();
  if (ending_) co_return;
  quit_ = true;
  end_with(reply::make(221, "2.0.0", "Bye"));
}

}  // namespace session
