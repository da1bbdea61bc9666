#include "protocol/address_literal.h"

#include "protocol/characters.h"

namespace protocol {

std::optional<IpAddress> parse_address_literal(std::string_view text) {
  constexpr std::string_view tag = "IPv6:";
  return starts_with_nocase(text, tag) ? parse_ipv6(text.substr(tag.size())) : parse_ipv4(text);
}

}  // namespace protocol
