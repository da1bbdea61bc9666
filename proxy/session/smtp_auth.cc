// AUTH (RFC 4954), passed through: client and server agree, we carry their lines and remember nothing of them but the
// user's name, and that only after the server's 235 (T:B10).
#include "proxy/session/smtp_session.h"

namespace session {

using io::Task;
using protocol::Reply;
namespace reply = protocol::reply;

namespace {

constexpr unsigned most_rounds = 64;  // SASL mechanisms need three

std::expected<protocol::AuthResponse, Reply> response_in(const protocol::Line& line) {
  if (line.too_long) return std::unexpected(reply::make(500, "5.5.6", "Authentication exchange line is too long"));
  if (line.bare_lf) return std::unexpected(reply::make(500, "5.5.2", "A line must end in CRLF, not in LF alone"));
  return protocol::parse_auth_response(line.text);
}

}  // namespace

// The client's line in answer to a 334, and the server's answer to that. `first` becomes the first response, if it is
// one. Sets ending_ when the client is gone.
Task<Reply> SmtpSession::next_auth_round(std::optional<std::string>& first) {
  const bool told = co_await client_->flush(scope_.now() + listener_.command_timeout);
  const bool line_waits = told && co_await await_line();
  if (!line_waits) {
    ending_ = true;
    co_return Reply(421, std::nullopt, "The client is gone");
  }
  const std::optional<protocol::Line> line = client_->next_line();
  const auto response = response_in(*line);
  if (!response) {
    const Reply cancelled = co_await downstream_->authenticate("*");
    co_return cancelled.code() == 421 ? cancelled : response.error();
  }
  if (!first) first = response->base64;
  Reply answered = co_await downstream_->authenticate(format(*response));
  co_return answered;
}

Task<Reply> SmtpSession::authenticate(const protocol::AuthCommand& command) {
  std::optional<std::string> first = command.initial_response;
  Reply answered = co_await downstream_->authenticate(format(command));
  for (unsigned round = 0; answered.intermediate() && !ending_; ++round) {
    if (round == most_rounds) {
      co_await downstream_->authenticate("*");
      answered = reply::make(454, "4.7.0", "The authentication exchange does not end");
      break;
    }
    client_->queue(answered, false);
    answered = co_await next_auth_round(first);
  }
  facts_.authenticated = answered.code() == 235;
  if (facts_.authenticated) facts_.login = protocol::login_of(command.mechanism, first.value_or(""));
  co_return answered;
}

Task<> SmtpSession::on_auth(std::string_view argument) {
  co_await settle();
  if (ending_) co_return;
  const auto command = parse_auth(argument, offered_);
  if (!command) co_return own(command.error());
  Reply answered = co_await authenticate(*command);
  if (ending_) co_return;
  const int code = answered.code();
  // RFC 4954 section 6: credentials that are wrong. The others are of exchanges that were cancelled or malformed, or of
  // mechanisms, and nobody guesses passwords by these.
  if (code == 535) offended(config::Offence::auth_failures);
  own(std::move(answered));
  if (facts_.authenticated) co_return;
  note(admin::Level::warning, "auth_failed", command->mechanism + " " + std::to_string(code));
  if (++auth_failures_ < listener_.max_auth_failures) co_return;
  note(admin::Level::warning, "too_many_auth_failures");
  co_await say_goodbye(reply::make(421, "4.7.0", "Too many failed authentications, closing"));
}

}  // namespace session
