// Content and end of data towards an SMTP downstream (dialogue.md D3): DATA, content, final dot, the reply that counts.
//
// Theory: nothing goes downstream before the verdict. Up to the final dot everything may be given up without harm: the
// connection is reset and the downstream has no message. The bytes that hold the final dot are handed to the kernel in
// one piece with the end of the content; from then on only the downstream's reply, the deadline or a stop end the wait,
// and whatever is not a reply means `unknown`.
#include <algorithm>
#include <unistd.h>

#include "protocol/dot_stuffing.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::IoStatus;
using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

constexpr std::string_view final_dot = ".\r\n";
constexpr std::size_t file_chunk = 65536;
constexpr std::uint64_t most_at_once = 1 << 20;

Reply lost_before_dot() {
  return reply::make(451, "4.4.2", "The connection to the mail server behind was lost, please try again");
}
Reply lost_after_dot() {
  return reply::make(451, "4.4.2", "The mail server behind did not confirm the message, please try again");
}
Delivery not_confirmed() {
  Delivery delivery(lost_after_dot());
  delivery.unknown = true;
  return delivery;
}

// RFC 5321 4.2.2: of the command, which it does not know, does not have or does not take now. 501 and 504 are about
// arguments, and a server may mean those of one recipient.
bool is_about_the_command(const Reply& reply) {
  return reply.code() == 500 || reply.code() == 502 || reply.code() == 503;
}
// How long a server that refuses BDAT itself has to say so for further recipients.
constexpr io::Duration refusal_patience = std::chrono::seconds(5);

}  // namespace

// Nothing: the envelope stands there, on this connection or a new one.
Task<std::optional<Reply>> SmtpDownstream::make_ready() {
  look();
  if (stream_) co_await swallow(reply_deadline());
  if (broken_) co_return lost_reply();
  if (stream_) co_return std::nullopt;
  lacks_binary_ = false;
  const bool alive = co_await revive();
  if (alive) co_return std::nullopt;
  if (authenticated_) co_return lost_reply();
  if (lacks_binary_) co_return reply::make(554, "5.6.1", "The mail server behind takes no binary content any more");
  co_return reply::make(451, "4.4.1", "The mail server behind does not answer, please try again");
}

Task<std::optional<Reply>> SmtpDownstream::ask_data() {
  prove();
  ask("DATA");
  for_us_.clear();  // its reply is read below
  const bool sent = co_await send_asked();
  if (!sent) {
    outstanding_ = 0;
    co_return lost_before_dot();
  }
  std::optional<Reply> answered = co_await read_reply(reply_deadline());
  outstanding_ = 0;
  if (!answered) co_return lost_before_dot();
  if (answered->code() == 354 && unread_.empty()) co_return std::nullopt;
  if (answered->transient() || answered->permanent()) co_return answered;
  lose("answered DATA with " + to_text(*answered));
  co_return reply::make(451, "4.5.0", "The mail server behind does not follow the protocol, please try again");
}

// Bytes from the downstream while we send content: an early reply, or the end of the connection.
bool SmtpDownstream::reply_is_early() {
  const io::Scratch space = io::scratch();
  stream_->look_again();
  const io::IoResult got = stream_->read(space.data, space.size);
  if (got.status == IoStatus::ok) unread_.append(space.data, got.count);
  else if (got.status != IoStatus::would_block) lose("closed the connection");
  return !unread_.empty();
}

// After a write that moved nothing: `all` when trying again makes sense, otherwise why not. The end of data is not out
// yet, so a client that leaves now ends it all: his retry must not be a second copy.
Task<SmtpDownstream::Sent> SmtpDownstream::wait_for_room(IoStatus status, ClientLeg& client, io::TimePoint until) {
  if (reply_is_early()) co_return Sent::early_reply;
  if (!stream_) co_return Sent::lost;
  if (status != IoStatus::would_block) {
    lose("closed the connection");
    co_return Sent::lost;
  }
  const io::Woken woken = co_await io::Wait(scope_, until, stream_->writable, stream_->readable, client.readable());
  client.take_input();
  if (client.left()) co_return Sent::client_gone;
  co_return woken == io::Woken::deadline ? Sent::late : Sent::all;
}

Task<SmtpDownstream::Sent> SmtpDownstream::push(iovec* parts, int count, ClientLeg& client, io::TimePoint until) {
  while (count > 0) {
    if (parts->iov_len == 0) {
      ++parts;
      --count;
      continue;
    }
    const io::IoResult result = stream_->write(parts, count);
    if (result.status == IoStatus::ok) {
      std::size_t left = result.count;
      while (count > 0 && left >= parts->iov_len) {
        left -= parts->iov_len;
        ++parts;
        --count;
      }
      if (left > 0) {
        parts->iov_base = static_cast<char*>(parts->iov_base) + left;
        parts->iov_len -= left;
      }
      continue;
    }
    const Sent blocked = co_await wait_for_room(result.status, client, until);
    if (blocked != Sent::all) co_return blocked;
  }
  co_return Sent::all;
}

Task<SmtpDownstream::Sent> SmtpDownstream::push_text(std::string_view text, ClientLeg& client, io::TimePoint until) {
  iovec part{const_cast<char*>(text.data()), text.size()};
  const Sent sent = co_await push(&part, 1, client, until);
  co_return sent;
}

// The file as it is: only for content without lines that need a dot in front.
Task<SmtpDownstream::Sent> SmtpDownstream::push_file(Parcel& parcel, std::uint64_t size, io::TimePoint until) {
  std::uint64_t done = 0;
  while (done < size) {
    const auto offset = static_cast<off_t>(parcel.spool.file_offset() + done);
    const io::IoResult result = stream_->send_file(parcel.spool.file(), offset, std::min(size - done, most_at_once));
    if (result.status == IoStatus::ok) {
      done += result.count;
      co_await io::Yield(scope_);  // a downstream that reads as fast as we send would keep the loop to itself
      continue;
    }
    const Sent blocked = co_await wait_for_room(result.status, parcel.client_leg, until);
    if (blocked != Sent::all) co_return blocked;
  }
  co_return Sent::all;
}

Task<SmtpDownstream::Sent> SmtpDownstream::push_stuffed_file(Parcel& parcel, io::TimePoint until) {
  protocol::DotEncoder encoder;
  std::string chunk(file_chunk, '\0');
  std::string wire;
  for (std::uint64_t done = 0; done < parcel.spool.size();) {
    const ssize_t got = ::pread(parcel.spool.file(), chunk.data(), chunk.size(),
                                static_cast<off_t>(parcel.spool.file_offset() + done));
    if (got <= 0) {
      lose("our spool cannot be read");
      co_return Sent::lost;
    }
    const std::size_t take = std::min<std::uint64_t>(static_cast<std::uint64_t>(got), parcel.spool.size() - done);
    done += take;
    wire.clear();
    encoder.feed(std::string_view(chunk.data(), take), wire);
    const Sent sent = co_await push_text(wire, parcel.client_leg, until);
    if (sent != Sent::all) co_return sent;
    co_await io::Yield(scope_);
  }
  co_return Sent::all;
}

// What may be sent while giving up is still free: the content of messages that are in a file.
Task<SmtpDownstream::Sent> SmtpDownstream::push_before_dot(Parcel& parcel, io::TimePoint until) {
  if (parcel.spool.in_memory()) co_return Sent::all;
  Sent sent = co_await push_text(parcel.added_field, parcel.client_leg, until);
  if (sent != Sent::all) co_return sent;
  if (parcel.dot_lines == 0) sent = co_await push_file(parcel, parcel.spool.size(), until);
  else sent = co_await push_stuffed_file(parcel, until);
  co_return sent;
}

// The rest, with the final dot, in one write.
Task<SmtpDownstream::Sent> SmtpDownstream::push_last(Parcel& parcel, io::TimePoint until) {
  std::string_view field, content;
  std::string stuffed;
  if (parcel.spool.in_memory()) {
    field = parcel.added_field;
    content = parcel.spool.memory();
    if (parcel.dot_lines != 0) {
      protocol::DotEncoder encoder;
      encoder.feed(content, stuffed);
      content = stuffed;
    }
  }
  iovec parts[3] = {};
  parts[0].iov_base = const_cast<char*>(field.data());
  parts[0].iov_len = field.size();
  parts[1].iov_base = const_cast<char*>(content.data());
  parts[1].iov_len = content.size();
  parts[2].iov_base = const_cast<char*>(final_dot.data());
  parts[2].iov_len = final_dot.size();
  const Sent sent = co_await push(parts, 3, parcel.client_leg, until);
  co_return sent;
}

Task<Delivery> SmtpDownstream::give_up(Sent why, io::TimePoint until) {
  std::optional<Reply> early;
  if (why == Sent::early_reply && stream_) early = co_await read_reply(std::min(until, reply_deadline()));
  lose(why == Sent::late ? "is too slow" : why == Sent::client_gone ? "the client is gone" : "ended the transfer");
  if (early && (early->transient() || early->permanent())) co_return Delivery(std::move(*early));
  Delivery given_up(lost_before_dot());
  given_up.client_gone = why == Sent::client_gone;
  co_return given_up;
}

// A reply to the end of data; nothing = it did not come.
Task<std::optional<Reply>> SmtpDownstream::await_final(io::TimePoint until) {
  std::optional<Reply> answered = co_await read_reply(until);
  if (answered && answered->intermediate()) {
    lose("answered the end of data with " + to_text(*answered));
    answered.reset();
  }
  co_return answered;
}

Task<Delivery> SmtpDownstream::await_verdict(Parcel& parcel) {
  const io::TimePoint until = std::min(parcel.answer_by, scope_.now() + services_.config->limits.relay_wait);
  std::optional<Reply> answered = co_await await_final(until);
  Delivery delivery = answered ? Delivery(std::move(*answered)) : not_confirmed();
  clean_ = delivery.reply.positive();
  if (clean_) life_.take_message();
  else ++life_.negative_replies;
  co_return delivery;
}

// RFC 5321 3.8: a server that shuts down says 421 unasked. Behind the reply to a message, and alone there, it takes
// nothing back of that.
bool SmtpDownstream::took_leave() const {
  std::string_view input = unread_;
  const auto surplus = protocol::ReplyParser().feed(input);
  return surplus && *surplus && (*surplus)->code() == 421 && input.empty();
}

// RFC 2033 4.2: one reply per accepted recipient. Each that came counts, even if the connection breaks before the next.
// Of a BDAT that is refused as such RFC 3030 has nothing for LMTP: some servers say so once. Any other refusal is that of
// its recipient, and for whom nothing comes nobody knows: a 5yz of ours would be a bounce for what may be there.
Task<Delivery> SmtpDownstream::await_verdicts(Parcel& parcel, bool by_bdat) {
  io::TimePoint until = std::min(parcel.answer_by, scope_.now() + services_.config->limits.relay_wait);
  Delivery delivery(lost_after_dot());
  std::optional<Reply> for_all;
  for (std::size_t i = 0; i < parcel.envelope.recipients.size(); ++i) {
    std::optional<Reply> answered = co_await await_final(until);
    if (!answered) answered = for_all;
    if (by_bdat && i == 0 && answered && is_about_the_command(*answered)) {
      for_all = answered;
      until = std::min(until, scope_.now() + refusal_patience);
    }
    if (!answered) delivery.unknown = true;
    else if (!answered->positive()) ++life_.negative_replies;
    delivery.each.push_back(answered ? std::move(*answered) : lost_after_dot());
  }
  clean_ = !delivery.unknown;
  if (clean_) life_.take_message();
  co_return delivery;
}

Task<Delivery> SmtpDownstream::hand_over(Parcel& parcel) {
  const io::TimePoint until = parcel.answer_by - services_.config->limits.min_relay_wait;
  bound_ = until;
  std::optional<Reply> refused = co_await make_ready();
  const bool by_bdat = goes_by_bdat(parcel);
  if (!refused && !by_bdat) refused = co_await ask_data();
  bound_ = io::never;
  keep_alives_ = 0;
  if (refused) {
    ++life_.negative_replies;
    if (stream_ && refused->code() == 421) lose("ended the session: " + to_text(*refused));
    if (stream_) forget_transaction();
    co_return Delivery(std::move(*refused));
  }
  Task<Sent> starting = by_bdat ? push_chunk_start(parcel, until) : push_before_dot(parcel, until);
  Sent sent = co_await std::move(starting);
  if (sent == Sent::all && reply_is_early()) sent = Sent::early_reply;
  if (sent == Sent::all && !stream_) sent = Sent::lost;
  if (sent == Sent::all && scope_.now() >= until) sent = Sent::late;
  parcel.client_leg.take_input();
  if (sent == Sent::all && parcel.client_leg.left()) sent = Sent::client_gone;
  if (sent != Sent::all) {
    Delivery given_up = co_await give_up(sent, parcel.answer_by);
    co_return given_up;
  }
  Delivery delivery = co_await hand_over_end(parcel, by_bdat, until);
  // RFC 3030 section 2: behind a refused BDAT the state is undefined.
  if (by_bdat && stream_ && !clean_ && delivery.reply.code() != 421) forget_transaction();
  co_return delivery;
}

// What ends the content, with a slot, and what comes of it.
Task<Delivery> SmtpDownstream::hand_over_end(Parcel& parcel, bool by_bdat, io::TimePoint until) {
  InFlight& in_flight = *services_.in_flight;
  void* slot = in_flight.open(parcel, address_);
  if (!parcel.slot.take(in_flight, slot)) {
    lose("too many messages are in flight");
    co_return Delivery(reply::make(451, "4.3.2", "Too many messages are being delivered, please try again"));
  }
  Task<Sent> ending = by_bdat ? push_chunk_end(parcel, until) : push_last(parcel, until);
  const Sent sent = co_await std::move(ending);
  if (sent != Sent::all) {
    parcel.slot.close();
    Delivery given_up = co_await give_up(sent, parcel.answer_by);
    co_return given_up;
  }
  Task<Delivery> waiting = is_lmtp() ? await_verdicts(parcel, by_bdat) : await_verdict(parcel);
  Delivery delivery = co_await std::move(waiting);
  if (stream_ && took_leave()) {
    lose("ended the session");
  } else if (stream_ && !unread_.empty()) {
    lose("sent more replies than it was asked for");
    broken_ = true;
    // No 354 has shown that the replies are in step. Which of them is about the message nobody knows.
    if (by_bdat) delivery = not_confirmed();
  }
  co_return delivery;
}

}  // namespace session
