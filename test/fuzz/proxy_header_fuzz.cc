// PROXY headers: any split gives the same header, error and rest; what was read can be written and read again.
#include <stdexcept>
#include <string>

#include "protocol/proxy_header.h"
#include "split.h"

namespace {

using protocol::ProxyHeader;
using protocol::ProxyVersion;

struct Read {
  std::optional<ProxyHeader> header;
  std::string_view error;
  std::size_t rest = 0;
  bool operator==(const Read&) const = default;
};

Read read(std::string_view input, ProxyVersion expected, std::size_t most) {
  protocol::ProxyHeaderParser parser(expected);
  Read out;
  fuzz::Pieces pieces(input, most);
  std::size_t consumed = 0;
  while (!pieces.empty()) {
    std::string_view piece = pieces.next();
    consumed += piece.size();
    auto outcome = parser.feed(piece);
    consumed -= piece.size();
    if (!outcome) {
      out.error = outcome.error().reason;
      PROPERTY(!out.error.empty());
      return out;
    }
    if (*outcome) {
      out.header = std::move(**outcome);
      out.rest = input.size() - consumed;
      return out;
    }
    PROPERTY(piece.empty());
  }
  PROPERTY(consumed <= 16 + 216 + 4096);  // nobody waits for more
  return out;
}

void check_round_trip(const ProxyHeader& header) {
  PROPERTY(header.source.has_value() == header.destination.has_value());
  PROPERTY(header.unique_id.size() <= 128);
  const std::string v1 = format(header, ProxyVersion::v1);
  PROPERTY(v1.size() <= 107);
  const Read line = read(v1, ProxyVersion::v1, v1.size());
  PROPERTY(line.header && line.header->source == header.source && line.header->destination == header.destination);
  for (const bool checksum : {false, true}) {
    std::string v2;
    try {
      v2 = format(header, ProxyVersion::v2, checksum);
    } catch (const std::invalid_argument&) {
      PROPERTY(checksum);  // the sum does not fit beside the TLVs
      continue;
    }
    const Read again = read(v2, ProxyVersion::v2, v2.size());
    PROPERTY(again.header && *again.header == header && again.rest == 0);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  for (const ProxyVersion expected : {ProxyVersion::v1, ProxyVersion::v2, ProxyVersion::either}) {
    const Read whole = read(input, expected, size + 1);
    for (const std::size_t most : fuzz::piece_lengths) PROPERTY(read(input, expected, most) == whole);
    if (whole.header) check_round_trip(*whole.header);
  }
  return 0;
}
