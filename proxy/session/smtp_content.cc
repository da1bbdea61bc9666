// DATA (RFC 5321 4.1.1.4) and BDAT (RFC 3030): the content stops here, and its end is answered once.
#include <algorithm>

#include "proxy/session/content.h"
#include "proxy/session/end_of_data.h"
#include "proxy/session/journal.h"
#include "proxy/session/mixed_replies.h"
#include "proxy/session/offer.h"
#include "proxy/session/smtp_session.h"
#include "proxy/session/trace_field.h"

namespace session {

using io::Task;
using protocol::Reply;
using protocol::Verb;
namespace reply = protocol::reply;

namespace {

Reply content_too_slow() { return reply::make(421, "4.4.2", "Timeout while reading the message, closing"); }

}  // namespace

std::optional<Reply> SmtpSession::refuse_content(Verb verb) const {
  std::optional<Reply> refusal = check_legal(state_, verb, circumstances());
  if (!refusal || refusal->code() != 554 || !is_lmtp()) return refusal;
  return reply::make(503, "5.5.1", "No valid recipients");  // RFC 2033 4.2
}

std::unique_ptr<ContentIntake> SmtpSession::take_in(ContentIntake::Form form) {
  transaction_->reply.reset();
  transaction_->times.data_begin = scope_.now();
  transaction_->by_data = form == ContentIntake::Form::data;
  const std::uint64_t limit = content_limit(services_, listener_, downstream_->capabilities());
  return std::make_unique<ContentIntake>(*transaction_, services_, listener_, limit, form);
}

Task<> SmtpSession::on_data() {
  if (!group_.empty()) co_await settle();
  if (ending_) co_return;
  if (std::optional<Reply> refusal = refuse_content(Verb::data)) co_return own(std::move(*refusal));
  client_->take_announced_input();  // of what comes from now on nobody could say that it came too early
  if (client_->has_unread()) {
    note(admin::Level::warning, "spoke_before_354");
    co_return end_with(reply::make(554, "5.5.0", "Protocol error: you must wait for the reply to DATA"));
  }
  client_->queue(Reply(354, std::nullopt, "End data with <CR><LF>.<CR><LF>"), false);
  bool told = client_->flush_at_once();
  if (!told) told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  if (!told) {
    ending_ = true;
    co_return;
  }
  const auto intake = take_in(ContentIntake::Form::data);
  const ContentEnd end = co_await receive_content(*intake, scope_.now(), listener_, *client_, *downstream_, scope_);
  co_await end_content(*transaction_, end);
}

// Whatever is answered, the octets of the chunk are taken off the connection first (T:B5).
Task<> SmtpSession::on_bdat(std::string_view argument) {
  const auto chunk = protocol::parse_bdat(argument);
  if (!chunk) {
    co_await say_goodbye(chunk.error());  // nobody knows where the next command begins
    co_return;
  }
  co_await settle();
  if (ending_) co_return;
  std::optional<Reply> refusal = refuse_content(Verb::bdat);
  if (needs_tls(Verb::bdat)) refusal = reply::make(530, "5.7.0", "Must issue a STARTTLS command first");
  if (refusal) {
    co_await refuse_chunk(*chunk, std::move(*refusal));
    co_return;
  }
  if (!chunks_) chunks_ = take_in(ContentIntake::Form::chunks);
  Transaction& mail = *transaction_;
  if (chunk->size == 0 && !chunk->last) ++junk_;
  chunks_->begin(*chunk);
  const ContentEnd end =
      co_await receive_content(*chunks_, mail.times.data_begin, listener_, *client_, *downstream_, scope_);
  if (chunk->last || end != ContentEnd::complete) {
    co_await end_content(mail, end);
    co_return;
  }
  if (mail.refusal) fail_chunks(*mail.refusal, false);
  else own(reply::make(250, "2.0.0", std::to_string(chunk->size) + " octets received"));
  state_ = actual_state();
}

// Nothing of this transaction goes on until it is reset: what comes behind the hole would be half a message. LMTP clients
// that have sent the last chunk already count a reply for each recipient (RFC 2033 4.3).
void SmtpSession::fail_chunks(const Reply& refusal, bool last) {
  if (!chunks_failed_) transaction_->reply = refusal;
  chunks_.reset();
  chunks_failed_ = true;
  transaction_->spool.reset();
  say(refusal);
  const std::size_t replies = is_lmtp() && last ? transaction_->envelope.recipients.size() : 1;
  for (std::size_t told = 1; told < replies; ++told) client_->queue(refusal);
}

Task<> SmtpSession::refuse_chunk(const protocol::BdatCommand& chunk, Reply refusal) {
  DiscardedChunk discarded(chunk);
  const ContentEnd end = co_await receive_content(discarded, scope_.now(), listener_, *client_, *downstream_, scope_);
  if (end == ContentEnd::client_gone) ending_ = true;
  else if (end == ContentEnd::too_slow) co_await say_goodbye(content_too_slow());
  else if (transaction_) fail_chunks(refusal, chunk.last);
  else own(std::move(refusal));
  if (!ending_) state_ = actual_state();
}

// One reply; to LMTP clients one per recipient (RFC 2033 4.2), and to PRDR clients where they differ.
void SmtpSession::tell(const Transaction& mail) {
  const bool closing = mail.reply->code() == 421;
  const bool prdr = mail.envelope.mail.parameters.prdr && !mail.each.empty() && !are_alike(mail.each);
  if (closing || (!is_lmtp() && !prdr)) return say(*mail.reply);
  const unsigned before = errors_;
  if (prdr) client_->queue(Reply(353, std::nullopt, "One reply per recipient follows"), false);
  for (std::size_t i = 0; i < mail.envelope.recipients.size(); ++i) {
    Reply one = mail.each.empty() ? *mail.reply : mail.each[i];
    if (one.code() == 421) {  // in the middle it would be taken for the end, and those behind it for not delivered
      one = reply::make(451, "4.3.2", "The mail server behind ends the session, please try again");
      ending_ = true;
    }
    say(one);
  }
  errors_ = std::min(errors_, before + 1);  // one message, one error
  if (!prdr) return;
  const bool any = std::ranges::any_of(mail.each, &Reply::positive);
  say(any ? reply::make(250, "2.0.0", "Ok, as each recipient's reply says") : *mail.reply);
}

Task<> SmtpSession::end_content(Transaction& mail, ContentEnd end) {
  mail.times.final_dot = scope_.now();
  if (client_->queued() != 0) {  // what was pipelined in front of a chunk need not wait for the scan
    const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
    if (!told) end = ContentEnd::client_gone;
  }
  mail.hidden = listener_.hide;
  if (listener_.received && !listener_.hide && !services_.config->downstream_of(listener_).path)
    mail.trace_field = trace_field(facts_, mail.envelope, services_.config->hostname, mail.trace_id);
  if (end == ContentEnd::client_gone) mail.end = End::client_gone;
  else if (end == ContentEnd::too_slow) mail.reply = content_too_slow();
  else co_await finish(mail, facts_, services_, *client_, *downstream_, scope_);
  if (mail.judged && mail.verdict.outcome == scanner::Outcome::infected) offended(config::Offence::infected);
  if (mail.hidden && !mail.verdict.added_field.empty())
    note(admin::Level::warning, "field_not_added", mail.verdict.added_field);
  if (mail.end == End::client_gone) {
    ending_ = true;
    co_return end_transaction(End::client_gone);
  }
  tell(mail);
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  if (!told) ending_ = true;
  if (!told && mail.end == End::answered) mail.end = End::answer_lost;
  if (mail.reply->positive()) junk_ = 0;
  const std::string settled = told ? std::move(mail.settled) : std::string();
  end_transaction(mail.end);
  if (settled.empty()) co_return;
  const bool forgotten = co_await forget(services_, settled, scope_);
  if (!forgotten)
    note(admin::Level::error, "journal_entry_left",
         "the journal cannot be written: an identical message to these recipients within 5 days counts as delivered");
}

}  // namespace session
