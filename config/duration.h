// Durations as the config writes them: "100ms", "30s", "5m", "2h". One number, one unit, no sign, no space.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace config {

// Nothing when it is no duration, or longer than 2^53 ms. "0" needs no unit.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
// The largest unit that needs no fraction; parse_duration(format_duration(d)) == d. `duration` is not negative.
std::string format_duration(std::chrono::milliseconds duration);

}  // namespace config
