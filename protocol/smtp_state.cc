#include "protocol/smtp_state.h"

#include <array>
#include <cstddef>

namespace protocol {
namespace {

enum class Legality {
  legal,
  need_greeting,
  need_mail,
  need_rcpt,
  nested_mail,
  in_transaction,
  chunks_open,
  chunk_failed,
  elsewhere,
  forbidden,
  unknown
};

using enum Legality;

// One row per verb, one column per state: connected, greeted, mail, rcpt, chunks, failed (RFC 5321 4.1.4). EHLO and
// HELO are legal anywhere and end a transaction; NOOP, HELP, EXPN, VRFY, RSET and QUIT need no greeting. STARTTLS, AUTH
// (RFC 4954 section 4), ETRN, XCLIENT and XFORWARD stand between transactions; XCLIENT may follow XCLIENT before any
// EHLO.
struct Row {
  Verb verb;
  std::array<Legality, 6> in;
};
constexpr Row table[] = {
    {Verb::ehlo, {legal, legal, legal, legal, legal, legal}},
    {Verb::helo, {legal, legal, legal, legal, legal, legal}},
    {Verb::lhlo, {legal, legal, legal, legal, legal, legal}},
    {Verb::mail, {need_greeting, legal, nested_mail, nested_mail, nested_mail, chunk_failed}},
    {Verb::rcpt, {need_mail, need_mail, legal, legal, chunks_open, chunk_failed}},
    {Verb::data, {need_mail, need_mail, need_rcpt, legal, chunks_open, chunk_failed}},
    {Verb::bdat, {need_mail, need_mail, need_rcpt, legal, legal, chunk_failed}},
    {Verb::rset, {legal, legal, legal, legal, legal, legal}},
    {Verb::noop, {legal, legal, legal, legal, legal, legal}},
    {Verb::quit, {legal, legal, legal, legal, legal, legal}},
    {Verb::vrfy, {legal, legal, legal, legal, legal, legal}},
    {Verb::expn, {legal, legal, legal, legal, legal, legal}},
    {Verb::help, {legal, legal, legal, legal, legal, legal}},
    {Verb::etrn, {need_greeting, legal, in_transaction, in_transaction, in_transaction, in_transaction}},
    {Verb::starttls, {need_greeting, legal, in_transaction, in_transaction, in_transaction, in_transaction}},
    {Verb::auth, {need_greeting, legal, in_transaction, in_transaction, in_transaction, in_transaction}},
    {Verb::xclient, {legal, legal, in_transaction, in_transaction, in_transaction, in_transaction}},
    {Verb::xforward, {need_greeting, legal, in_transaction, in_transaction, in_transaction, in_transaction}},
    {Verb::known_elsewhere, {elsewhere, elsewhere, elsewhere, elsewhere, elsewhere, elsewhere}},
    {Verb::forbidden, {forbidden, forbidden, forbidden, forbidden, forbidden, forbidden}},
    {Verb::unknown, {unknown, unknown, unknown, unknown, unknown, unknown}},
};

Legality legality(SmtpState state, Verb verb) {
  for (const Row& row : table)
    if (row.verb == verb) return row.in[static_cast<std::size_t>(state)];
  return unknown;
}

// Nothing = `verb` is among those that this session has at all.
std::optional<Reply> check_offered(Verb verb, const Circumstances& c) {
  bool offered = true;
  switch (verb) {
    case Verb::ehlo:
    case Verb::helo:  // RFC 2033 section 4.1
      return c.lmtp ? std::optional(reply::make(500, "5.5.1", "This is LMTP, send LHLO")) : std::nullopt;
    case Verb::lhlo:
      offered = c.lmtp;
      break;
    case Verb::bdat:
      offered = c.offered.chunking;
      break;
    case Verb::starttls:
      if (c.tls) return reply::bad_sequence("TLS is active already");
      offered = c.offered.starttls;
      break;
    case Verb::auth:  // RFC 4954 section 4
      if (c.authenticated) return reply::bad_sequence("Already authenticated");
      offered = !c.offered.auth.empty();
      break;
    case Verb::expn:
      offered = c.offered.expn;
      break;
    case Verb::etrn:
      offered = c.offered.etrn;
      break;
    case Verb::xclient:
      offered = !c.offered.xclient.empty();
      break;
    case Verb::xforward:
      offered = !c.offered.xforward.empty();
      break;
    default:
      break;
  }
  if (offered) return std::nullopt;
  return reply::make(502, "5.5.1", std::string(to_string(verb)) + " is not offered here");
}

std::optional<Reply> refusal(Legality legality, bool lmtp) {
  switch (legality) {
    case legal:
      return std::nullopt;
    case need_greeting:
      return reply::bad_sequence(lmtp ? "Send LHLO first" : "Send EHLO or HELO first");
    case need_mail:
      return reply::bad_sequence("Need MAIL first");
    case nested_mail:
      return reply::bad_sequence("MAIL already given; send RSET first");
    case in_transaction:
      return reply::bad_sequence("Not within a mail transaction");
    case chunks_open:
      return reply::bad_sequence("The last BDAT has not come yet; send it or RSET");
    case chunk_failed:
      return reply::bad_sequence("A BDAT of this transaction was refused; send RSET first");
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

}  // namespace

std::optional<Reply> check_legal(SmtpState state, Verb verb, const Circumstances& circumstances) {
  if (std::optional<Reply> refused = check_offered(verb, circumstances)) return refused;
  if (std::optional<Reply> refused = refusal(legality(state, verb), circumstances.lmtp)) return refused;
  // RFC 3030 section 3
  if (verb == Verb::data && circumstances.binary) return reply::bad_sequence("BODY=BINARYMIME goes by BDAT only");
  return std::nullopt;
}

std::optional<Reply> check_legal(SmtpState state, Verb verb) {
  static const Capabilities nothing;
  return check_legal(state, verb, Circumstances(nothing));
}

SmtpState after(SmtpState state, Verb verb) {
  switch (verb) {
    case Verb::ehlo:
    case Verb::helo:
    case Verb::lhlo:
      return SmtpState::greeted;
    case Verb::mail:
      return SmtpState::mail;
    case Verb::rcpt:
      return SmtpState::rcpt;
    case Verb::bdat:
      return SmtpState::chunks;
    case Verb::starttls:
    case Verb::xclient:
      return SmtpState::connected;
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
