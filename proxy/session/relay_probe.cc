#include "proxy/session/relay_probe.h"

#include <fmt/format.h>

#include "protocol/characters.h"
#include "proxy/session/smtp_downstream.h"

namespace session {

using io::Task;
using protocol::Reply;

namespace {

constexpr std::string_view nobody = "192.0.2.1";  // TEST-NET-1 (RFC 5737): an address that no server trusts

// Reaches one address of a server, whatever the list says.
class OneAddress final : public io::Connector {
 public:
  OneAddress(io::Connector& real, const Server& server) : real_(real), server_(server) {}
  Task<io::Connected> connect(const std::vector<config::Endpoint>&, io::Scope& scope, io::Duration per_server,
                              io::TimePoint until) override {
    const std::vector<config::Endpoint> only(1, server_.endpoint);
    io::Connected connected = co_await real_.connect(only, scope, per_server, until);
    if (connected) connected->host = server_.host;
    co_return connected;
  }

 private:
  io::Connector& real_;
  const Server& server_;
};

ClientFacts nobody_in_particular(const std::string& hostname) {
  ClientFacts facts;
  facts.ip = facts.destination_ip = nobody;
  facts.port = 4711;
  facts.destination_port = 25;
  facts.address = fmt::format("{}:{}", facts.ip, facts.port);
  facts.helo = hostname;
  facts.esmtp = true;
  return facts;
}

config::Identity as_configured(Channel channel) {
  if (channel == Channel::proxy_v2) return config::Identity::proxy_v2;
  if (channel == Channel::proxy_v1) return config::Identity::proxy_v1;
  return config::Identity::none;
}

Task<> ask_recipients(SmtpDownstream& leg, const config::Downstream& settings, ProbeReport& report) {
  std::vector<protocol::RcptCommand> recipients;
  for (const std::string& mailbox : settings.relay_probe_recipients)
    if (auto parsed = protocol::parse_rcpt("TO:<" + mailbox + ">", leg.capabilities(), false))
      recipients.push_back(std::move(*parsed));
  leg.mail(protocol::MailCommand());
  for (const protocol::RcptCommand& recipient : recipients) leg.rcpt(recipient);
  leg.reset();
  const Reply mail = co_await leg.answer();
  report.evidence = "MAIL FROM:<>: " + to_text(mail);
  for (const protocol::RcptCommand& recipient : recipients) {
    const Reply answered = co_await leg.answer();
    const Proof proof = mail.positive() ? proof_of(answered, format(recipient.forward_path)) : Proof::none;
    const Proof both = joined(report.proof, proof);
    if (mail.positive() && (both != report.proof || both == Proof::none))
      report.evidence = format(recipient) + ": " + to_text(answered);
    report.proof = both;
  }
  co_await leg.answer();  // RSET
}

}  // namespace

Proof proof_of(const Reply& answered, std::string_view mailbox) {
  if (answered.positive()) return Proof::relays;
  const bool policy = answered.enhanced() && answered.enhanced()->subject == 7;
  // A server that quotes the mailbox says nothing of relaying by that, whatever the mailbox is called.
  std::string text = protocol::upper(to_text(answered));
  const std::string whole = protocol::upper(mailbox);
  for (const std::string& own : {whole, whole.substr(0, whole.find('@'))})
    for (std::size_t at = text.find(own); !own.empty() && at != std::string::npos; at = text.find(own))
      text.erase(at, own.size());
  const bool names_relay = text.find("RELAY") != std::string::npos;
  // Postfix's own default (defer_unauth_destination): 454 4.7.1 Relay access denied. Another 4yz says nothing.
  if (!answered.permanent()) return policy && names_relay && answered.code() != 421 ? Proof::refuses : Proof::none;
  if (policy) return Proof::refuses;
  const int code = answered.code();
  const bool refusal = code == 550 || code == 551 || code == 553 || code == 554;
  return refusal && names_relay ? Proof::refuses : Proof::none;
}

Proof joined(Proof a, Proof b) {
  if (a == Proof::relays || b == Proof::relays) return Proof::relays;
  return a == Proof::refuses || b == Proof::refuses ? Proof::refuses : Proof::none;
}

Task<ProbeReport> probe(Services services, Server server, ProbeOrder order, io::Scope& scope) {
  ProbeReport report;
  OneAddress connector(*services.connector, server);
  services.connector = &connector;
  services.pool = nullptr;
  services.identities = nullptr;
  config::Downstream settings = *server.settings;
  settings.identity = as_configured(order.as);
  settings.original = false;  // the address is known here
  settings.greeting_timeout = std::chrono::duration_cast<std::chrono::milliseconds>(order.patience);
  const ClientFacts client = nobody_in_particular(services.config->hostname);
  SmtpDownstream leg(services, settings, *server.listener, client, scope);
  const io::TimePoint begun = scope.now();
  const Reply banner = co_await leg.open();
  if (!banner.positive()) {
    report.silent = scope.now() >= begun + order.patience;
    report.evidence = leg.trouble();
    co_return report;
  }
  report.banner = mark_of_banner(banner);
  const Reply greeted = co_await leg.hello(protocol::Verb::ehlo, services.config->hostname);
  report.reached = greeted.positive();
  report.offered = leg.capabilities();
  if (!report.reached) report.evidence = "EHLO: " + to_text(greeted);
  const bool enough = order.stop_at_xclient && tells_address(report.offered.xclient);
  if (report.reached && order.recipients && !enough) co_await ask_recipients(leg, settings, report);
  co_await leg.close(true);
  co_return report;
}

}  // namespace session
