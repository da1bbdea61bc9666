// The inside of an address-literal (RFC 5321 4.1.3).
#pragma once

#include <optional>
#include <string_view>

#include "protocol/ip_address.h"

namespace protocol {

// `text` without the brackets: an IPv4 address, or "IPv6:" and an IPv6 address. No other tag was ever standardised.
std::optional<IpAddress> parse_address_literal(std::string_view text);

}  // namespace protocol
