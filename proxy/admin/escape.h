// Attacker-controlled octets -> one harmless line (T:I5). Both forms give printable, valid UTF-8 without line breaks,
// for any octets: control characters (C0, DEL, C1), line and paragraph separators and the characters that reorder or
// hide text on a terminal are escaped. Output is cut at `limit` octets, between characters, and ends with "..." then.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace admin {

// \r \n \t \\ by name, everything else that needs it as \xNN, octet by octet. `also` = further ASCII characters to
// escape: the quote (\") where the text stands in quotes, the brackets inside a path.
void append_text(std::string& out, std::string_view raw, std::size_t limit, std::string_view also = {});

// The inside of a JSON string (RFC 8259): what nlohmann's dump(error_handler_t::replace) means, each maximal part of an
// ill-formed UTF-8 sequence being U+FFFD.
void append_json(std::string& out, std::string_view raw, std::size_t limit);

// The same in its quotes; by default not cut to speak of.
std::string json_string(std::string_view raw, std::size_t limit = 1u << 20);

}  // namespace admin
