// BDAT: the input is a command line and, behind it, octets that are cut into chunks by their own values. Any split of
// the octets gives the same message; text is canonical and agrees with a slow and plain reading; binary is untouched.
#include <string>
#include <vector>

#include "protocol/chunking.h"
#include "split.h"

namespace {

using protocol::ChunkContent;

struct Message {
  std::string content;
  protocol::ContentCounts counts;
  bool operator==(const Message&) const = default;
};

// Lengths of the chunks, the last of them included; their sum is `size`.
std::vector<std::size_t> lengths_of(std::string_view octets) {
  std::vector<std::size_t> lengths;
  std::size_t at = 0;
  while (at < octets.size()) {
    const std::size_t length = static_cast<unsigned char>(octets[at]) % 9;
    lengths.push_back(std::min(length, octets.size() - at));
    at += lengths.back();
    if (length == 0) lengths.push_back(1), ++at;
  }
  lengths.push_back(0);
  return lengths;
}

Message read(std::string_view octets, const std::vector<std::size_t>& lengths, ChunkContent kind, std::size_t most) {
  protocol::ChunkReader reader(kind);
  Message message;
  std::size_t chunk = 0;
  const auto begin = [&] {
    reader.begin({lengths[chunk], chunk + 1 == lengths.size()});
    ++chunk;
  };
  begin();
  fuzz::Pieces pieces(octets, most);
  std::string_view piece;
  while (!reader.finished()) {
    std::string out;
    const std::size_t before = piece.size();
    const std::uint64_t left = reader.left();
    const bool complete = reader.feed(piece, out);
    PROPERTY(before - piece.size() == left - reader.left());
    PROPERTY(complete == (reader.left() == 0));
    message.content += out;
    if (complete && !reader.finished()) begin();
    else if (!complete) PROPERTY(piece.empty());
    if (piece.empty() && !pieces.empty()) piece = pieces.next();
  }
  PROPERTY(piece.empty() && pieces.empty());
  PROPERTY(reader.chunks() == lengths.size());
  message.counts = reader.counts();
  return message;
}

// CRLF as it is, LF -> CRLF, CR -> space; a last line without its end gets it, and a CR at the very end is half of one.
std::string canonical(std::string_view octets) {
  std::string out;
  for (std::size_t i = 0; i < octets.size(); ++i) {
    const bool crlf = octets[i] == '\r' && octets.substr(i + 1).starts_with('\n');
    const bool last_cr = octets[i] == '\r' && i + 1 == octets.size();
    if (crlf) ++i;
    if (crlf || last_cr || octets[i] == '\n') out += "\r\n";
    else out.push_back(octets[i] == '\r' ? ' ' : octets[i]);
  }
  if (!out.empty() && !out.ends_with('\n')) out += "\r\n";
  return out;
}

void check_command(std::string_view line) {
  const auto command = protocol::parse_bdat(line);
  if (!command) {
    PROPERTY(command.error().code() == 501);
    return;
  }
  PROPERTY(command->size < std::uint64_t{1} << 63);
  PROPERTY(protocol::parse_bdat(protocol::format(*command).substr(5)) == *command);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  const std::size_t line = std::min(input.find('\n'), input.size());
  check_command(input.substr(0, line));
  const std::string_view content = input.substr(std::min(line + 1, size));
  const std::vector<std::size_t> lengths = lengths_of(content);
  for (const ChunkContent kind : {ChunkContent::text, ChunkContent::binary, ChunkContent::discarded}) {
    const Message whole = read(content, lengths, kind, size + 1);
    for (const std::size_t most : fuzz::piece_lengths) PROPERTY(read(content, lengths, kind, most) == whole);
    PROPERTY(read(content, {content.size()}, kind, size + 1) == whole);  // the borders of chunks mean nothing
    if (kind == ChunkContent::text) PROPERTY(whole.content == canonical(content));
    if (kind == ChunkContent::binary) PROPERTY(whole.content == content);
    if (kind == ChunkContent::discarded) PROPERTY(whole.content.empty());
    PROPERTY(whole.counts.octets == whole.content.size());
  }
  return 0;
}
