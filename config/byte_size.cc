#include "config/byte_size.h"

#include <charconv>
#include <limits>

namespace config {
namespace {

constexpr std::string_view units = "KMG";

}  // namespace

std::optional<std::uint64_t> parse_byte_size(std::string_view text) {
  std::uint64_t number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (failure != std::errc{}) return std::nullopt;
  const std::string_view unit(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (unit.empty()) return number;
  const std::size_t power = unit.size() == 1 ? units.find(unit[0]) : std::string_view::npos;
  if (power == std::string_view::npos) return std::nullopt;
  const std::size_t bits = 10 * (power + 1);
  if (number > std::numeric_limits<std::uint64_t>::max() >> bits) return std::nullopt;
  return number << bits;
}

std::string format_byte_size(std::uint64_t octets) {
  std::size_t power = 0;
  while (octets != 0 && octets % 1024 == 0 && power < units.size()) {
    octets /= 1024;
    ++power;
  }
  std::string text = std::to_string(octets);
  if (power > 0) text += units[power - 1];
  return text;
}

}  // namespace config
