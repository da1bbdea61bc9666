#include "protocol/smtp_state.h"

#include <array>
#include <cstddef>

namespace protocol {
namespace {

enum class Legality { legal, need_greeting, need_mail, need_rcpt, nested_mail, elsewhere, forbidden, unknown };

using enum Legality;

// One row per verb, one column per state: connected, greeted, mail, rcpt (RFC 5321 4.1.4). EHLO and HELO are legal
// anywhere and end a transaction; NOOP, HELP, VRFY, RSET and QUIT need no greeting.
struct Row {
  Verb verb;
  std::array<Legality, 4> in;
};
constexpr Row table[] = {
    {Verb::ehlo, {legal, legal, legal, legal}},
    {Verb::helo, {legal, legal, legal, legal}},
    {Verb::mail, {need_greeting, legal, nested_mail, nested_mail}},
    {Verb::rcpt, {need_mail, need_mail, legal, legal}},
    {Verb::data, {need_mail, need_mail, need_rcpt, legal}},
    {Verb::rset, {legal, legal, legal, legal}},
    {Verb::noop, {legal, legal, legal, legal}},
    {Verb::quit, {legal, legal, legal, legal}},
    {Verb::vrfy, {legal, legal, legal, legal}},
    {Verb::help, {legal, legal, legal, legal}},
    {Verb::known_elsewhere, {elsewhere, elsewhere, elsewhere, elsewhere}},
    {Verb::forbidden, {forbidden, forbidden, forbidden, forbidden}},
    {Verb::unknown, {unknown, unknown, unknown, unknown}},
};

Legality legality(SmtpState state, Verb verb) {
  for (const Row& row : table)
    if (row.verb == verb) return row.in[static_cast<std::size_t>(state)];
  return unknown;
}

}  // namespace

std::optional<Reply> check_legal(SmtpState state, Verb verb) {
  switch (legality(state, verb)) {
    case legal:
      return std::nullopt;
    case need_greeting:
      return reply::bad_sequence("Send EHLO or HELO first");
    case need_mail:
      return reply::bad_sequence("Need MAIL first");
    case nested_mail:
      return reply::bad_sequence("MAIL already given; send RSET first");
    // RFC 5321 3.3: DATA without an accepted recipient is 503 or 554.
    case need_rcpt:
      return reply::make(554, "5.5.1", "No valid recipients");
    case elsewhere:
      return reply::make(502, "5.5.1", "Command not implemented");
    case forbidden:
      return reply::make(221, "2.7.0", "Not an SMTP command, closing connection");
    case unknown:
      return reply::unknown_command();
  }
  return reply::unknown_command();
}

SmtpState after(SmtpState state, Verb verb) {
  switch (verb) {
    case Verb::ehlo:
    case Verb::helo:
      return SmtpState::greeted;
    case Verb::mail:
      return SmtpState::mail;
    case Verb::rcpt:
      return SmtpState::rcpt;
    case Verb::rset:
      return after_transaction(state);
    default:
      return state;  // DATA's 354 moves nothing: the transaction ends with the reply to its content
  }
}

SmtpState after_transaction(SmtpState state) {
  return state == SmtpState::connected ? SmtpState::connected : SmtpState::greeted;
}

}  // namespace protocol
