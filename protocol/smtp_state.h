// Legality as data: "is this verb allowed now?" (RFC 5321 4.1.4). One table, no I/O, testable without running anything.
//
// The state moves by what was decided, not by what is waited for: after() is called once a verb has had a positive
// reply. While MAIL or RCPT are on their way downstream in a pipelined group the client may go on (RFC 2920), so the
// session asks with the state as it will be if they are accepted: check_legal(after(state, Verb::mail), Verb::rcpt).
#pragma once

#include <optional>

#include "protocol/command.h"
#include "protocol/reply.h"

namespace protocol {

enum class SmtpState {
  connected,  // banner sent, no HELO/EHLO yet
  greeted,    // HELO/EHLO accepted, no transaction
  mail,       // MAIL accepted
  rcpt,       // at least one RCPT accepted
};

// Nothing = legal; otherwise the reply that refuses it: 503 5.5.1 with the reason in words; DATA with no accepted
// recipient 554 5.5.1; Verb::known_elsewhere 502 5.5.1, unknown 500 5.5.2, forbidden 221 (the caller closes).
std::optional<Reply> check_legal(SmtpState state, Verb verb);
// The state after `verb` was answered positively. After end of data or RSET: after_transaction().
SmtpState after(SmtpState state, Verb verb);
SmtpState after_transaction(SmtpState state);

}  // namespace protocol
