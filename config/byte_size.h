// Numbers of octets as the config writes them: "25M", "256K", "2G", "100". K = 1024, M = 1024 K, G = 1024 M.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace config {

// Nothing when it is no size or does not fit into 64 bits.
std::optional<std::uint64_t> parse_byte_size(std::string_view text);
// The largest unit that needs no fraction; parse_byte_size(format_byte_size(n)) == n.
std::string format_byte_size(std::uint64_t octets);

}  // namespace config
