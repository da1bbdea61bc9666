// Text from a config file, made fit for one line of a message.
#pragma once

#include <string>
#include <string_view>

namespace config {

// Control characters as \u00XX; more than `most` octets are cut at a character's end and marked with "...".
std::string visible(std::string_view text, std::size_t most = 80);
// The same between double quotes. (Not "quoted": std::quoted would be found for a std::string.)
std::string in_quotes(std::string_view text);

}  // namespace config
