// Replies: any split gives the same replies and the same error; what is formatted parses to the same value and is safe.
#include <optional>
#include <string>
#include <vector>

#include "protocol/capabilities.h"
#include "protocol/characters.h"
#include "protocol/reply.h"
#include "split.h"

namespace {

using protocol::Reply;

struct Outcome {
  std::vector<Reply> replies;
  std::optional<protocol::ReplyError> error;
  bool in_progress = false;
  bool operator==(const Outcome&) const = default;
};

// False: the parser is broken.
bool feed(protocol::ReplyParser& parser, std::string_view piece, Outcome& outcome) {
  while (true) {
    auto result = parser.feed(piece);
    if (!result) {
      outcome.error = result.error();
      auto again = parser.feed(piece);
      PROPERTY(!again && again.error() == result.error());
      return false;
    }
    if (*result) outcome.replies.push_back(**result);
    if (!*result) {
      PROPERTY(piece.empty());
      return true;
    }
  }
}

Outcome read(std::string_view input, std::size_t most) {
  protocol::ReplyParser parser;
  Outcome outcome;
  fuzz::Pieces pieces(input, most);
  while (!pieces.empty())
    if (!feed(parser, pieces.next(), outcome)) break;
  outcome.in_progress = parser.in_progress();
  return outcome;
}

void check_reply(const Reply& reply) {
  const std::string wire = protocol::to_wire(reply);
  std::size_t line = 0;
  for (std::size_t i = 0; i < wire.size();) {
    const std::size_t character = protocol::utf8_non_ascii(std::string_view(wire).substr(i));
    const char c = wire[i];
    PROPERTY(character > 0 || protocol::is_graphic(c) || protocol::is_wsp(c) || c == '\r' || c == '\n');
    line += character > 0 ? character : 1;
    PROPERTY(line <= (reply.code() == 334 ? 4 + protocol::max_auth_line + 2 : 512));
    if (c == '\n') line = 0;
    i += character > 0 ? character : 1;
  }
  const Outcome again = read(wire, wire.size());
  PROPERTY(again.replies.size() == 1 && !again.error && !again.in_progress);
  const std::size_t uncut = reply.code() == 334 ? protocol::max_auth_line : 490;
  bool cut = false;
  for (const std::string& text : reply.lines()) cut = cut || text.size() > uncut;
  PROPERTY(cut || again.replies.front() == reply);
  PROPERTY(protocol::to_wire(again.replies.front()) == wire);
  PROPERTY(protocol::to_text(reply).find_first_of("\r\n") == std::string::npos);
  const protocol::Capabilities offered = protocol::parse_capabilities(reply);
  protocol::Capabilities carried = offered;
  carried.withheld.clear();
  PROPERTY(protocol::parse_capabilities(protocol::ehlo_reply("mx.example", offered)) == carried);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* octets, std::size_t size) {
  const std::string_view input = fuzz::text_of(octets, size);
  const Outcome whole = read(input, size + 1);
  protocol::ReplyParser at_once;
  Outcome single;
  feed(at_once, input, single);
  PROPERTY(single.replies == whole.replies && single.error == whole.error);
  for (const std::size_t most : fuzz::piece_lengths) PROPERTY(read(input, most) == whole);
  for (const Reply& reply : whole.replies) check_reply(reply);
  PROPERTY(protocol::sanitised(protocol::sanitised(input)) == protocol::sanitised(input));
  return 0;
}
