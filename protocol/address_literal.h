// The inside of an address-literal (RFC 5321 4.1.3).
#pragma once

#include <string_view>

namespace protocol {

bool is_ipv4_address(std::string_view text);  // Snum 3("." Snum), each 0..255
bool is_ipv6_address(std::string_view text);  // RFC 4291 2.2, no zone
// `text` without the brackets: an IPv4 address, or "IPv6:" and an IPv6 address. No other tag was ever standardised.
bool is_address_literal(std::string_view text);

}  // namespace protocol
