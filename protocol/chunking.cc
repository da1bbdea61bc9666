#include "protocol/chunking.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>

#include "protocol/characters.h"

namespace protocol {

std::expected<BdatCommand, Reply> parse_bdat(std::string_view argument) {
  const std::size_t end = std::min(argument.find(' '), argument.size());
  const std::optional<std::uint64_t> size = decimal(argument.substr(0, end));
  const std::string_view marker = argument.substr(std::min(argument.find_first_not_of(' ', end), argument.size()));
  const bool last = equals_nocase(marker, "LAST");
  if (!size || (!last && !marker.empty())) return std::unexpected(reply::syntax_error("Syntax: BDAT size [LAST]"));
  if (*size > std::numeric_limits<std::int64_t>::max())
    return std::unexpected(reply::syntax_error("Chunk size out of range"));
  return BdatCommand{*size, last};
}

std::string format(const BdatCommand& command) {
  char digits[20];
  char* const end = std::to_chars(digits, digits + sizeof digits, command.size).ptr;
  std::string out = "BDAT ";
  out.append(std::begin(digits), end);
  if (command.last) out.append(" LAST");
  return out;
}

void ChunkReader::begin(const BdatCommand& chunk) {
  left_ = chunk.size;
  last_ = chunk.last;
  ++chunks_;
}

void ChunkReader::take(std::string_view piece, std::string& out) {
  if (piece.empty() || content_ == ChunkContent::discarded) return;
  const std::size_t before = out.size();
  LineEnds::Input input(piece);
  if (content_ == ChunkContent::text) {
    lines_.take(input, out, LineEnds::LeadingDot::content);
  } else {
    out.append(piece);
    input.at = input.end;
  }
  lines_.account(input, out.size() - before);
}

bool ChunkReader::feed(std::string_view& input, std::string& out) {
  const std::string_view piece = input.substr(0, std::min<std::uint64_t>(left_, input.size()));
  input.remove_prefix(piece.size());
  left_ -= piece.size();
  take(piece, out);
  if (left_ > 0) return false;
  if (last_ && !finished_) {
    finished_ = true;
    if (content_ == ChunkContent::text) lines_.finish(out);
  }
  return true;
}

}  // namespace protocol
