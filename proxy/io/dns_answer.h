// The answer of the DNS to one question, from the octets that libunbound hands over. Pure.
#pragma once

#include <span>
#include <string_view>

#include "proxy/io/resolver.h"

namespace io {

// Whether a text can be asked for: labels of 1 to 63 letters, digits, '-', '_' and '/', 253 octets in all, at most one
// dot at the end (RFC 1035 2.3.4; RFC 2317 has the slash).
bool is_domain_name(std::string_view name);
// `packet` is a whole message (RFC 1035 4.1) that answers a question for `type`; octets that are none give `failed`.
Lookup parse_answer(std::span<const std::uint8_t> packet, RecordType type, bool secure);
// "server failure (SERVFAIL)" for an RCODE (RFC 1035 4.1.1).
std::string rcode_text(int code);

}  // namespace io
