// Addresses of RFC 5321 4.1.2, parsed by functions named after the ABNF productions and formatted anew.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

namespace protocol {

// Why an address was not understood; a fixed sentence for the client ("local part too long").
struct AddressError {
  std::string_view reason;
};

struct Mailbox {
  std::string local_part;  // unquoted text (RFC 5321 4.1.2 Local-part with quoting removed)
  std::string domain;      // as given, case kept; an address-literal keeps its brackets; empty only for <postmaster>
  bool loose = false;      // was written without quotes although it is no Dot-string (a..b): goes on the same way
  bool operator==(const Mailbox&) const = default;
};
// Quotes the local part where it is not a Dot-string.
void append(std::string& out, const Mailbox& mailbox);
std::string format(const Mailbox& mailbox);
bool is_ascii(const Mailbox& mailbox);

// Reverse-path: nothing = the null reverse-path <>.
using ReversePath = std::optional<Mailbox>;
std::string format_path(const ReversePath& path);  // "<>" or "<local@domain>"
void append_path(std::string& out, const Mailbox& forward_path);
std::string format_path(const Mailbox& forward_path);

// Each takes its production from the front of `input` and advances it past what was understood.
// `utf8`: non-ASCII is allowed (RFC 6531), checked to be valid UTF-8. Source routes (A-d-l) are accepted and dropped
// (RFC 5321 4.1.1.3, appendix C). Limits: domain 255, path 256 octets (RFC 5321
// 4.5.3.1.2, 4.5.3.1.3). More liberal than the ABNF where servers are: see address.cc.
std::expected<ReversePath, AddressError> parse_reverse_path(std::string_view& input, bool utf8);
std::expected<Mailbox, AddressError> parse_forward_path(std::string_view& input, bool utf8);  // also <postmaster>
std::expected<Mailbox, AddressError> parse_mailbox(std::string_view& input, bool utf8);
// Domain or address-literal of HELO/EHLO. Lenient as servers are: any dot-separated atoms, underscore included.
std::expected<std::string, AddressError> parse_helo_name(std::string_view argument, bool utf8);

}  // namespace protocol
