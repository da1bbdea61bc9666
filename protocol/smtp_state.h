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
  chunks,     // a BDAT that is not the last was accepted (RFC 3030 section 2)
  failed,     // a BDAT was refused: nothing of this transaction goes on until it is reset (T:B5)
};

// What decides beside the state.
struct Circumstances {
  explicit Circumstances(const Capabilities& offered_to_client) : offered(offered_to_client) {}
  const Capabilities& offered;  // by our last reply to EHLO or LHLO; empty before it
  bool lmtp = false;            // RFC 2033: LHLO in place of EHLO and HELO
  bool tls = false;             // the connection is protected already
  bool authenticated = false;   // AUTH has succeeded
  bool binary = false;          // the transaction's MAIL carried BODY=BINARYMIME
};

// Nothing = legal; otherwise the reply that refuses it: 503 5.5.1 with the reason in words; DATA or BDAT with no
// accepted recipient 554 5.5.1; a verb whose keyword was not offered, or that we do not carry, 502 5.5.1; unknown
// 500 5.5.2; forbidden 221 (the caller closes). A refused BDAT has octets behind it: see chunking.h.
std::optional<Reply> check_legal(SmtpState state, Verb verb, const Circumstances& circumstances);
// SMTP with nothing offered.
std::optional<Reply> check_legal(SmtpState state, Verb verb);
// The state after `verb` was answered positively; for BDAT: not the last. After end of data, the last BDAT or RSET:
// after_transaction(). STARTTLS and XCLIENT lead back to the beginning (RFC 3207 4.2, XCLIENT_README).
SmtpState after(SmtpState state, Verb verb);
SmtpState after_transaction(SmtpState state);

}  // namespace protocol
