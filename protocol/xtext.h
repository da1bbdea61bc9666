// xtext = *( xchar / "+" 2HEXDIG ) (RFC 3461 section 4): text that must not hold spaces, "+" or "=".
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace protocol {

// What is written in hex must not be a control character (RFC 3461 4.2, 4.4); octets of UTF-8 may be, as Postfix does.
// `utf8`: non-ASCII characters may stand as they are (RFC 6533 section 3).
bool is_xtext(std::string_view text, bool utf8);
// The text behind xtext of printable ASCII and UTF-8, spaces included; nothing where it is malformed or holds control
// characters. Characters of UTF-8 may be written in hex, octet by octet, as Postfix does.
std::optional<std::string> decode_xtext(std::string_view text);
// Everything but xchar becomes "+XX".
std::string encode_xtext(std::string_view text);

}  // namespace protocol
