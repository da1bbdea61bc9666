#include "protocol/line_buffer.h"

#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_literals;
using namespace std::string_view_literals;

namespace {

// "text" and a letter for each flag: l bare LF, c bare CR, n NUL, t too long.
std::string described(const Line& line) {
  std::string out = line.text + "|";
  if (line.bare_lf) out += 'l';
  if (line.bare_cr) out += 'c';
  if (line.nul) out += 'n';
  if (line.too_long) out += 't';
  return out;
}

std::vector<std::string> read(LineBuffer& buffer, const std::vector<std::string_view>& input) {
  std::vector<std::string> lines;
  for (const std::string_view piece : input) {
    buffer.append(piece);
    while (buffer.has_line()) lines.push_back(described(*buffer.next()));
    CHECK_FALSE(buffer.next());
  }
  return lines;
}

}  // namespace

TEST_CASE("lines of a buffer with a limit of 8 octets") {
  struct Case {
    std::string_view input;
    std::vector<std::string> lines;
  };
  const Case cases[] = {
      {"NOOP\r\n", {"NOOP|"}},
      {"\r\n", {"|"}},
      {"RSET\r\nQUIT\r\n", {"RSET|", "QUIT|"}},
      {"12345678\r\nx\r\n", {"12345678|", "x|"}},  // at the limit
      {"123456789\r\nx\r\n", {"12345678|t", "x|"}},
      {"12345678\nx\r\n", {"12345678|l", "x|"}},
      {"123456789\nx\r\n", {"12345678|t", "x|"}},
      {"12345678\r\r\nx\r\n", {"12345678|t", "x|"}},
      {"1234567\r\r\nx\r\n", {"1234567\r|c", "x|"}},
      {"12345678901234567890\r\nx\r\n", {"12345678|t", "x|"}},
      {"NOOP\nx\r\n", {"NOOP|l", "x|"}},
      {"\n\n", {"|l", "|l"}},
      {"NO\rOP\r\n", {"NO\rOP|c"}},
      {"\rx\n", {"\rx|lc"}},
      {"NO\0OP\r\n"sv, {"NO\0OP|n"s}},
      {"\0\r\0\n"sv, {"\0\r\0|lcn"s}},
      {"12345678901234\r\n12345678901234\r\nx\r\n", {"12345678|t", "12345678|t", "x|"}},
  };
  for (const Case& c : cases) {
    CAPTURE(c.input);
    pieces::each_split(c.input, [&](const auto& input) {
      LineBuffer buffer(8);
      CHECK(read(buffer, input) == c.lines);
      CHECK(buffer.empty());
      CHECK(buffer.take_rest().empty());
    });
    const std::string more = std::string(c.input) + "trail";
    pieces::each_split(more, [&](const auto& input) {
      LineBuffer buffer(8);
      CHECK(read(buffer, input) == c.lines);
      CHECK_FALSE(buffer.empty());
      CHECK(buffer.take_rest() == "trail");
      CHECK(buffer.empty());
    });
  }
}

TEST_CASE("a line without end is reported at once, once, and kept nowhere") {
  LineBuffer buffer(8);
  const std::string chunk(65536, 'x');
  int reported = 0;
  for (int i = 0; i < 200; ++i) {
    buffer.append(chunk);
    while (const auto line = buffer.next()) {
      CHECK(described(*line) == "xxxxxxxx|t");
      ++reported;
    }
    CHECK(buffer.take_rest().empty());
    CHECK_FALSE(buffer.empty());  // still inside that line
  }
  CHECK(reported == 1);
  buffer.append("\r\nNOOP\r\n");
  CHECK(described(*buffer.next()) == "NOOP|");
  CHECK(buffer.empty());
}

TEST_CASE("a line is too long as soon as no CRLF can save it") {
  for (const std::string_view bytes : {"123456789"sv, "12345678\r\r"sv, "12345678\rx"sv}) {
    LineBuffer buffer(8);
    buffer.append("12345678\r");
    CHECK_FALSE(buffer.has_line());
    buffer = LineBuffer(8);
    buffer.append(bytes);
    CHECK(buffer.has_line());
    CHECK(described(*buffer.next()) == "12345678|t");
  }
}

TEST_CASE("a caller that does not read makes an endless line no longer") {
  LineBuffer buffer(8);
  for (int i = 0; i < 1000; ++i) buffer.append("xxxxxxxxxx");
  CHECK(buffer.take_rest().size() <= 20);
}

TEST_CASE("what follows DATA in one read comes out untouched") {
  LineBuffer buffer(8);
  const std::string content(5000, 'x');
  buffer.append("DATA\r\n" + content + "\n.\r\n");
  CHECK(buffer.next()->text == "DATA");
  CHECK(buffer.take_rest() == content + "\n.\r\n");
  CHECK(buffer.empty());
  CHECK_FALSE(buffer.has_line());
}

TEST_CASE("an empty buffer holds no memory") {
  const std::size_t nothing = std::string().capacity();
  const std::string chunk = std::string(1000, 'x') + "\r\n";
  LineBuffer buffer;
  buffer.append(chunk);
  CHECK(buffer.capacity() > 1000);
  CHECK(buffer.next());
  CHECK(buffer.capacity() == nothing);
  buffer.append(std::string(5000, 'x'));  // too long, its end is not here yet
  CHECK(buffer.next()->too_long);
  CHECK(buffer.capacity() == nothing);
  buffer.append("\r\n" + chunk.substr(0, 500));
  CHECK(buffer.take_rest().size() == 500);
  CHECK(buffer.capacity() == nothing);
}

TEST_CASE("the default limit is 4096 octets") {
  LineBuffer buffer;
  buffer.append(std::string(4096, 'x') + "\r\n" + std::string(4097, 'y') + "\r\n");
  CHECK_FALSE(buffer.next()->too_long);
  CHECK(buffer.next()->too_long);
}

TEST_CASE("the limit may change between lines") {
  LineBuffer buffer(4);
  buffer.append("12345");
  buffer.set_limit(6);
  CHECK_FALSE(buffer.next());
  buffer.append("6\r\n1234567\r\n12345\r\n");
  CHECK(buffer.next()->text == "123456");
  CHECK(buffer.next()->too_long);
  buffer.set_limit(4);
  const std::optional<Line> cut = buffer.next();
  REQUIRE(cut);
  CHECK(cut->too_long);
  CHECK(cut->text == "1234");
  CHECK(buffer.empty());
}

TEST_CASE("octets that are no lines") {
  LineBuffer buffer(10);
  CHECK(buffer.unread().empty());
  buffer.append("BDAT 5\r\nab\ncdBDAT 0\r\n" + std::string(20, 'x'));
  CHECK(buffer.next()->text == "BDAT 5");
  CHECK(buffer.unread().substr(0, 6) == "ab\ncdB");
  buffer.skip(3);
  CHECK(buffer.unread().starts_with("cdB"));
  buffer.skip(2);
  CHECK(buffer.next()->text == "BDAT 0");
  CHECK(buffer.unread() == std::string(20, 'x'));
  buffer.skip(21);
  CHECK(buffer.empty());
  CHECK(buffer.capacity() < 64);
  CHECK_FALSE(buffer.next());
  buffer.append("x\r\n");
  CHECK(buffer.next()->text == "x");
}
