// Commands outside of transactions that are forwarded as values: VRFY, EXPN, HELP (RFC 5321 4.1.1.6 to 4.1.1.8) and
// ETRN (RFC 1985).
#pragma once

#include <expected>
#include <string>
#include <string_view>

#include "protocol/capabilities.h"
#include "protocol/command.h"
#include "protocol/reply.h"

namespace protocol {

struct Inquiry {
  Verb verb = Verb::help;  // vrfy, expn, help or etrn
  std::string text;        // printable, without spaces at its ends; empty only with HELP
  bool smtputf8 = false;   // RFC 6531 3.7.4.2, VRFY and EXPN: the reply may hold UTF-8
  bool operator==(const Inquiry&) const = default;
};

// `argument` is what follows `verb`, one of the four. 501 5.5.4 what is malformed or makes a command of more than 512
// octets; 553 5.6.7 non-ASCII text without SMTPUTF8, or where that was not offered.
std::expected<Inquiry, Reply> parse_inquiry(Verb verb, std::string_view argument, const Capabilities& offered);
std::string format(const Inquiry& inquiry);  // without CRLF

}  // namespace protocol
