// One small function per verb (RFC 5321 4.1.1): what is asked of the downstream, and what we answer ourselves.
#include "proxy/session/content.h"
#include "proxy/session/end_of_data.h"
#include "proxy/session/smtp_session.h"

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
  facts_.esmtp = verb == Verb::ehlo;
  const std::string& hostname = services_.config->hostname;
  if (!facts_.esmtp) {
    offered_ = protocol::Capabilities();
    client_->queue(Reply(250, std::nullopt, hostname), false);
    co_return;
  }
  offered_ = intersection(protocol::carried(), downstream_->capabilities());
  offered_.size_limit = content_limit();
  client_->queue(ehlo_reply(hostname, offered_), false);
}

// The smallest of the downstream's limit, ours and the scanner's; 0 = none. It holds after HELO, too.
std::uint64_t SmtpSession::content_limit() const {
  std::uint64_t smallest = downstream_->capabilities().size_limit;
  const auto lower = [&smallest](std::uint64_t limit) {
    if (limit != 0 && (smallest == 0 || limit < smallest)) smallest = limit;
  };
  lower(listener_.max_message);
  if (services_.scanner != nullptr) lower(services_.config->scanners.front().max_file_size);
  return smallest;
}

void SmtpSession::on_mail(std::string_view argument) {
  auto command = parse_mail(argument, offered_);
  if (!command) return own(command.error());
  downstream_->mail(*command);
  group_.emplace_back(std::move(*command));
  state_ = after(state_, Verb::mail);
}

void SmtpSession::on_rcpt(std::string_view argument) {
  if (recipients_asked() >= listener_.max_recipients)
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

void SmtpSession::on_junk(Verb verb) {
  ++junk_;
  if (verb == Verb::vrfy) own(reply::make(252, "2.5.0", "Cannot verify, but will accept mail for those whom the server accepts"));
  else if (verb == Verb::help) own(reply::make(214, "2.0.0", "See RFC 5321"));
  else own(reply::ok());
}

Task<> SmtpSession::on_quit() {
  co_await settle();
  if (ending_) co_return;
  quit_ = true;
  end_with(reply::make(221, "2.0.0", "Bye"));
}

Task<> SmtpSession::on_data() {
  co_await settle();
  if (ending_) co_return;
  if (transaction_ && transaction_->envelope.recipients.empty())
    co_return own(reply::make(554, "5.5.1", "No valid recipients"));
  if (std::optional<Reply> refusal = check_legal(state_, Verb::data)) co_return own(std::move(*refusal));
  client_->take_input();
  if (client_->has_unread()) {
    note(admin::Level::warning, "spoke_before_354");
    co_return end_with(reply::make(554, "5.5.0", "Protocol error: you must wait for the reply to DATA"));
  }
  client_->queue(Reply(354, std::nullopt, "End data with <CR><LF>.<CR><LF>"), false);
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  if (told) co_await on_content(*transaction_);
  else ending_ = true;
}

Task<> SmtpSession::on_content(Transaction& mail) {
  mail.reply.reset();
  mail.times.data_begin = scope_.now();
  const ContentEnd end =
      co_await receive_content(mail, services_, listener_, content_limit(), *client_, *downstream_, scope_);
  mail.times.final_dot = scope_.now();
  if (end == ContentEnd::client_gone) mail.end = End::client_gone;
  else if (end == ContentEnd::too_slow) mail.reply = reply::make(421, "4.4.2", "Timeout while reading the message, closing");
  else co_await finish(mail, facts_, services_, *client_, *downstream_, scope_);
  if (mail.end == End::client_gone) {
    ending_ = true;
    co_return end_transaction(End::client_gone);
  }
  say(*mail.reply);
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  if (!told) ending_ = true;
  if (!told && mail.end == End::answered) mail.end = End::answer_lost;
  if (mail.reply->positive()) junk_ = 0;
  end_transaction(mail.end);
}

}  // namespace session
