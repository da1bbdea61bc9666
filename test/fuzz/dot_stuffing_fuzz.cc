// The content of DATA: any split gives the same content, counts and end; it is canonical; encoding and decoding undo
// each other; and the whole agrees with a decoder written the slow and plain way.
#include <algorithm>
#include <string>

#include "protocol/dot_stuffing.h"
#include "split.h"

namespace {

struct Decoded {
  std::string content;
  protocol::DotDecoder::Counts counts;
  bool finished = false;
  std::size_t rest = 0;  // octets behind the end of data
};

bool same(const Decoded& a, const Decoded& b) {
  return a.content == b.content && a.finished == b.finished && a.rest == b.rest && a.counts.octets == b.counts.octets &&
         a.counts.bare_lf == b.counts.bare_lf && a.counts.bare_cr == b.counts.bare_cr && a.counts.nul == b.counts.nul &&
         a.counts.dot_lines == b.counts.dot_lines && a.counts.longest_line == b.counts.longest_line;
}

Decoded decode(std::string_view input, std::size_t most) {
  protocol::DotDecoder decoder;
  Decoded out;
  std::size_t consumed = 0;
  fuzz::Pieces pieces(input, most);
  std::string chunk;
  while (!pieces.empty() && !out.finished) {
    std::string_view piece = pieces.next();
    consumed += piece.size();
    chunk.clear();
    out.finished = decoder.feed(piece, chunk);
    consumed -= piece.size();
    PROPERTY(out.finished || piece.empty());
    PROPERTY(out.finished == decoder.finished());
    out.content += chunk;
  }
  out.counts = decoder.counts();
  out.rest = input.size() - consumed;
  return out;
}

std::string encode(std::string_view content, std::size_t most) {
  protocol::DotEncoder encoder;
  std::string out;
  fuzz::Pieces pieces(content, most);
  while (!pieces.empty()) encoder.feed(pieces.next(), out);
  encoder.finish(out);
  return out;
}

// The same by the definition: find CRLF.CRLF, take the dots off behind CRLF, then mend lone CR and LF.
void check_against_definition(std::string_view input, const Decoded& whole) {
  const std::string framed = "\r\n" + std::string(input);
  const std::size_t end = framed.find("\r\n.\r\n");
  PROPERTY(whole.finished == (end != std::string::npos));
  if (!whole.finished) return;
  PROPERTY(whole.rest == framed.size() - end - 5);
  const std::string data = framed.substr(0, end + 2);
  std::string content;
  for (std::size_t i = 2; i < data.size(); ++i) {
    const bool behind_crlf = data[i - 1] == '\n' && data[i - 2] == '\r';
    if (data[i] == '.' && behind_crlf) continue;
    if (data[i] == '\n' && data[i - 1] != '\r') content.push_back('\r');
    content.push_back(data[i] == '\r' && data.compare(i + 1, 1, "\n") != 0 ? ' ' : data[i]);
  }
  PROPERTY(whole.content == content);
  PROPERTY(whole.counts.nul == static_cast<std::uint64_t>(std::count(content.begin(), content.end(), '\0')));
}

void check_canonical(const Decoded& decoded) {
  const std::string& content = decoded.content;
  std::uint64_t dots = 0;
  std::uint64_t longest = 0;
  std::size_t line = 0;
  for (std::size_t i = 0; i < content.size(); ++i) {
    if (content[i] == '\r') PROPERTY(i + 1 < content.size() && content[i + 1] == '\n');
    if (content[i] == '\n') PROPERTY(i > 0 && content[i - 1] == '\r');
    if (content[i] == '.' && i == line) ++dots;
    if (content[i] == '\n') line = i + 1;
    if (content[i] != '\r' && content[i] != '\n') longest = std::max<std::uint64_t>(longest, i + 1 - line);
  }
  PROPERTY(decoded.counts.dot_lines == dots);
  PROPERTY(decoded.counts.longest_line == longest);
  PROPERTY(decoded.counts.octets == content.size());
  PROPERTY(!decoded.finished || content.empty() || content.ends_with("\r\n"));
}

void check_round_trip(const Decoded& decoded) {
  const std::string wire = encode(decoded.content, decoded.content.size() + 1);
  for (const std::size_t most : fuzz::piece_lengths) PROPERTY(encode(decoded.content, most) == wire);
  PROPERTY(("\r\n" + wire).find("\r\n.\r\n") == wire.size() - 3);  // one end of data, at the end
  const Decoded again = decode(wire, wire.size());
  PROPERTY(again.finished && again.rest == 0 && again.counts.bare_cr == 0 && again.counts.bare_lf == 0);
  const bool complete = decoded.content.empty() || decoded.content.ends_with("\r\n");
  PROPERTY(again.content == (complete ? decoded.content : decoded.content + "\r\n"));
  if (complete && decoded.counts.dot_lines == 0) PROPERTY(wire == decoded.content + ".\r\n");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  protocol::DotDecoder decoder;
  Decoded whole;
  std::string_view rest = input;
  whole.finished = decoder.feed(rest, whole.content);
  whole.rest = rest.size();
  whole.counts = decoder.counts();
  for (const std::size_t most : fuzz::piece_lengths) PROPERTY(same(decode(input, most), whole));
  check_against_definition(input, whole);
  check_canonical(whole);
  check_round_trip(whole);
  return 0;
}
