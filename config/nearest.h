// "did you mean": the known name that a mistyped one is nearest to.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace config {

// Insertions, deletions, replacements and swaps of neighbours, upper and lower case alike; octets, not characters.
std::size_t edit_distance(std::string_view a, std::string_view b);
// Nothing (an empty view) when no name is near: more than a third of the longer one differs. The first of equals wins.
std::string_view nearest(std::string_view name, std::span<const std::string_view> known);
// "; did you mean \"workers\"?", or "" when no name is near.
std::string did_you_mean(std::string_view name, std::span<const std::string_view> known);

}  // namespace config
