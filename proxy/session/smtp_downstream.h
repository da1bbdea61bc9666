// The downstream leg as an SMTP client (RFC 5321): live dialogue, pipelined groups, keep-alive, replay after a lost
// connection (dialogue.md D1-D3), delivery. smtp_downstream.cc holds the dialogue, smtp_delivery.cc the content.
#pragma once

#include <algorithm>
#include <optional>

#include "proxy/io/frame_pool.h"
#include "proxy/session/connection_pool.h"
#include "proxy/session/downstream.h"
#include "proxy/session/identity.h"

namespace io {
class TlsClientContext;
}

namespace session {

class SmtpDownstream final : public Downstream {
 public:
  SmtpDownstream(const Services& services, const config::Downstream& settings, const config::Listener& listener,
                 const ClientFacts& client, io::Scope& scope)
      : services_(services), settings_(settings), listener_(listener), client_(client), scope_(scope) {}

  // One per session, and too large for malloc's quick lists.
  static void* operator new(std::size_t size) { return io::FramePool::take(size); }
  static void operator delete(void* memory, std::size_t size) { io::FramePool::give(memory, size); }

  io::Task<protocol::Reply> open() override;
  io::Task<protocol::Reply> hello(protocol::Verb verb, std::string name) override;
  const protocol::Capabilities& capabilities() const override { return capabilities_; }
  void mail(const protocol::MailCommand& command) override;
  void rcpt(const protocol::RcptCommand& command) override { ask(format(command)); }
  void reset() override { ask("RSET"); }
  io::Task<protocol::Reply> answer() override;
  io::Task<protocol::Reply> inquire(std::string command) override;
  io::Task<protocol::Reply> authenticate(std::string line) override;
  void follow(const protocol::Envelope* accepted) override { accepted_ = accepted; }
  void forget_transaction() override;
  void start_over() override;
  void client_changed(ClientChange change) override;
  io::Signal& stirred() override;
  void look() override;
  bool broken() const override { return broken_; }
  io::TimePoint keep_alive(io::TimePoint now) override;
  io::Task<Delivery> deliver(Parcel& parcel) override;
  io::Task<protocol::Reply> pass_starttls() override;
  io::Stream* stream() override { return stream_.get(); }
  io::Task<std::optional<protocol::Reply>> farewell() override;
  io::Task<> close(bool polite) override;
  std::string address() const override { return address_; }
  std::string trouble() const override { return lost_why_; }
  std::vector<std::string> server_names() const override {
    return tls_ && tls_->peer && tls_->peer->verified ? tls_->peer->names : std::vector<std::string>();
  }

 private:
  static constexpr io::Duration farewell_patience = std::chrono::seconds(2);
  enum class Sent { all, early_reply, lost, late, client_gone };

  void ask(std::string command, bool for_us = false);
  io::Task<protocol::Reply> answer_next();
  std::string take_asked();
  void count_sent(const std::string& command);
  io::Task<bool> send_asked();
  io::Task<std::optional<protocol::Reply>> read_reply(io::TimePoint until);
  std::optional<protocol::Reply> parse_reply(std::string_view& input);
  void note(const protocol::Reply& answered);
  void prove();
  io::Task<bool> swallow(io::TimePoint until);
  void heed(const protocol::Reply& reply);
  bool is_lmtp() const { return settings_.protocol == config::Protocol::lmtp; }
  bool may_share() const;                 // connections to and from other sessions (D4)
  bool may_go_on_with(const IdleConnection& idle);
  io::Task<protocol::Reply> connect_anew(bool plain_if_allowed = false);
  io::Task<protocol::Reply> begin(std::shared_ptr<const io::TlsClientContext> context, io::TimePoint until);
  io::Task<io::Connected> connect(io::TimePoint until);
  Channel configured_channel() const {
    return session::configured_channel(settings_, listener_, client_.intercepted.get());
  }
  io::Task<protocol::Reply> read_banner(io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> converse(std::string command, io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> exchange(std::string command, io::TimePoint until);
  io::Task<std::optional<protocol::Capabilities>> greet_as_ourselves(io::TimePoint until);
  io::Task<bool> start_tls(std::shared_ptr<const io::TlsClientContext> context, const std::string& host,
                           io::TimePoint until);
  io::Task<bool> secure(std::shared_ptr<const io::TlsClientContext> context, const std::string& host,
                        io::TimePoint until);
  void note_fall_back();
  bool may_serve_again() const;
  bool counts_sessions_mail() const;
  const Standing* known_standing() const;
  io::Task<bool> release();               // to the pool
  io::Task<bool> replace_unproven();
  io::Task<> forward_again();
  io::Task<bool> revive();
  io::Task<bool> replay();
  bool carries_binary() const;
  bool carries_all() const;  // the envelope needs nothing that this server lacks
  // smtp_identity.cc
  std::optional<Server> server() const;
  bool is_exempt() const { return session::is_exempt(listener_) && client_.peer_is_here; }
  bool is_examined() const;  // whether it relays is known before it is used
  io::Task<std::optional<protocol::Reply>> settle_channel(io::TimePoint until);
  std::optional<protocol::Reply> heed_standing(const Server& which, const Standing& standing);
  io::Task<bool> send_proxy_header(io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> settle_greeting(const protocol::Reply& banner, io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> settle_offer(io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> examine_again(io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> introduce();
  io::Task<protocol::Reply> greet();
  io::Task<protocol::Reply> greet_anew(std::string command, protocol::Reply refused);
  io::Task<protocol::Reply> judge_hello(protocol::Reply answered);
  protocol::Reply refuse_client(std::string why);
  void complain(const std::string& sentence);
  void ask_xforward();

  void lose(std::string why);
  void drop();  // by RST
  protocol::Reply lost_reply() const;
  io::TimePoint reply_deadline() const { return std::min(bound_, scope_.now() + settings_.reply_timeout); }

  // smtp_journal.cc
  bool keeps_journal() const;
  io::Task<Delivery> deliver_to_missing(Parcel& parcel);
  io::Task<Delivery> hand_over_rest(Parcel& parcel, std::string had);
  io::Task<bool> begin_anew(io::TimePoint until);
  void note_journal(const Parcel& parcel, admin::Level level, std::string_view event, std::string_view which);

  // smtp_delivery.cc
  io::Task<Delivery> hand_over(Parcel& parcel);
  io::Task<Delivery> hand_over_end(Parcel& parcel, bool by_bdat, io::TimePoint until);
  io::Task<std::optional<protocol::Reply>> make_ready();
  io::Task<std::optional<protocol::Reply>> ask_data();
  io::Task<Sent> wait_for_room(io::IoStatus status, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push(iovec* parts, int count, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push_text(std::string_view text, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push_file(Parcel& parcel, std::uint64_t size, io::TimePoint until);
  io::Task<Sent> push_stuffed_file(Parcel& parcel, io::TimePoint until);
  io::Task<Sent> push_before_dot(Parcel& parcel, io::TimePoint until);
  io::Task<Sent> push_last(Parcel& parcel, io::TimePoint until);
  // smtp_chunk_delivery.cc
  bool goes_by_bdat(const Parcel& parcel) const;
  io::Task<Sent> push_chunk_start(Parcel& parcel, io::TimePoint until);
  io::Task<Sent> push_chunk_end(Parcel& parcel, io::TimePoint until);
  bool reply_is_early();
  bool took_leave() const;
  io::Task<Delivery> give_up(Sent why, io::TimePoint until);
  io::Task<Delivery> await_verdict(Parcel& parcel);
  io::Task<Delivery> await_verdicts(Parcel& parcel, bool by_bdat);
  io::Task<std::optional<protocol::Reply>> await_final(io::TimePoint until);

  const Services& services_;
  const config::Downstream& settings_;
  const config::Listener& listener_;
  const ClientFacts& client_;
  io::Scope& scope_;
  std::unique_ptr<io::Stream> stream_;
  protocol::ReplyParser parser_;
  std::string unread_;  // bytes behind the last reply
  std::vector<std::string> asked_;  // commands that have not been sent yet, a group at most
  std::vector<std::string> sent_;  // while unproven_: sent, and not answered
  std::vector<std::string> forwarded_;  // while unproven_: XFORWARD that was answered; whoever stands in must hear it
  std::size_t outstanding_ = 0;    // sent, and answer() has not given the reply yet
  std::vector<bool> for_us_;       // of each command without a reply: answer() keeps that reply to itself
  std::size_t unheeded_ = 0;       // replies that nobody waits for (NOOP, RSET); they come before the outstanding ones
  bool reset_unheeded_ = false;    // the last of them answers RSET
  protocol::Capabilities capabilities_;
  std::string greeted_by_;  // the EHLO or HELO that this connection has had last
  protocol::Verb hello_verb_ = protocol::Verb::ehlo;
  std::string hello_name_;
  Channel channel_ = Channel::none;
  std::vector<std::string> xclient_offer_;  // attributes
  bool introduced_ = false;                 // by XCLIENT
  bool greeting_ = false;                   // hello() is on its way: a new connection need not be greeted again
  std::string host_;                        // of the server, for TLS
  const protocol::Envelope* accepted_ = nullptr;
  protocol::Envelope rest_;  // of it, without those who have the message already
  std::string address_;
  std::string lost_why_;
  io::Signal never_;  // stands for the stream's signal while there is no stream
  io::TimePoint last_sent_{};
  io::TimePoint bound_ = io::never;  // of everything, while a message is being delivered
  unsigned keep_alives_ = 0;  // in this transaction
  bool broken_ = false;
  bool auth_asked_ = false;     // 334 is an answer
  bool in_exchange_ = false;    // 334 was the last answer: a response or nothing
  bool authenticated_ = false;  // by 235: no other connection can stand for this one
  bool lacks_binary_ = false;   // the last loss: it does not take BODY=BINARYMIME any more
  std::shared_ptr<const io::TlsFacts> tls_;  // null: in plain text; by itself it would be a tenth of an idle session
  bool greeted_for_us_ = false;  // our own EHLO was the last greeting on this connection
  bool tls_failed_ = false;  // the last loss was a handshake
  ConnectionLife life_;
  bool mail_asked_ = false;
  bool unproven_ = false;  // of another session before, and has not answered MAIL yet: may be replaced unseen
  bool clean_ = true;      // no transaction is open there
};

}  // namespace session
