#include "protocol/chunking.h"

#include "protocol/dot_stuffing.h"
#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

struct Message {
  std::string content;
  ContentCounts counts;
  bool finished = false;
  std::string rest;
};

// The chunks one behind the other as a client pipelines them, without their commands.
Message read(const std::vector<std::string_view>& chunks, const std::vector<std::string_view>& input,
             ChunkContent content) {
  ChunkReader reader(content);
  Message out;
  std::size_t next = 0;
  const auto begin = [&] {
    reader.begin({chunks[next].size(), next + 1 == chunks.size()});
    ++next;
  };
  begin();
  for (std::string_view piece : input) {
    while (!reader.finished()) {
      std::string given;
      const bool complete = reader.feed(piece, given);
      out.content += given;
      CHECK(complete == (reader.left() == 0));
      if (!complete) break;
      if (!reader.finished()) begin();
    }
    out.rest += piece;
  }
  out.counts = reader.counts();
  out.finished = reader.finished();
  if (out.finished) CHECK(reader.chunks() == chunks.size());
  return out;
}

std::string joined(const std::vector<std::string_view>& chunks) {
  std::string out;
  for (const std::string_view chunk : chunks) out += chunk;
  return out;
}

void check_each_way(const std::vector<std::string_view>& chunks, ChunkContent kind, std::string_view content) {
  for (const std::string_view behind : {""sv, "BDAT 3 LAST\r\n"sv, "\n"sv}) {
    pieces::each_split(joined(chunks) + std::string(behind), [&](const auto& input) {
      const Message message = read(chunks, input, kind);
      CHECK(message.finished);
      CHECK(message.content == content);
      CHECK(message.rest == behind);
      if (kind != ChunkContent::discarded) CHECK(message.counts.octets == content.size());
    });
  }
}

}  // namespace

TEST_CASE("BDAT commands") {
  struct Case {
    std::string_view argument;
    BdatCommand command;
    std::string_view line;
  };
  const Case cases[] = {
      {"0", {0, false}, "BDAT 0"},
      {"0 LAST", {0, true}, "BDAT 0 LAST"},
      {"1000", {1000, false}, "BDAT 1000"},
      {"86 last", {86, true}, "BDAT 86 LAST"},
      {"86   Last", {86, true}, "BDAT 86 LAST"},
      {"0005", {5, false}, "BDAT 5"},
      {"4294967296 LAST", {4294967296, true}, "BDAT 4294967296 LAST"},  // T:A8
      {"9223372036854775807", {9223372036854775807, false}, "BDAT 9223372036854775807"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto command = parse_bdat(c.argument);
    REQUIRE(command);
    CHECK(*command == c.command);
    CHECK(format(*command) == c.line);
    CHECK(parse_bdat(format(*command).substr(5)) == *command);
  }
  for (const std::string_view bad : {"", "LAST", "-1", "+1", "1.5", "0x10", "1LAST", "1 LASTS", "1 LAST LAST", "1 2",
                                     "1\tLAST", "x", "9223372036854775808", "18446744073709551615",
                                     "18446744073709551616", "99999999999999999999", "000000000000000000001", "1 \0"}) {
    CAPTURE(bad);
    const auto command = parse_bdat(bad);
    if (bad == "1 ") continue;  // what remains of the last one
    REQUIRE_FALSE(command);
    CHECK(to_text(command.error()).starts_with("501 5.5.4 "));
  }
  CHECK_FALSE(parse_bdat("1 \0"sv));
  CHECK_FALSE(parse_bdat("1\0"sv));
}

TEST_CASE("chunks of text become canonical content") {
  struct Case {
    std::vector<std::string_view> chunks;
    std::string_view content;
    std::uint64_t bare_lf = 0, bare_cr = 0, nul = 0, dot_lines = 0, longest = 0;
  };
  const Case cases[] = {
      {{""}, ""},
      {{"", "", ""}, ""},
      {{"a\r\n"}, "a\r\n", 0, 0, 0, 0, 1},
      {{"a\r\n", ""}, "a\r\n", 0, 0, 0, 0, 1},
      {{"a"}, "a\r\n", 0, 0, 0, 0, 1},    // the CRLF that RFC 3030 does not ask for
      {{"a\r"}, "a\r\n", 0, 0, 0, 0, 1},  // half of it is there
      {{"\r"}, "\r\n"},
      {{"a", "b", ""}, "ab\r\n", 0, 0, 0, 0, 2},
      {{"a\r", "\nb\r\n"}, "a\r\nb\r\n", 0, 0, 0, 0, 1},  // T:B6: the border inside CRLF
      {{"a\r", "", "\n"}, "a\r\n", 0, 0, 0, 0, 1},
      {{"a\r", "b\r\n"}, "a b\r\n", 0, 1, 0, 0, 3},
      {{"a\r\n", "\nb\r\n"}, "a\r\n\r\nb\r\n", 1, 0, 0, 0, 1},
      {{"a\n"}, "a\r\n", 1, 0, 0, 0, 1},
      {{"a\n", "b\n"}, "a\r\nb\r\n", 2, 0, 0, 0, 1},
      // No dot is special, and no end of data is in here.
      {{".\r\n"}, ".\r\n", 0, 0, 0, 1, 1},
      {{"a\r\n.\r\nb\r\n"}, "a\r\n.\r\nb\r\n", 0, 0, 0, 1, 1},
      {{"a\r\n", ".", "\r\n"}, "a\r\n.\r\n", 0, 0, 0, 1, 1},
      {{"a\r\n.", "\r\n..b"}, "a\r\n.\r\n..b\r\n", 0, 0, 0, 2, 3},
      {{"a\n.\n"}, "a\r\n.\r\n", 2, 0, 0, 1, 1},
      {{"a\r.\r"}, "a .\r\n", 0, 1, 0, 0, 3},
      {{"a\r\r\n"}, "a \r\n", 0, 1, 0, 0, 2},
      {{"\0\xff"sv, "\0\r\n"sv}, "\0\xff\0\r\n"sv, 0, 0, 2, 0, 3},
  };
  for (const Case& c : cases) {
    CAPTURE(joined(c.chunks));
    check_each_way(c.chunks, ChunkContent::text, c.content);
    const std::string input = joined(c.chunks);
    const Message message = read(c.chunks, {input}, ChunkContent::text);
    CHECK(message.counts.bare_lf == c.bare_lf);
    CHECK(message.counts.bare_cr == c.bare_cr);
    CHECK(message.counts.nul == c.nul);
    CHECK(message.counts.dot_lines == c.dot_lines);
    CHECK(message.counts.longest_line == c.longest);
    // Bridged to DATA and read there it is the same message.
    DotEncoder encoder;
    std::string wire, arrived;
    encoder.feed(message.content, wire);
    encoder.finish(wire);
    DotDecoder decoder;
    std::string_view rest = wire;
    CHECK(decoder.feed(rest, arrived));
    CHECK(arrived == message.content);
    CHECK(decoder.counts().dot_lines == c.dot_lines);
  }
}

TEST_CASE("binary chunks are untouched") {
  const std::vector<std::string_view> chunks = {"\r"sv, "\n\n\r\0.\r\n.\r"sv, ""sv, ".\n\xff\r"sv};
  check_each_way(chunks, ChunkContent::binary, joined(chunks));
  const Message message = read(chunks, {joined(chunks)}, ChunkContent::binary);
  CHECK(message.counts.nul == 1);
  CHECK(message.counts.bare_lf + message.counts.bare_cr == 0);
  check_each_way({"a"}, ChunkContent::binary, "a");
}

TEST_CASE("refused chunks are swallowed to their last octet") {
  check_each_way({"MAIL FROM:<a@b>\r\n", "x"}, ChunkContent::discarded, "");
  ChunkReader reader(ChunkContent::text);
  std::string out;
  reader.begin({6, false});
  std::string_view input = "abc";
  CHECK_FALSE(reader.feed(input, out));
  reader.discard();
  input = "defQUIT\r\n";
  CHECK(reader.feed(input, out));
  CHECK(out == "abc");
  CHECK(input == "QUIT\r\n");
  CHECK_FALSE(reader.finished());
  CHECK(reader.counts().octets == 3);
}

TEST_CASE("a huge chunk costs nothing before it comes") {
  ChunkReader reader(ChunkContent::binary);
  std::string out;
  reader.begin(*parse_bdat("9223372036854775807 LAST"));
  const std::string part(100000, 'x');
  for (int i = 0; i < 10; ++i) {
    std::string_view input = part;
    CHECK_FALSE(reader.feed(input, out));
    CHECK(input.empty());
  }
  CHECK(reader.left() == 9223372036854775807U - 1000000U);
  CHECK(out.size() == 1000000);
}

TEST_CASE("very many chunks of one octet are one message") {
  ChunkReader reader(ChunkContent::text);
  std::string out;
  for (int i = 0; i < 100000; ++i) {
    reader.begin({1, false});
    std::string_view input = "x";
    CHECK(reader.feed(input, out));
  }
  reader.begin({0, true});
  std::string_view input;
  CHECK(reader.feed(input, out));
  CHECK(reader.finished());
  CHECK(reader.chunks() == 100001);
  CHECK(out == std::string(100000, 'x') + "\r\n");
  CHECK(reader.feed(input, out));  // once more changes nothing
  CHECK(out.size() == 100002);
}
