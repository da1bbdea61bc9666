#include "proxy/session/maildir_downstream.h"

#include "proxy/session/client_leg.h"
#include "proxy/session/trace_field.h"

namespace session {

using io::Task;
using keeper::Answer;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

constexpr std::size_t most_recipients = 100;  // of one delivery (keeper/request.h; RFC 5321 4.5.3.1.8 asks for 100)

keeper::Recipient recipient_of(const protocol::Mailbox& forward_path) {
  keeper::Recipient recipient;
  recipient.local_part = forward_path.local_part;
  recipient.domain = forward_path.domain;
  recipient.forward_path = format(forward_path);
  return recipient;
}

Reply reply_for(Answer::Status status, Reply kept) {
  switch (status) {
    case Answer::Status::kept: return kept;
    case Answer::Status::no_mailbox: return reply::make(550, "5.1.1", "No such mailbox here");
    case Answer::Status::bad_name: return reply::make(553, "5.1.3", "Mailbox name not allowed");
    case Answer::Status::full: return reply::make(452, "4.3.1", "Insufficient system storage, please try again later");
    case Answer::Status::failed: break;
  }
  return reply::make(451, "4.3.0", "Mail system failure, please try again later");
}

}  // namespace

MaildirDownstream::MaildirDownstream(const Services& services, const config::Downstream& settings, io::Scope& scope)
    : services_(services), settings_(settings), scope_(scope) {
  protocol::Carry carry;
  carry.chunking = true;
  capabilities_ = protocol::carried(carry);
  capabilities_.dsn = false;  // nobody here would send the notifications
}

Task<Reply> MaildirDownstream::open() { co_return Reply(220, std::nullopt, services_.config->hostname); }

Task<Reply> MaildirDownstream::hello(protocol::Verb, std::string) {
  co_return Reply(250, std::nullopt, services_.config->hostname);
}

void MaildirDownstream::mail(const protocol::MailCommand&) { asked_.emplace_back(reply::make(250, "2.1.0", "Sender ok")); }

void MaildirDownstream::rcpt(const protocol::RcptCommand& command) {
  if ((accepted_ != nullptr ? accepted_->recipients.size() : 0) + looked_up_ >= most_recipients) {
    asked_.emplace_back(reply::make(452, "4.5.3", "Too many recipients, send the others in a further transaction"));
    return;
  }
  keeper::Request request;
  request.kind = keeper::Request::Kind::lookup;
  request.path = *settings_.path;
  request.create = settings_.create;
  request.recipients.push_back(recipient_of(command.forward_path));
  asked_.emplace_back(services_.keeper->start(std::move(request), -1));
  ++looked_up_;
}

void MaildirDownstream::reset() { asked_.emplace_back(reply::ok()); }

Task<Reply> MaildirDownstream::answer() {
  auto asked = std::move(asked_.front());
  asked_.pop_front();
  if (Reply* known = std::get_if<Reply>(&asked)) co_return std::move(*known);
  --looked_up_;
  const Answer answer = co_await judge::answer_of(*std::get<Lookup>(asked), scope_, scope_.now() + settings_.reply_timeout);
  co_return reply_for(answer.status, reply::make(250, "2.1.5", "Recipient ok"));
}

Task<Delivery> MaildirDownstream::deliver(Parcel& parcel) {
  const auto fd = parcel.spool.shared_descriptor();
  if (!fd) co_return Delivery(reply_for(fd.error() == io::SpoolError::full ? Answer::Status::full : Answer::Status::failed, reply::ok()));
  keeper::Request request;
  request.path = *settings_.path;
  request.create = settings_.create;
  if (parcel.envelope.mail.reverse_path) request.return_path = format(*parcel.envelope.mail.reverse_path);
  request.received = format(received_of(parcel.client, parcel.envelope.mail.parameters.smtputf8,
                                        services_.config->hostname, parcel.trace_id));
  request.extra_fields = std::string(parcel.added_field);
  request.prefix = parcel.spool.prefix_size();
  request.size = parcel.spool.size();
  for (const protocol::RcptCommand& recipient : parcel.envelope.recipients)
    request.recipients.push_back(recipient_of(recipient.forward_path));
  parcel.client_leg.take_input();
  if (parcel.client_leg.left()) {
    Delivery abandoned(reply::make(451, "4.4.2", "The client is gone"));
    abandoned.client_gone = true;
    co_return abandoned;
  }
  if (scope_.now() >= parcel.answer_by - services_.config->limits.min_relay_wait)
    co_return Delivery(reply::make(451, "4.4.2", "No time is left to keep the message, please try again"));
  InFlight& in_flight = *services_.in_flight;
  void* slot = in_flight.open(parcel, address());
  if (!parcel.slot.take(in_flight, slot))
    co_return Delivery(reply::make(451, "4.3.2", "Too many messages are being delivered, please try again"));
  const auto job = services_.keeper->start(std::move(request), *fd);
  const io::TimePoint until = std::min(parcel.answer_by, scope_.now() + services_.config->limits.relay_wait);
  const Answer answer = co_await judge::answer_of(*job, scope_, until);
  Reply kept = reply::make(250, "2.0.0", "Ok: kept as " + std::string(parcel.trace_id));
  Delivery delivery(reply_for(answer.status, std::move(kept)));
  // Without an answer the copies may be there, whole, all the same.
  delivery.unknown = answer.status == Answer::Status::failed && answer.id == 0;
  co_return delivery;
}

Task<> MaildirDownstream::close(bool) { co_return; }

}  // namespace session
