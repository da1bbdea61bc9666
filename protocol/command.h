// One SMTP command line as a value (RFC 5321 4.1.1). No state and no legality here: see smtp_state.h.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/address.h"
#include "protocol/capabilities.h"
#include "protocol/parameters.h"
#include "protocol/reply.h"

namespace protocol {

enum class Verb {
  ehlo,
  helo,
  mail,
  rcpt,
  data,
  rset,
  noop,
  quit,
  vrfy,
  help,
  lhlo,      // RFC 2033, in place of EHLO and HELO
  bdat,      // RFC 3030: chunking.h
  auth,      // RFC 4954: auth.h
  starttls,  // RFC 3207
  expn,      // with VRFY, HELP and ETRN: inquiry.h
  etrn,      // RFC 1985
  xclient,   // with XFORWARD: xclient.h
  xforward,
  known_elsewhere,  // a real SMTP verb that we do not carry (BURL, TURN, SEND ...): 502 5.5.1
  forbidden,  // not SMTP at all: GET, POST, CONNECT, HEAD, PUT, OPTIONS, or a "Header: value" line (T:B12): 221 and
              // close
  unknown,    // anything else: 500 5.5.2
};
std::string_view to_string(Verb verb);  // "EHLO"

struct Command {
  Verb verb = Verb::unknown;
  std::string_view word;      // the verb as the client wrote it
  std::string_view argument;  // without leading and trailing spaces; points into the line
};
// `line` without its CRLF. Verbs are case-insensitive.
Command parse_command(std::string_view line);
// 501 5.5.4 where STARTTLS has an argument (RFC 3207 section 4). Others that take none (DATA, RSET, QUIT) may have one,
// as with most servers.
std::optional<Reply> refuse_argument(const Command& command);

struct MailCommand {
  ReversePath reverse_path;
  MailParameters parameters;
  bool operator==(const MailCommand&) const = default;
};
struct RcptCommand {
  Mailbox forward_path;
  RcptParameters parameters;
  bool operator==(const RcptCommand&) const = default;
};
// `argument` is what follows MAIL or RCPT: `FROM:<...> ...`, `TO:<...> ...` (one space after the colon is tolerated).
// UTF-8 addresses are understood when SMTPUTF8 was offered and, for MAIL, asked for (553 5.6.7 otherwise);
// `smtputf8` of parse_rcpt: the transaction's MAIL carried SMTPUTF8.
std::expected<MailCommand, Reply> parse_mail(std::string_view argument, const Capabilities& offered);
std::expected<RcptCommand, Reply> parse_rcpt(std::string_view argument, const Capabilities& offered, bool smtputf8);

// Without CRLF. Of the parameters whose keyword `downstream` lacks SIZE, PRDR and AUTH are left out: the message is the
// same without them. The others were never offered.
std::string format(const MailCommand& command, const Capabilities& downstream);
std::string format(const RcptCommand& command);

}  // namespace protocol
