// The header filter: any split gives the same output and counts, no copy of the field is left, and everything else is.
#include <algorithm>
#include <string>
#include <vector>

#include "protocol/characters.h"
#include "protocol/header_filter.h"
#include "split.h"

namespace {

constexpr std::string_view field = "X-Gatepost-Verdict";

struct Filtered {
  std::string content;
  std::uint64_t received = 0;
  std::uint64_t removed = 0;
  std::uint64_t header = 0;
  bool in_header = false;
  bool operator==(const Filtered&) const = default;
};

Filtered filter(std::string_view content, std::size_t most, std::string_view name) {
  protocol::HeaderFilter filter{std::string(name)};
  Filtered out;
  fuzz::Pieces pieces(content, most);
  while (!pieces.empty()) {
    const std::string_view piece = pieces.next();
    const std::size_t before = out.content.size();
    const bool passthrough = filter.passthrough();
    filter.feed(piece, out.content);
    PROPERTY(!passthrough || std::string_view(out.content).substr(before) == piece);
  }
  filter.finish(out.content);
  out.received = filter.received_fields();
  out.removed = filter.removed_fields();
  out.header = filter.header_octets();
  out.in_header = filter.in_header();
  PROPERTY(filter.passthrough() == !out.in_header);
  return out;
}

// Lines with their ends; the last may have none.
std::vector<std::string> lines_of(std::string_view content) {
  std::vector<std::string> lines;
  while (!content.empty()) {
    const std::size_t lf = content.find('\n');
    lines.emplace_back(content.substr(0, lf == std::string_view::npos ? lf : lf + 1));
    content.remove_prefix(lines.back().size());
  }
  return lines;
}

bool is_forged(std::string_view line) {
  if (!protocol::starts_with_nocase(line, field)) return false;
  line.remove_prefix(field.size());
  const std::size_t blanks = std::min(line.find_first_not_of(" \t"), line.size());
  if (blanks > 64) return true;
  return blanks < line.size() && (line[blanks] == ':' || line[blanks] == '\r' || line[blanks] == '\n');
}

// The filter, line by line.
std::string by_definition(std::string_view content) {
  std::string out;
  bool header = true;
  bool dropping = false;
  for (const std::string& line : lines_of(content)) {
    if (line == "\r\n" || line == "\n") header = false;
    if (header && !protocol::is_wsp(line.front())) dropping = is_forged(line);
    if (!header || !dropping) out += line;
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view content = fuzz::text_of(octets, size);
  const Filtered whole = filter(content, size + 1, field);
  for (const std::size_t most : fuzz::piece_lengths) PROPERTY(filter(content, most, field) == whole);
  PROPERTY(whole.content == by_definition(content));
  PROPERTY((whole.removed == 0) == (whole.content == content));
  PROPERTY(whole.header <= content.size());
  PROPERTY(filter(whole.content, size + 1, field).removed == 0);
  const Filtered untouched = filter(content, size + 1, "");
  PROPERTY(untouched.content == content && untouched.removed == 0 && untouched.received == whole.received);
  return 0;
}
