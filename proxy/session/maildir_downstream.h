// A maildir as downstream: replies are ours, the keeper looks recipients up and delivers (durable before the 250).
#pragma once

#include <deque>
#include <variant>

#include "proxy/session/downstream.h"

namespace session {

class MaildirDownstream final : public Downstream {
 public:
  MaildirDownstream(const Services& services, const config::Downstream& settings, io::Scope& scope);

  io::Task<protocol::Reply> open() override;
  io::Task<protocol::Reply> hello(protocol::Verb verb, std::string name) override;
  const protocol::Capabilities& capabilities() const override { return capabilities_; }
  void mail(const protocol::MailCommand& command) override;
  void rcpt(const protocol::RcptCommand& command) override;
  void reset() override;
  io::Task<protocol::Reply> answer() override;
  void follow(const protocol::Envelope* accepted) override { accepted_ = accepted; }
  void forget_transaction() override {}
  void start_over() override {}
  io::Signal& stirred() override { return never_; }
  void look() override {}
  bool broken() const override { return false; }
  io::TimePoint keep_alive(io::TimePoint) override { return io::never; }
  io::Task<Delivery> deliver(Parcel& parcel) override;
  io::Task<> close(bool polite) override;
  std::string address() const override { return "maildir:" + settings_.name; }

 private:
  using Lookup = std::unique_ptr<judge::KeeperJob>;

  const Services& services_;
  const config::Downstream& settings_;
  io::Scope& scope_;
  protocol::Capabilities capabilities_;
  std::deque<std::variant<protocol::Reply, Lookup>> asked_;
  const protocol::Envelope* accepted_ = nullptr;
  std::size_t looked_up_ = 0;  // recipients of the group that answer() has not given yet
  io::Signal never_;
};

}  // namespace session
