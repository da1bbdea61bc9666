// One SMTP command line as a value (RFC 5321 4.1.1). No state and no legality here: see smtp_state.h.
#pragma once

#include <expected>
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
  known_elsewhere,  // a real SMTP verb that we do not carry (BDAT, STARTTLS, AUTH, EXPN, ETRN, XCLIENT ...): 502 5.5.1
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

// Without CRLF. Parameters whose keyword `downstream` lacks are left out only for SIZE; the others were never offered.
std::string format(const MailCommand& command, const Capabilities& downstream);
std::string format(const RcptCommand& command);

}  // namespace protocol
