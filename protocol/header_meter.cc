#include "protocol/header_meter.h"

#include <algorithm>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr OctetClass ftext_class = octet_class([](char c) { return is_graphic(c) && c != ':'; });

std::size_t ftext_octets(std::string_view content) {
  const auto* const end =
      std::find_if_not(content.begin(), content.end(), [](char c) { return is_in(ftext_class, c); });
  return static_cast<std::size_t>(end - content.begin());
}

}  // namespace

// field-name = 1*ftext (RFC 5322 3.6.8), then blanks by 4.5.
void HeaderMeter::take(char c) {
  const bool ftext = is_in(ftext_class, c);
  switch (at_) {
    case At::line_start:
      line_octets_ = 0;
      if (is_wsp(c) && fields_ > 0) at_ = At::rest;
      else at_ = ftext ? At::name : At::end;
      break;
    case At::name:
    case At::blanks:
      if (c == ':') {
        ++fields_;
        at_ = At::rest;
      } else if (is_wsp(c)) {
        at_ = At::blanks;
      } else if (!ftext || at_ == At::blanks) {
        at_ = At::end;
      }
      break;
    case At::rest:
    case At::end:
      break;
  }
  ++line_octets_;
}

void HeaderMeter::feed(std::string_view content) {
  while (!content.empty() && at_ != At::end) {
    if (at_ == At::name) {
      const std::size_t octets = ftext_octets(content);
      line_octets_ += octets;
      content.remove_prefix(octets);
      if (content.empty()) return;
    }
    if (at_ != At::rest) {
      take(content.front());
      content.remove_prefix(1);
      continue;
    }
    const std::size_t lf = content.find('\n');
    const std::size_t piece = lf == std::string_view::npos ? content.size() : lf + 1;
    octets_ += line_octets_ + piece;
    line_octets_ = 0;
    if (lf != std::string_view::npos) at_ = At::line_start;
    content.remove_prefix(piece);
  }
}

}  // namespace protocol
