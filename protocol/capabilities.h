// EHLO keywords (RFC 5321 4.1.1.1): what a server offers, what we carry end to end, and the intersection of the two.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/reply.h"

namespace protocol {

struct Capabilities {
  bool pipelining = false;             // RFC 2920
  bool size = false;                   // RFC 1870; size_limit 0 or absent = no fixed limit
  std::uint64_t size_limit = 0;        // octets
  bool eight_bit_mime = false;         // RFC 6152
  bool smtputf8 = false;               // RFC 6531
  bool dsn = false;                    // RFC 3461
  bool enhanced_status_codes = false;  // RFC 2034
  bool chunking = false;               // RFC 3030
  bool binary_mime = false;            // RFC 3030; means something only with chunking
  bool prdr = false;                   // draft-hall-prdr
  bool vrfy = false;                   // RFC 5321 3.5, as are EXPN and HELP
  bool expn = false;
  bool help = false;
  bool etrn = false;              // RFC 1985
  bool starttls = false;          // RFC 3207
  std::vector<std::string> auth;  // RFC 4954: SASL mechanisms in upper case; empty = no AUTH
  bool limits = false;            // RFC 9422; each limit 1..999999, 0 = none
  std::uint32_t rcpt_max = 0;     // recipients of a transaction
  std::uint32_t mail_max = 0;     // transactions of a session
  std::uint32_t rcpt_domain_max = 0;
  std::vector<std::string> xclient;   // attribute names in upper case; empty = not offered
  std::vector<std::string> xforward;  // likewise
  std::vector<std::string> withheld;  // keywords seen that we do not know (upper case, with their parameters); the first 100
  bool operator==(const Capabilities&) const = default;
};

// What a listener carries beyond the keywords that need no decision. Whoever switches one on has to serve it.
struct Carry {
  bool chunking = false;
  bool binary_mime = false;  // only with chunking
  bool prdr = false;
  bool limits = false;  // ours are set in the Capabilities that carried() gives
  bool vrfy = false;
  bool expn = false;
  bool help = false;
  bool etrn = false;
  bool starttls = false;
  bool auth = false;
  // Mechanisms in upper case, carried although they are unknown or may negotiate a security layer: GSSAPI, NTLM ...
  std::vector<std::string> auth_allowed;
  bool xclient = false;  // advertised to clients: only where peers in front of us tell their clients' identity
  bool xforward = false;
};

// All that gatepost itself carries end to end, SIZE without limit. The first is without any switch.
Capabilities carried();
Capabilities carried(const Carry& carry);
// From the reply to EHLO (its first line is the greeting). A positive reply to HELO gives the empty set.
// Keywords are case-insensitive; malformed lines are ignored; at most 100 lines are looked at, and of
// each list in Capabilities the first 100 words are kept: a client may have chosen the server.
Capabilities parse_capabilities(const Reply& ehlo_reply);
// What may be offered to the client: what both have, nothing withheld in it. Apart from that:
// - SIZE is there if either has it, LIMITS if ours has it; limits are the smallest of those that are not 0.
// - BINARYMIME needs CHUNKING. PRDR can be carried by an LMTP downstream as well: the caller sets it there. AUTH has
// the downstream's mechanisms, in its order, that ours has too.
// - STARTTLS, XCLIENT and XFORWARD concern one connection, not the way: they are there if ours has them.
Capabilities intersection(const Capabilities& ours, const Capabilities& downstream);
// What the downstream offers and the client does not read of: keywords as in Capabilities::withheld, mechanisms and
// limits one by one ("AUTH GSSAPI", "LIMITS FOO=1"). STARTTLS, XCLIENT and XFORWARD are not for the client anyway.
std::vector<std::string> withheld(const Capabilities& downstream, const Capabilities& offered);
// The reply to EHLO: `250-NAME` and one line per keyword, without enhanced code (RFC 2034 section 3).
Reply ehlo_reply(std::string_view server_name, const Capabilities& offered);

// -PLUS and EXTERNAL rest on one TLS connection from end to end, and there are two: never carried. Others than these
// that are known to protect nothing but the exchange itself may wrap all that follows in a security layer, which nobody
// could read: only where allowed.
bool may_carry_mechanism(std::string_view mechanism, const std::vector<std::string>& allowed);

}  // namespace protocol
