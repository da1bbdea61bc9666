// One SMTP session: the story on one page. Reads commands, asks the downstream, answers in command order; DATA stops here.
#pragma once

#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "protocol/auth.h"
#include "protocol/smtp_state.h"
#include "proxy/session/client_leg.h"
#include "proxy/session/content.h"
#include "proxy/session/downstream.h"
#include "proxy/session/introduction.h"
#include "proxy/session/transaction.h"

namespace session {

class SmtpSession {
 public:
  SmtpSession(const Services& services, const config::Listener& listener, std::unique_ptr<io::Stream> client,
              const Arrival& arrival, io::Loop& loop);
  // Ends by returning, whatever happens; every transaction has its summary line by then.
  io::Task<> run();

 private:
  static constexpr std::size_t longest_command = 4096;  // octets of a line, but for AUTH
  struct ResetAsked {};
  // What one command of a pipelined group waits for: our own reply, or the downstream's to this command.
  using Asked = std::variant<protocol::Reply, protocol::MailCommand, protocol::RcptCommand, ResetAsked>;

  io::Task<> story();
  io::Task<bool> greet();
  protocol::Reply greeting() const;
  io::Task<bool> read_proxy_header();
  io::Task<std::string_view> take_proxy_header();
  std::optional<std::string_view> recount();
  std::optional<protocol::Reply> refuse_to_be_told(protocol::Verb verb);
  io::Task<> on_xclient(std::string_view argument);
  io::Task<> on_xforward(std::string_view argument);
  void note_origin(const Transaction& mail);
  bool offers_starttls() const;
  bool needs_tls(protocol::Verb verb) const;
  io::Task<bool> secure();
  io::Task<> pass_tls();
  io::Task<> pass_octets();
  io::Task<> on_starttls(const protocol::Command& command);
  protocol::Circumstances circumstances() const;
  io::Task<bool> await_line();
  std::optional<protocol::Reply> refuse(const protocol::Command& command, std::size_t octets);
  io::Task<> obey(const protocol::Line& line);
  std::optional<io::Task<>> perform(const protocol::Command& command);
  io::Task<> refuse_line(const protocol::Command& command, protocol::Reply ours);
  io::Task<protocol::Reply> ask_server(std::string command);
  io::Task<> on_hello(const protocol::Command& command);
  std::optional<protocol::Reply> on_mail(std::string_view argument);
  std::optional<protocol::Reply> on_rcpt(std::string_view argument);
  bool smtputf8_asked() const;
  std::size_t recipients_asked() const;
  void apply_reset(protocol::Reply& answer);
  void on_rset();
  io::Task<> on_noop();
  std::optional<protocol::Reply> refuse_content(protocol::Verb verb) const;
  std::unique_ptr<ContentIntake> take_in(ContentIntake::Form form);
  io::Task<> on_data();
  io::Task<> on_bdat(std::string_view argument);
  io::Task<> refuse_chunk(const protocol::BdatCommand& chunk, protocol::Reply refusal);
  void fail_chunks(const protocol::Reply& refusal, bool last);
  io::Task<> end_content(Transaction& mail, ContentEnd end);
  io::Task<> on_auth(std::string_view argument);
  io::Task<protocol::Reply> authenticate(const protocol::AuthCommand& command);
  io::Task<protocol::Reply> next_auth_round(std::optional<std::string>& first);
  void note_withheld();
  io::Task<> on_inquiry(const protocol::Command& command);
  void tell(const Transaction& mail);
  bool is_lmtp() const { return listener_.protocol == config::Protocol::lmtp; }
  io::Task<> on_quit();
  io::Task<> say_goodbye(protocol::Reply reply);

  io::Task<> settle();  // the answers of the group, in order, to the client
  void apply(const protocol::MailCommand& command, protocol::Reply& answer);
  void apply(const protocol::RcptCommand& command, protocol::Reply& answer);
  void say(const protocol::Reply& reply);
  void sum_up();
  bool replied_at_once();
  io::Task<bool> deliver_replies();
  void own(protocol::Reply reply) { group_.emplace_back(std::move(reply)); }
  void end_with(const protocol::Reply& reply);
  void end_transaction(End end);
  End end_when_cut() const;
  void interrupted(bool stopped, std::string_view what);
  io::Task<> leave(bool stopped);
  protocol::SmtpState actual_state() const;
  void note(admin::Level level, std::string_view event, std::string_view detail = {});
  void introduced_unlisted(Introducing how);
  void offended(config::Offence what) {
    if (occupancy_ != nullptr) occupancy_->offended(what, facts_);
  }

  const Services& services_;
  const config::Listener& listener_;
  io::Scope scope_;
  std::unique_ptr<ClientLeg> client_;
  std::unique_ptr<Downstream> downstream_;
  std::string trace_id_;
  ClientFacts facts_;
  Occupancy* const occupancy_;
  protocol::Capabilities offered_;
  protocol::SmtpState state_ = protocol::SmtpState::connected;  // as if all that was asked in this group succeeds
  std::unique_ptr<Transaction> transaction_;
  std::unique_ptr<ContentIntake> chunks_;  // of the transaction, from its first BDAT on
  bool chunks_failed_ = false;             // a BDAT of it was refused
  std::vector<Asked> group_;
  unsigned transactions_ = 0;
  unsigned mails_ = 0;  // MAIL commands so far
  unsigned auth_failures_ = 0;
  unsigned errors_ = 0;  // negative replies so far
  unsigned errors_told_ = 0;
  unsigned junk_ = 0;    // commands without progress since the last message
  std::optional<protocol::Reply> banner_;  // with `hide`: the server's
  bool greeted_ = false;
  bool ending_ = false;
  bool quit_ = false;
};

}  // namespace session
