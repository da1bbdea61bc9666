#include "config/quote.h"

#include <fmt/format.h>

namespace config {

std::string visible(std::string_view text, std::size_t most) {
  const bool cut = text.size() > most;
  if (cut) {
    std::size_t end = most;
    while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
    text = text.substr(0, end);
  }
  std::string out;
  for (const char c : text) {
    const auto octet = static_cast<unsigned char>(c);
    if (octet < 0x20 || octet == 0x7F) out += fmt::format("\\u{:04X}", octet);
    else out += c;
  }
  if (cut) out += "...";
  return out;
}

std::string in_quotes(std::string_view text) { return '"' + visible(text) + '"'; }

}  // namespace config
