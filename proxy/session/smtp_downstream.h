// The downstream leg as an SMTP client (RFC 5321): live dialogue, pipelined groups, keep-alive, replay after a lost
// connection (dialogue.md D1-D3), delivery. smtp_downstream.cc holds the dialogue, smtp_delivery.cc the content.
#pragma once

#include <algorithm>
#include <deque>
#include <optional>

#include "proxy/session/downstream.h"

namespace session {

class SmtpDownstream final : public Downstream {
 public:
  SmtpDownstream(const Services& services, const config::Downstream& settings, io::Scope& scope)
      : services_(services), settings_(settings), scope_(scope) {}

  io::Task<protocol::Reply> open() override;
  io::Task<protocol::Reply> hello(protocol::Verb verb, std::string name) override;
  const protocol::Capabilities& capabilities() const override { return capabilities_; }
  void mail(const protocol::MailCommand& command) override { ask(format(command, capabilities_)); }
  void rcpt(const protocol::RcptCommand& command) override { ask(format(command)); }
  void reset() override { ask("RSET"); }
  io::Task<protocol::Reply> answer() override;
  void follow(const protocol::Envelope* accepted) override { accepted_ = accepted; }
  void forget_transaction() override;
  void start_over() override;
  io::Signal& stirred() override;
  void look() override;
  bool broken() const override { return broken_; }
  io::TimePoint keep_alive(io::TimePoint now) override;
  io::Task<Delivery> deliver(Parcel& parcel) override;
  io::Task<> close(bool polite) override;
  std::string address() const override { return address_; }

 private:
  enum class Sent { all, early_reply, lost, late, client_gone };

  void ask(std::string command);
  io::Task<bool> send_asked();
  io::Task<std::optional<protocol::Reply>> read_reply(io::TimePoint until);
  std::optional<protocol::Reply> parse_reply(std::string_view& input);
  io::Task<bool> swallow(io::TimePoint until);
  void heed(const protocol::Reply& reply);
  io::Task<bool> revive();
  io::Task<bool> replay();
  bool carries_all() const;  // the envelope needs nothing that this server lacks
  void lose(std::string why);
  void drop();  // by RST
  protocol::Reply lost_reply() const;
  io::TimePoint reply_deadline() const { return std::min(bound_, scope_.now() + settings_.reply_timeout); }

  // smtp_delivery.cc
  io::Task<std::optional<protocol::Reply>> ask_data();
  io::Task<Sent> wait_for_room(io::IoStatus status, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push(iovec* parts, int count, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push_text(std::string_view text, ClientLeg& client, io::TimePoint until);
  io::Task<Sent> push_file(Parcel& parcel, std::uint64_t size, io::TimePoint until);
  io::Task<Sent> push_stuffed_file(Parcel& parcel, io::TimePoint until);
  io::Task<Sent> push_before_dot(Parcel& parcel, io::TimePoint until);
  io::Task<Sent> push_last(Parcel& parcel, io::TimePoint until);
  bool reply_is_early();
  io::Task<Delivery> give_up(Sent why, io::TimePoint until);
  io::Task<Delivery> await_verdict(Parcel& parcel);

  const Services& services_;
  const config::Downstream& settings_;
  io::Scope& scope_;
  std::unique_ptr<io::Stream> stream_;
  protocol::ReplyParser parser_;
  std::string unread_;  // bytes behind the last reply
  std::deque<std::string> asked_;  // commands that have not been sent yet
  std::size_t outstanding_ = 0;    // sent, and answer() has not given the reply yet
  std::size_t unheeded_ = 0;       // replies that nobody waits for (NOOP, RSET); they come before the outstanding ones
  bool reset_unheeded_ = false;    // the last of them answers RSET
  protocol::Capabilities capabilities_;
  protocol::Verb hello_verb_ = protocol::Verb::ehlo;
  std::string hello_name_;
  const protocol::Envelope* accepted_ = nullptr;
  std::string address_;
  std::string lost_why_;
  io::Signal never_;  // stands for the stream's signal while there is no stream
  io::TimePoint last_sent_{};
  io::TimePoint bound_ = io::never;  // of everything, while a message is being delivered
  unsigned keep_alives_ = 0;  // in this transaction
  bool broken_ = false;
};

}  // namespace session
