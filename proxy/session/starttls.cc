// TLS on the client's leg: from the first octet (RFC 8314) or by STARTTLS (RFC 3207).
#include <algorithm>
#include <array>

#include "proxy/io/tls_contexts.h"
#include "proxy/session/smtp_session.h"
#include "proxy/session/tunnel.h"

namespace session {

using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

std::shared_ptr<const io::TlsServerContext> context_of(const Services& services, const config::Listener& listener) {
  const std::vector<config::Listener>& all = services.config->listeners;
  const auto index = static_cast<std::size_t>(&listener - all.data());
  return services.tls && index < services.tls->listeners.size() ? services.tls->listeners[index] : nullptr;
}

}  // namespace

bool SmtpSession::offers_starttls() const {
  if (passes_tls(listener_, facts_)) return downstream_->capabilities().starttls;
  return listener_.tls.mode == config::ListenerTlsMode::starttls && !facts_.tls && context_of(services_, listener_);
}

// RFC 3207 section 4: what a client may say before TLS where that is required.
bool SmtpSession::needs_tls(protocol::Verb verb) const {
  using protocol::Verb;
  constexpr std::array harmless{Verb::ehlo, Verb::helo, Verb::lhlo, Verb::starttls, Verb::noop, Verb::quit, Verb::rset};
  // Who passes has no TLS of ours between us and the server either; where that is demanded nothing may go in plain text.
  const auto demanded_behind = [this] {
    const config::DownstreamTlsMode behind = services_.config->downstream_of(listener_).tls.mode;
    return behind == config::DownstreamTlsMode::required || behind == config::DownstreamTlsMode::verified;
  };
  if (facts_.tls || std::ranges::find(harmless, verb) != harmless.end()) return false;
  return listener_.tls.required || (passes_tls(listener_, facts_) && demanded_behind());
}

// True when the leg is encrypted now; otherwise nobody is there to be answered.
Task<bool> SmtpSession::secure() {
  const auto context = context_of(services_, listener_);
  if (!context) {
    note(admin::Level::error, "tls_failed", "this listener has no certificate now");
    co_return false;
  }
  io::TlsMeant meant;
  if (facts_.intercepted) {
    meant.destination = facts_.intercepted->destination.address;
    meant.names = downstream_->server_names();
  }
  auto shaken = co_await client_->start_tls(context, std::move(meant), scope_.now() + listener_.handshake_timeout);
  if (!shaken) note(admin::Level::info, "tls_failed", shaken.error().text);
  else facts_.tls = std::move(*shaken);
  co_return facts_.tls.has_value();
}

Task<> SmtpSession::pass_tls() {
  Reply answered = co_await downstream_->pass_starttls();
  const bool lost = answered.code() == 220 && downstream_->stream() == nullptr;
  if (lost) answered = reply::make(454, "4.7.0", "TLS not available due to temporary reason");
  if (answered.code() != 220) co_return own(std::move(answered));
  if (transaction_) end_transaction(End::reset);
  client_->queue(answered);
  ending_ = true;
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  if (told) co_await pass_octets();
}

// The rest of this connection is between client and server. What they say there cannot be scanned: the log says so each
// time, before the first octet of it, for nobody knows how this process ends, and afterwards with what has gone by.
Task<> SmtpSession::pass_octets() {
  note(admin::Level::warning, "tls_passed_on", "what follows cannot be scanned");
  if (occupancy_ != nullptr) occupancy_->passed_on();
  Tunnelled done;
  const auto tell_end = [&] {
    admin::Record record(services_.config->log.format, admin::Level::warning, trace_id_);
    record.text("event", "passed_unscanned").text("client", facts_.address);
    record.listener(facts_.listener, facts_.direction);
    if (facts_.intercepted) record.text("meant_for", facts_.intercepted->destination.text);
    record.number("from_client", done.from_client).number("from_server", done.from_server).text("ended", done.ended);
    services_.log(admin::Level::warning, std::move(record));
  };
  try {
    co_await tunnel(client_->give_away(), *downstream_->stream(), scope_, listener_.command_timeout, done);
  } catch (...) {
    tell_end();
    throw;
  }
  tell_end();
  if (done.ended != "not_tls" || done.from_client != 0 || done.from_server != 0) co_return;
  client_->take_back();
  client_->queue(reply::make(421, "4.7.0", "This is not TLS, closing"));
}

Task<> SmtpSession::on_starttls(const protocol::Command& command) {
  co_await settle();
  if (ending_) co_return;
  if (std::optional<Reply> refusal = refuse_argument(command)) co_return own(std::move(*refusal));
  // The downstream connection is the user's already; the session behind the handshake would begin as nobody's.
  if (facts_.authenticated) co_return own(reply::bad_sequence("Already authenticated"));
  client_->take_input();
  if (client_->has_unread()) {
    // Taken for commands inside TLS, these would be somebody else's words (T:B1).
    note(admin::Level::warning, "spoke_before_tls");
    co_return end_with(reply::make(554, "5.5.1", "Protocol error: you must wait for the reply to STARTTLS"));
  }
  if (passes_tls(listener_, facts_)) {
    co_await pass_tls();
    co_return;
  }
  client_->queue(reply::make(220, "2.0.0", "Ready to start TLS"));
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  ending_ = !told;
  if (!told) co_return;
  const bool secured = co_await secure();
  ending_ = !secured;
  if (!secured) co_return;
  // RFC 3207 4.2: nothing that was said before counts.
  if (transaction_) end_transaction(End::reset);
  facts_.helo.clear();
  facts_.forwarded.reset();
  facts_.esmtp = false;
  offered_ = protocol::Capabilities();
  greeted_ = false;
  state_ = actual_state();
  downstream_->client_changed(ClientChange::secured);
}

}  // namespace session
