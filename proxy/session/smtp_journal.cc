// An SMTP client in front of an LMTP downstream: one reply for all recipients, of whom each had its own. Those that
// accepted the message while others could not are written down before the client is told to come again, and left out
// when it does, so that nobody gets it twice (dialogue.md D6, T:B14).
#include <algorithm>

#include "proxy/session/journal.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

Reply delivered_before() { return reply::make(250, "2.0.0", "Ok, delivered before"); }

// The replies of the others between those that need none.
std::vector<Reply> merged(const std::string& had, const Delivery& others) {
  std::vector<Reply> each;
  std::size_t next = 0;
  for (const char one : had) {
    if (one == '1') each.push_back(delivered_before());
    else each.push_back(others.each.empty() ? others.reply : others.each[next++]);
  }
  return each;
}

// Who accepted it just now.
std::string newly_accepted(const std::string& had, const std::vector<Reply>& each) {
  std::string which(had.size(), '0');
  for (std::size_t i = 0; i < had.size(); ++i)
    if (had[i] == '0' && each[i].positive()) which[i] = '1';
  return which;
}

protocol::Envelope without(const protocol::Envelope& envelope, const std::string& had) {
  protocol::Envelope rest;
  rest.mail = envelope.mail;
  for (std::size_t i = 0; i < had.size(); ++i)
    if (had[i] == '0') rest.recipients.push_back(envelope.recipients[i]);
  return rest;
}

}  // namespace

bool SmtpDownstream::keeps_journal() const {
  return is_lmtp() && listener_.protocol == config::Protocol::smtp &&
         listener_.mixed_replies == config::MixedReplies::journal;
}

Task<Delivery> SmtpDownstream::deliver(Parcel& parcel) {
  Task<Delivery> delivering = keeps_journal() ? deliver_to_missing(parcel) : hand_over(parcel);
  Delivery delivery = co_await std::move(delivering);
  co_return delivery;
}

Task<Delivery> SmtpDownstream::deliver_to_missing(Parcel& parcel) {
  Journal journal(services_, parcel, scope_);
  const io::TimePoint until = parcel.answer_by - services_.config->limits.min_relay_wait;
  const std::optional<std::string> had =
      co_await journal.recall(settings_.name, std::min(until, scope_.now() + settings_.reply_timeout));
  if (!had) {
    if (stream_) forget_transaction();
    co_return Delivery(reply::make(451, "4.3.0", "Mail system failure, please try again later"));
  }
  const bool nobody_has = had->find('1') == std::string::npos;
  Task<Delivery> delivering = nobody_has ? hand_over(parcel) : hand_over_rest(parcel, *had);
  Delivery delivery = co_await std::move(delivering);
  if (delivery.client_gone || (nobody_has && delivery.each.empty())) co_return delivery;
  delivery.each = merged(*had, delivery);
  // A client that reads one reply per recipient knows for itself whom it still owes the message; it may have come before as
  // one that does not.
  const bool each_told = parcel.envelope.mail.parameters.prdr;
  const bool comes_again = std::ranges::any_of(delivery.each, &Reply::transient);
  if (each_told || !comes_again) delivery.settled = journal.keys_of(*had);
  const std::string accepted = newly_accepted(*had, delivery.each);
  if (!comes_again || accepted.find('1') == std::string::npos) co_return delivery;
  const bool durable = co_await journal.remember(accepted, parcel.answer_by);
  if (!durable) note_journal(parcel, admin::Level::error, "possible_duplicate", accepted);
  if (each_told) delivery.settled += journal.keys_of(accepted);  // needed only where the replies do not arrive
  co_return delivery;
}

// To those who do not have it yet.
Task<Delivery> SmtpDownstream::hand_over_rest(Parcel& parcel, std::string had) {
  note_journal(parcel, admin::Level::info, "delivered_before", had);
  rest_ = without(parcel.envelope, had);
  if (rest_.recipients.empty()) {
    if (stream_) forget_transaction();
    co_return Delivery(delivered_before());
  }
  const bool ready = co_await begin_anew(parcel.answer_by - services_.config->limits.min_relay_wait);
  if (!ready) co_return Delivery(reply::make(451, "4.4.2", "The mail server behind was lost, please try again"));
  Parcel fewer = parcel.for_recipients_of(rest_);
  Delivery delivery = co_await hand_over(fewer);
  co_return delivery;
}

// RSET, and the transaction again for rest_. A connection that is lost on the way is made anew by hand_over(); one that
// takes a recipient no more is lost.
Task<bool> SmtpDownstream::begin_anew(io::TimePoint until) {
  accepted_ = &rest_;
  look();
  if (!stream_) co_return !broken_;
  bound_ = until;
  ask("RSET");
  const Reply answered = co_await answer();
  if (stream_ && !answered.positive()) lose("refused RSET: " + to_text(answered));
  bool ready = !broken_;
  if (stream_) ready = co_await replay();
  bound_ = io::never;
  co_return ready;
}

void SmtpDownstream::note_journal(const Parcel& parcel, admin::Level level, std::string_view event,
                                  std::string_view which) {
  admin::Record record(services_.config->log.format, level, parcel.trace_id);
  record.text("event", event).number("recipients", static_cast<std::uint64_t>(std::ranges::count(which, '1')));
  if (level == admin::Level::error)
    record.message("the journal cannot be written: recipients who have the message may get it again");
  services_.log(level, std::move(record));
}

}  // namespace session
