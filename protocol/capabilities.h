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
  std::vector<std::string> withheld;   // keywords seen that we do not carry (upper case, with their parameters)
  bool operator==(const Capabilities&) const = default;
};

// All that gatepost itself carries end to end, SIZE without limit.
Capabilities carried();
// From the reply to EHLO (its first line is the greeting). A positive reply to HELO gives the empty set.
// Keywords are case-insensitive; malformed lines are ignored; at most 100 lines are looked at.
Capabilities parse_capabilities(const Reply& ehlo_reply);
// What both have; nothing is withheld in it. SIZE is there if either has it; its limit is the smaller of the non-zero
// limits.
Capabilities intersection(const Capabilities& a, const Capabilities& b);
// The reply to EHLO: `250-NAME` and one line per keyword, without enhanced code (RFC 2034 section 3).
Reply ehlo_reply(std::string_view server_name, const Capabilities& offered);

}  // namespace protocol
