#include "protocol/reply.h"

#include <stdexcept>

#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

struct Stream {
  std::vector<Reply> replies;
  std::optional<ReplyError> error;
  bool in_progress = false;
  std::size_t rest = 0;
};

// Everything in `input`, or only the first reply.
Stream read(const std::vector<std::string_view>& input, bool first_only = false) {
  ReplyParser parser;
  Stream out;
  for (std::string_view piece : input) {
    while (!piece.empty() && !out.error && !(first_only && !out.replies.empty())) {
      auto result = parser.feed(piece);
      if (!result) out.error = result.error();
      if (result && *result) out.replies.push_back(**result);
    }
    out.rest += piece.size();
  }
  out.in_progress = parser.in_progress();
  return out;
}

Reply parsed(std::string_view wire) {
  const Stream stream = read({wire});
  REQUIRE(stream.replies.size() == 1);
  return stream.replies.front();
}

std::string lines_of(std::size_t count, std::string_view line) {
  std::string out;
  for (std::size_t i = 0; i < count; ++i) out += line;
  return out;
}

}  // namespace

TEST_CASE("replies are read whole, byte by byte and with trailing octets") {
  struct Case {
    std::string_view wire;
    int code;
    std::string_view enhanced;
    std::vector<std::string> lines;
  };
  const Case cases[] = {
      {"220 mx ESMTP\r\n", 220, "", {"mx ESMTP"}},
      {"250\r\n", 250, "", {""}},  // RFC 5321 4.2: text may be missing
      {"250 \r\n", 250, "", {""}},
      {"250-\r\n250\r\n", 250, "", {"", ""}},
      {"250 2.1.5 Ok\r\n", 250, "2.1.5", {"Ok"}},
      {"250 2.0.0\r\n", 250, "2.0.0", {""}},
      {"250 2.0.0  two spaces\r\n", 250, "2.0.0", {" two spaces"}},
      {"550-5.7.1 No\r\n550 5.7.1 thanks\r\n", 550, "5.7.1", {"No", "thanks"}},
      {"550-5.7.1\r\n550 5.7.1 x\r\n", 550, "5.7.1", {"", "x"}},
      // Not the same on every line, or not of the reply's class: it is text.
      {"550-5.7.1 No\r\n550 5.1.1 thanks\r\n", 550, "", {"5.7.1 No", "5.1.1 thanks"}},
      {"550-5.7.1 No\r\n550 thanks\r\n", 550, "", {"5.7.1 No", "thanks"}},
      {"250 5.7.1 odd\r\n", 250, "", {"5.7.1 odd"}},
      {"354 3.0.0 go\r\n", 354, "", {"3.0.0 go"}},
      {"250 2.01.5 zero\r\n", 250, "", {"2.01.5 zero"}},
      {"250 2.1000.5 x\r\n", 250, "", {"2.1000.5 x"}},
      {"250 2.1.5x\r\n", 250, "", {"2.1.5x"}},
      {"250 2.0\r\n", 250, "", {"2.0"}},
      {"299 x\r\n", 299, "", {"x"}},
      {"599 x\r\n", 599, "", {"x"}},
      // What would steer a terminal or is not UTF-8 does not get through; TAB is textstring.
      {"250 a\x1b[2Jb\x7f\tc\r\n", 250, "", {"a?[2Jb?\tc"}},
      {"250 caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7\r\n", 250, "", {"caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7"}},
      {"250 \xff\xc3 \xc0\xaf \xed\xa0\x80 \xc2\x9b \xf5\x80\x80\x80\r\n", 250, "", {"?? ?? ??? ?? ????"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.wire);
    const auto check = [&](const Stream& stream, std::size_t rest) {
      CHECK_FALSE(stream.error);
      REQUIRE(stream.replies.size() == 1);
      const Reply& reply = stream.replies.front();
      CHECK(reply.code() == c.code);
      CHECK((reply.enhanced() ? format(*reply.enhanced()) : "") == c.enhanced);
      CHECK(reply.lines() == c.lines);
      CHECK_FALSE(stream.in_progress);
      CHECK(stream.rest == rest);
      CHECK(parsed(to_wire(reply)) == reply);
    };
    pieces::each_split(c.wire, [&](const auto& input) { check(read(input), 0); });
    const std::string more = std::string(c.wire) + "421 4.3.2 Bye\r\n";
    pieces::each_split(more, [&](const auto& input) { check(read(input, true), 15); });
  }
}

TEST_CASE("what is not a reply breaks the parser for good") {
  struct Case {
    std::string input;
    ReplyError error;
  };
  const Case cases[] = {
      {"250 ok\n550 x\r\n", ReplyError::bare_lf},  // T:B9
      {"\n", ReplyError::bare_lf},
      {"250 ok\rx\r\n", ReplyError::bare_cr},
      {"250 ok\r\r\n", ReplyError::bare_cr},
      {std::string("250 o\0k\r\n", 9), ReplyError::nul},
      {std::string("250 ok\r\0\n", 9), ReplyError::nul},
      {"\r\n", ReplyError::bad_code},
      {"25\r\n", ReplyError::bad_code},
      {"150 x\r\n", ReplyError::bad_code},
      {"199 x\r\n", ReplyError::bad_code},
      {"600 x\r\n", ReplyError::bad_code},
      {"2x0 x\r\n", ReplyError::bad_code},
      {"HTTP/1.1 400 Bad Request\r\n", ReplyError::bad_code},
      {"250-a\r\nb\r\n", ReplyError::bad_code},
      {"250_x\r\n", ReplyError::bad_separator},
      {"2500\r\n", ReplyError::bad_separator},
      {"250\tx\r\n", ReplyError::bad_separator},
      {"250-a\r\n251 b\r\n", ReplyError::code_changed},
      {"250 " + std::string(2045, 'x'), ReplyError::line_too_long},
      {std::string(1000000, '2'), ReplyError::line_too_long},
      {lines_of(257, "250-x\r\n"), ReplyError::too_many_lines},
  };
  for (const Case& c : cases) {
    CAPTURE(c.input.substr(0, 40));
    pieces::each_split(c.input, [&](const auto& input) {
      const Stream stream = read(input);
      REQUIRE(stream.error);
      CHECK(*stream.error == c.error);
      CHECK(stream.replies.empty());
      CHECK_FALSE(stream.in_progress);
      CHECK_FALSE(to_string(*stream.error).empty());
    });
  }
  ReplyParser parser;
  std::string_view bad = "999\r\n";
  CHECK(parser.feed(bad).error() == ReplyError::bad_code);
  std::string_view good = "250 ok\r\n";
  CHECK(parser.feed(good).error() == ReplyError::bad_code);
  CHECK(good.size() == 8);
}

TEST_CASE("a reply is accepted up to its bounds, and its beginning is known") {
  CHECK(parsed("250 " + std::string(2044, 'x') + "\r\n").lines().front().size() == 2044);
  CHECK(parsed(lines_of(255, "250-x\r\n") + "250 x\r\n").lines().size() == 256);
  for (const std::string_view part : {"2", "250-x\r\n", "250 x\r"}) CHECK(read({part}).in_progress);
  CHECK_FALSE(read({""sv}).in_progress);
  const Stream two = read({"250 a\r\n550 b\r\n2"sv});
  CHECK(two.replies.size() == 2);
  CHECK(two.in_progress);
}

TEST_CASE("a reply never holds what would break a line") {
  const Reply reply(550, EnhancedCode{5, 7, 1}, "infected\r\nQUIT\nx\x1b");
  CHECK(to_wire(reply) == "550-5.7.1 infected?\r\n550-5.7.1 QUIT\r\n550 5.7.1 x?\r\n");
  CHECK(to_text(reply) == "550 5.7.1 infected? / QUIT / x?");
  CHECK(to_wire(Reply(250, std::nullopt, std::vector<std::string>{"a\nb\r\n550 c"})) == "250 a?b??550 c\r\n");
  CHECK(to_wire(Reply(250, std::nullopt, std::vector<std::string>{})) == "250 \r\n");
  CHECK(to_wire(Reply(250, std::nullopt, "a\n")) == "250 a\r\n");
  CHECK(to_text(Reply(250, EnhancedCode{2, 0, 0}, "")) == "250 2.0.0");
  CHECK(to_wire(Reply(250, EnhancedCode{2, 0, 0}, "")) == "250 2.0.0\r\n");
  CHECK(sanitised("a\0b"sv) == "a?b");
}

TEST_CASE("enhanced codes stay where they belong") {
  std::string out = "x";
  append_wire(out, reply::ok(), false);
  CHECK(out == "x250 Ok\r\n");
  CHECK(to_wire(Reply(354, EnhancedCode{2, 0, 0}, "go")) == "354 go\r\n");  // RFC 2034 section 3
  CHECK(to_wire(Reply(550, EnhancedCode{4, 7, 1}, "no")) == "550 no\r\n");
  CHECK(to_wire(Reply(550, EnhancedCode{5, 1000, 1}, "no")) == "550 no\r\n");
  CHECK(parse_enhanced_code("5.7.999") == EnhancedCode{5, 7, 999});
  for (const std::string_view bad :
       {"", ".", "5", "5.7", "5.7.", "5..1", "3.7.1", "1.0.0", "5.7.1.2", "5.07.1", "5.7.1 ", "55.7.1", "5.7.-1"})
    CHECK_FALSE(parse_enhanced_code(bad));
}

TEST_CASE("long text is cut at 512 octets, never inside a character") {
  std::string text;
  for (int i = 0; i < 400; ++i) text += "\xc3\xa9";
  for (const std::string_view lead : {"", "a"}) {
    const std::string wire = to_wire(Reply(550, EnhancedCode{5, 7, 1}, std::string(lead) + text));
    CHECK(wire.size() <= 512);
    CHECK(wire.size() >= 511);
    CHECK(wire.ends_with("\xc3\xa9\r\n"));
  }
  CHECK(to_wire(Reply(250, std::nullopt, std::string(506, 'x'))).size() == 512);
  CHECK(to_wire(Reply(250, std::nullopt, std::string(507, 'x'))).size() == 512);
}

TEST_CASE("a challenge of AUTH is longer than other replies") {
  const std::string longest = "334 " + std::string(max_auth_line, 'A') + "\r\n";
  CHECK(parsed(longest).lines().front().size() == max_auth_line);
  CHECK(to_wire(parsed(longest)) == longest);
  CHECK(to_wire(parsed("334 \r\n")) == "334 \r\n");
  for (const std::string& bad : {"334 " + std::string(max_auth_line + 1, 'A'), "335 " + std::string(2045, 'A'),
                                 "334-" + std::string(2045, 'A'), "3349" + std::string(2045, 'A')})
    pieces::each_split(bad + "\r\n", [&](const auto& input) { CHECK(read(input).error == ReplyError::line_too_long); });
}

TEST_CASE("our own replies") {
  CHECK(to_text(reply::ok()) == "250 2.0.0 Ok");
  CHECK(to_text(reply::bad_sequence("Need MAIL")) == "503 5.5.1 Need MAIL");
  CHECK(to_text(reply::syntax_error("x")) == "501 5.5.4 x");
  CHECK(to_text(reply::unknown_command()) == "500 5.5.2 Command not recognized");
  CHECK(to_text(reply::make(221, "", "Bye")) == "221 Bye");
  CHECK_THROWS_AS(reply::make(550, "5.7", "x"), std::invalid_argument);
  for (const int code : {-1, 0, 199, 600, 2500}) CHECK_THROWS_AS(Reply(code, std::nullopt, "x"), std::invalid_argument);
  const Reply four = reply::make(451, "4.3.0", "x");
  CHECK(four.transient());
  CHECK_FALSE((four.positive() || four.permanent() || four.intermediate()));
  CHECK(Reply(354, std::nullopt, "").intermediate());
}
