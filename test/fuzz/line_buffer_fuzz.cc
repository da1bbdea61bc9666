// Command lines out of bytes: any split gives the same lines, and memory stays within the limit.
#include <string>
#include <vector>

#include "protocol/line_buffer.h"
#include "split.h"

namespace {

constexpr std::size_t limit = 24;

struct Lines {
  std::vector<protocol::Line> lines;
  std::string rest;
  bool empty = false;
};

void drain(protocol::LineBuffer& buffer, Lines& out) {
  while (true) {
    const bool has_line = buffer.has_line();
    auto line = buffer.next();
    PROPERTY(has_line == line.has_value());
    if (!line) return;
    PROPERTY(line->text.size() <= limit);
    PROPERTY(!line->too_long || line->text.size() == limit);
    out.lines.push_back(std::move(*line));
  }
}

Lines read(std::string_view input, std::size_t most) {
  protocol::LineBuffer buffer(limit);
  Lines out;
  fuzz::Pieces pieces(input, most);
  while (!pieces.empty()) {
    buffer.append(pieces.next());
    drain(buffer, out);
  }
  out.empty = buffer.empty();
  out.rest = buffer.take_rest();
  PROPERTY(out.rest.size() <= limit + 1);
  return out;
}

bool same(const protocol::Line& a, const protocol::Line& b) {
  return a.text == b.text && a.bare_lf == b.bare_lf && a.bare_cr == b.bare_cr && a.nul == b.nul &&
         a.too_long == b.too_long;
}

bool same(const Lines& a, const Lines& b) {
  if (a.lines.size() != b.lines.size() || a.rest != b.rest || a.empty != b.empty) return false;
  for (std::size_t i = 0; i < a.lines.size(); ++i)
    if (!same(a.lines[i], b.lines[i])) return false;
  return true;
}

// Without a limit in the way the lines and the rest are the input.
void check_complete(std::string_view input) {
  protocol::LineBuffer buffer(input.size() + 1);
  buffer.append(input);
  std::string again;
  while (auto line = buffer.next()) {
    PROPERTY(!line->too_long);
    again.append(line->text).append(line->bare_lf ? "\n" : "\r\n");
  }
  PROPERTY(again.append(buffer.take_rest()) == input);
  PROPERTY(buffer.empty());
}

// A caller that appends without reading gets the same lines.
void check_late_reader(std::string_view input, const Lines& whole) {
  protocol::LineBuffer buffer(limit);
  Lines out;
  fuzz::Pieces pieces(input, 7);
  while (!pieces.empty()) buffer.append(pieces.next());
  drain(buffer, out);
  out.empty = buffer.empty();
  out.rest = buffer.take_rest();
  PROPERTY(same(out, whole));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  const Lines whole = read(input, size + 1);
  for (const std::size_t most : fuzz::piece_lengths) PROPERTY(same(read(input, most), whole));
  check_late_reader(input, whole);
  check_complete(input);
  return 0;
}
