#include "test/playbooks/random_message.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

namespace playbook {
namespace {

unsigned below(std::mt19937& random, unsigned limit) {
  return std::uniform_int_distribution<unsigned>(0, limit - 1)(random);
}

// Lengths crowd around the limits of RFC 5321 4.5.3.1 and our buffers.
std::size_t line_length(std::mt19937& random) {
  constexpr std::array<unsigned, 13> edges = {0, 1, 2, 3, 63, 64, 76, 78, 510, 512, 998, 1000, 2000};
  if (below(random, 3) == 0) return below(random, 80);
  if (below(random, 40) == 0) return below(random, 2001);
  const unsigned edge = edges[below(random, edges.size())];
  if (edge > 100 && below(random, 4) != 0) return below(random, 20);
  return std::min(2000U, edge + below(random, 3));
}

char octet(std::mt19937& random, MessageKind kind) {
  switch (below(random, 20)) {
    case 0:
      return '.';
    case 1:
      return static_cast<char>(0x80 + below(random, 0x80));
    case 2:
      return "\t :-\x1b\x7f\b\f"[below(random, 8)];
    case 3:
      if (kind.nul && below(random, 10) == 0) return '\0';
      return 'n';
    default:
      return static_cast<char>('a' + below(random, 26));
  }
}

std::string line_end(std::mt19937& random, MessageKind kind) {
  if (!kind.odd_line_ends || below(random, 3) != 0) return "\r\n";
  constexpr std::array<std::string_view, 7> odd = {"\n", "\r", "\r\r\n", "\n\n", "\n\r", "\r\n\r", "\r\r"};
  return std::string(odd[below(random, odd.size())]);
}

std::string text_line(std::mt19937& random, MessageKind kind) {
  constexpr std::array<std::string_view, 8> starts = {".", "..", ". ", "...", " ", "\t", "From ", "-"};
  std::string line;
  if (below(random, 4) == 0) line = starts[below(random, starts.size())];
  for (std::size_t left = line_length(random); left > 0; --left) line += octet(random, kind);
  return line;
}

std::string header_line(std::mt19937& random, MessageKind kind) {
  constexpr std::array<std::string_view, 20> names = {"Subject: ",
                                                      "From: ",
                                                      "Cc: ",
                                                      "Sender: ",
                                                      "Reply-To: ",
                                                      "List-Id: ",
                                                      "User-Agent: ",
                                                      "received: ",
                                                      "Received: ",
                                                      "X-",
                                                      "X-Gate: ",
                                                      "X-Gatepost-Verdic:",
                                                      ": ",
                                                      "Message-ID:",
                                                      "Content-Type: a;",
                                                      ">From x ",
                                                      "From anna Mon",
                                                      "Subject ",
                                                      "MIME-Version:",
                                                      "Date\t:"};
  constexpr std::array<std::string_view, 5> ours = {
      "X-Gatepost-Verdict: ", "x-gatepost-verdict:", "X-GATEPOST-VERDICT :", "X-Gatepost-Verdict\t \t: ",
      "X-gatepost-verdicts: "};
  std::string line(kind.our_field && below(random, 5) == 0 ? ours[below(random, ours.size())]
                                                           : names[below(random, names.size())]);
  line += text_line(random, kind);
  while (below(random, 4) == 0) line += (below(random, 2) == 0 ? "\r\n " : "\r\n\t") + text_line(random, kind);
  return line;
}

bool is_blank(char c) { return c == ' ' || c == '\t'; }

// Is this line, in a header section, our field? Blanks may stand before its colon; without a colon the name alone is
// it.
bool is_our_field(std::string_view line) {
  constexpr std::string_view name = "x-gatepost-verdict";
  if (line.size() < name.size()) return false;
  for (std::size_t i = 0; i < name.size(); ++i)
    if (std::tolower(static_cast<unsigned char>(line[i])) != name[i]) return false;
  std::size_t at = name.size();
  while (at < line.size() && is_blank(line[at])) ++at;
  return at == line.size() || line[at] == ':';
}

// `content` is canonical.
std::string without_our_field(std::string_view content) {
  std::string kept;
  bool header = true, dropping = false;
  while (!content.empty()) {
    const std::string_view line = content.substr(0, content.find("\r\n"));
    if (line.empty()) header = false;
    const bool continues = !line.empty() && is_blank(line.front());
    if (!header) dropping = false;
    else if (!continues) dropping = is_our_field(line);
    if (!dropping) kept.append(line).append("\r\n");
    content.remove_prefix(line.size() + 2);
  }
  return kept;
}

}  // namespace

std::string random_message(std::mt19937& random, MessageKind kind) {
  std::string message;
  const unsigned shape = below(random, 8);  // 0: no header section; 1: nothing but one
  if (shape != 0)
    for (unsigned left = below(random, 12); left > 0; --left)
      message += header_line(random, kind) + line_end(random, kind);
  if (shape == 1) return message;
  if (shape != 0) message += "\r\n";
  for (unsigned left = below(random, 30); left > 0; --left) message += text_line(random, kind) + line_end(random, kind);
  if (below(random, 4) == 0) message += text_line(random, kind);  // and no line end behind it
  return message;
}

std::string as_sent(std::string_view message) {
  std::string wire;
  bool line_start = true;
  for (std::size_t i = 0; i < message.size(); ++i) {
    if (line_start && message[i] == '.') wire += '.';
    wire += message[i];
    line_start = message[i] == '\n' && i > 0 && message[i - 1] == '\r';
  }
  return wire + (line_start ? ".\r\n" : "\r\n.\r\n");
}

Expected expected_content(std::string_view message, bool removes) {
  std::string source(message);
  if (!source.empty() && !source.ends_with("\r\n")) source += "\r\n";
  Expected expected;
  for (std::size_t i = 0; i < source.size(); ++i) {
    const char c = source[i];
    const bool crlf = c == '\r' && i + 1 < source.size() && source[i + 1] == '\n';
    if (crlf) ++i;
    if (c == '\0') ++expected.nul;
    if (c == '\n') ++expected.bare_lf;
    if (c == '\r' && !crlf) ++expected.bare_cr;
    if (crlf || c == '\n') expected.content += "\r\n";
    else expected.content += c == '\r' ? ' ' : c;
  }
  if (removes) expected.content = without_our_field(expected.content);
  return expected;
}

}  // namespace playbook
