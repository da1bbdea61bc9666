#include "protocol/dot_stuffing.h"
#include "protocol/header_filter.h"
#include "protocol/header_meter.h"
#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

struct Decoded {
  std::string content;
  bool finished = false;
  std::string rest;
  DotDecoder::Counts counts;
};

Decoded decode(const std::vector<std::string_view>& input) {
  DotDecoder decoder;
  Decoded out;
  for (std::string_view piece : input) {
    std::string chunk;
    if (!out.finished) out.finished = decoder.feed(piece, chunk);
    out.content += chunk;
    out.rest += piece;
  }
  CHECK(decoder.finished() == out.finished);
  out.counts = decoder.counts();
  return out;
}

std::string encode(const std::vector<std::string_view>& content) {
  DotEncoder encoder;
  std::string out;
  for (const std::string_view piece : content) encoder.feed(piece, out);
  encoder.finish(out);
  return out;
}

}  // namespace

TEST_CASE("content of DATA up to CRLF.CRLF") {
  struct Case {
    std::string_view wire;  // with its end of data
    std::string_view content;
    std::uint64_t bare_lf = 0, bare_cr = 0, nul = 0, dot_lines = 0, longest = 0;
  };
  const Case cases[] = {
      {".\r\n", ""},
      {"\r\n.\r\n", "\r\n"},
      {"a\r\n.\r\n", "a\r\n", 0, 0, 0, 0, 1},
      {"a\r\n\r\nbcd\r\n.\r\n", "a\r\n\r\nbcd\r\n", 0, 0, 0, 0, 3},
      {"..\r\n.\r\n", ".\r\n", 0, 0, 0, 1, 1},
      {"...\r\n..x\r\n.\r\n", "..\r\n.x\r\n", 0, 0, 0, 2, 2},
      {".x\r\n.\r\n", "x\r\n", 0, 0, 0, 0, 1},  // a sender that does not stuff
      {"x.\r\n.\r\n", "x.\r\n", 0, 0, 0, 0, 2},
      // T:A1, one line each: none of them is an end of data.
      {"x\n.\ny\r\n.\r\n", "x\r\n.\r\ny\r\n", 2, 0, 0, 1, 1},
      {"x\r.\ry\r\n.\r\n", "x . y\r\n", 0, 2, 0, 0, 5},
      {"x\r.\ny\r\n.\r\n", "x .\r\ny\r\n", 1, 1, 0, 0, 3},
      {"x\n.\ry\r\n.\r\n", "x\r\n. y\r\n", 1, 1, 0, 1, 3},
      {"x\n.\r\ny\r\n.\r\n", "x\r\n.\r\ny\r\n", 1, 0, 0, 1, 1},
      {"x\r\n.\ny\r\n.\r\n", "x\r\n\r\ny\r\n", 1, 0, 0, 0, 1},
      {"x\r.\r\ny\r\n.\r\n", "x .\r\ny\r\n", 0, 1, 0, 0, 3},
      {"x\r\n.\ry\r\n.\r\n", "x\r\n y\r\n", 0, 1, 0, 0, 2},
      {"x\r\n\0.\r\ny\r\n.\r\n"sv, "x\r\n\0.\r\ny\r\n"sv, 0, 0, 1, 0, 2},
      {"x\r\n.\0\r\ny\r\n.\r\n"sv, "x\r\n\0\r\ny\r\n"sv, 0, 0, 1, 0, 1},
      {"x\r\n.\r\r\ny\r\n.\r\n", "x\r\n \r\ny\r\n", 0, 1, 0, 0, 1},
      {"\n.\r\n\r\n.\r\n", "\r\n.\r\n\r\n", 1, 0, 0, 1, 1},  // the last CRLF of it does end a line
      {"\r.\r\n.\r\n", " .\r\n", 0, 1, 0, 0, 2},
      {"\r\r\r\n.\r\n", "  \r\n", 0, 2, 0, 0, 2},
      {".\r.\r\n.\r\n", " .\r\n", 0, 1, 0, 0, 2},
      {".\n.\r\n.\r\n", "\r\n.\r\n", 1, 0, 0, 1, 1},
      {".\r\r\n.\r\n", " \r\n", 0, 1, 0, 0, 1},
      {"\xff\x80\0\0\r\n.\r\n"sv, "\xff\x80\0\0\r\n"sv, 0, 0, 2, 0, 4},
  };
  for (const Case& c : cases) {
    CAPTURE(c.wire);
    for (const std::string_view behind : {"", "MAIL FROM:<a@b>\r\n", ".\r\n", "\n"}) {
      const std::string whole = std::string(c.wire) + std::string(behind);
      pieces::each_split(whole, [&](const auto& input) {
        const Decoded decoded = decode(input);
        CHECK(decoded.finished);
        CHECK(decoded.content == c.content);
        CHECK(decoded.rest == behind);
        CHECK(decoded.counts.octets == c.content.size());
        CHECK(decoded.counts.bare_lf == c.bare_lf);
        CHECK(decoded.counts.bare_cr == c.bare_cr);
        CHECK(decoded.counts.nul == c.nul);
        CHECK(decoded.counts.dot_lines == c.dot_lines);
        CHECK(decoded.counts.longest_line == c.longest);
      });
    }
    // Nothing shorter is finished.
    for (std::size_t length = 0; length < c.wire.size(); ++length)
      CHECK_FALSE(decode({c.wire.substr(0, length)}).finished);
  }
}

TEST_CASE("a finished decoder takes nothing more") {
  DotDecoder decoder;
  std::string out;
  std::string_view input = ".\r\nx";
  CHECK(decoder.feed(input, out));
  CHECK(decoder.feed(input, out));
  CHECK(input == "x");
  CHECK(out.empty());
}

TEST_CASE("content is appended, and a line as long as memory is one line") {
  DotDecoder decoder;
  std::string out = "kept";
  const std::string chunk(100000, 'x');
  for (int i = 0; i < 10; ++i) {
    std::string_view input = chunk;
    CHECK_FALSE(decoder.feed(input, out));
  }
  CHECK(decoder.counts().longest_line == 1000000);
  CHECK(decoder.counts().octets == 1000000);
  CHECK(out == "kept" + std::string(1000000, 'x'));
}

TEST_CASE("content is stuffed and ended once") {
  struct Case {
    std::string_view content;
    std::string_view wire;
  };
  const Case cases[] = {
      {"", ".\r\n"},
      {"a\r\n", "a\r\n.\r\n"},
      {"a", "a\r\n.\r\n"},
      {"a\r", "a\r\n.\r\n"},
      {"\r\n", "\r\n.\r\n"},
      {".", "..\r\n.\r\n"},
      {".\r\n", "..\r\n.\r\n"},
      {"..\r\n", "...\r\n.\r\n"},
      {"a\r\n.\r\nb\r\n", "a\r\n..\r\nb\r\n.\r\n"},
      {".\r\n.\r\n.\r\n", "..\r\n..\r\n..\r\n.\r\n"},
      {"a.b.\r\n..c\r\n", "a.b.\r\n...c\r\n.\r\n"},
      {"a\0.\r\n"sv, "a\0.\r\n.\r\n"sv},
  };
  for (const Case& c : cases) {
    CAPTURE(c.content);
    pieces::each_split(c.content, [&](const auto& input) { CHECK(encode(input) == c.wire); });
    // The way back gives the content, with the CRLF that was missing.
    std::string complete(c.content);
    if (!complete.empty() && !complete.ends_with("\n")) complete += complete.ends_with("\r") ? "\n" : "\r\n";
    pieces::each_split(c.wire, [&](const auto& input) { CHECK(decode(input).content == complete); });
  }
  DotEncoder encoder;
  std::string out;
  encoder.feed("a", out);
  encoder.finish(out);
  encoder.feed(".", out);
  encoder.finish(out);
  CHECK(out == "a\r\n.\r\n..\r\n.\r\n");  // ready for the next message
}

TEST_CASE("a line begins behind CRLF alone for the encoder too") {
  for (const std::string_view content : {"a\n.b\r\n"sv, "\n.\r\n"sv, "\r.\r\n"sv})
    pieces::each_split(content, [&](const auto& input) { CHECK(encode(input) == std::string(content) + ".\r\n"); });
}

TEST_CASE("copies of our field go, everything else stays") {
  struct Case {
    std::string_view content;
    std::string_view kept;
    std::uint64_t removed = 0, received = 0;
  };
  const Case cases[] = {
      {"", ""},
      {"\r\nX-V: body\r\n", "\r\nX-V: body\r\n"},
      {"To: a\r\n\r\nb", "To: a\r\n\r\nb"},
      {"X-V: a\r\n\r\nb", "\r\nb", 1},
      {"A: 1\r\nx-v:a\r\nB: 2\r\n\r\n", "A: 1\r\nB: 2\r\n\r\n", 1},
      {"X-V: a\r\n b\r\n\tc\r\nB: 2\r\n\r\n", "B: 2\r\n\r\n", 1},
      {"X-V: a\r\nX-V: b\r\nC: X-V: d\r\n X-V: e\r\n\r\n", "C: X-V: d\r\n X-V: e\r\n\r\n", 2},
      {"X-V : a\r\nX-V\t : b\r\n\r\n", "\r\n", 2},  // RFC 5322 4.5.8 allows blanks there
      {"X-V\r\n : a\r\n\r\n", "\r\n", 1},           // folded before its colon
      {"X-V x: a\r\nX-VV: a\r\nX-: a\r\nX: a\r\nX-\r\n\r\n", "X-V x: a\r\nX-VV: a\r\nX-: a\r\nX: a\r\nX-\r\n\r\n"},
      {"From x\r\nX-V: a\r\n\r\n", "From x\r\n\r\n", 1},  // a line that is no field ends nothing
      {" \r\nX-V: a\r\n\r\n", " \r\n\r\n", 1},
      {"Received: a\r\n b\r\nRECEIVED : c\r\nReceived-SPF: d\r\nReceived\r\n\r\nReceived: e\r\n",
       "Received: a\r\n b\r\nRECEIVED : c\r\nReceived-SPF: d\r\nReceived\r\n\r\nReceived: e\r\n", 0, 2},
      {"\r-V: a\r\n\received: b\r\n\r\n", "\r-V: a\r\n\received: b\r\n\r\n"},
      {"X-V", "X-V"},
      {"X-V: a", "", 1},
      {"\r", "\r"},
      {"X-V\0: a\r\n\r\n"sv, "X-V\0: a\r\n\r\n"sv},
  };
  for (const Case& c : cases) {
    CAPTURE(c.content);
    const std::size_t blank =
        ("\r\n" + std::string(c.content)).find("\r\n\r\n");  // as if the header began behind a line
    const bool body = blank != std::string::npos;
    const std::size_t header = body ? blank + 2 : c.content.size();
    for (const std::string_view behind : {"", "X-V: z\r\n\r\n"}) {
      if (!behind.empty() && !body) continue;
      const std::string whole = std::string(c.content) + std::string(behind);
      pieces::each_split(whole, [&](const auto& input) {
        HeaderFilter filter("X-V");
        std::string out = "kept ";
        for (const std::string_view piece : input) filter.feed(piece, out);
        filter.finish(out);
        CHECK(out == "kept " + std::string(c.kept) + std::string(behind));
        CHECK(filter.removed_fields() == c.removed);
        CHECK(filter.received_fields() == c.received);
        CHECK(filter.header_octets() == header);
        CHECK(filter.in_header() == !body);
        CHECK(filter.passthrough() == body);
      });
    }
  }
}

TEST_CASE("the filter holds little back, and nothing where there is nothing to remove") {
  HeaderFilter filter("X-Gatepost-Verdict");
  std::string out;
  filter.feed("X-Gatepost-Verdict" + std::string(64, ' '), out);
  CHECK(out.empty());
  filter.feed("x: a\r\n", out);
  CHECK(out == "X-Gatepost-Verdict" + std::string(64, ' ') + "x: a\r\n");
  out.clear();
  filter.feed("X-Gatepost-Verdict" + std::string(100000, ' ') + ": forged\r\nTo: b\r\n", out);
  CHECK(out == "To: b\r\n");
  HeaderFilter none("");
  out.clear();
  none.feed(": a\r\nReceived: x\r\n\r\nb", out);
  CHECK(out == ": a\r\nReceived: x\r\n\r\nb");
  CHECK(none.removed_fields() == 0);
  CHECK(none.received_fields() == 1);
}

TEST_CASE("the size of a header section") {
  struct Case {
    std::string_view content;
    std::uint64_t fields;
    std::uint64_t octets;
  };
  const Case cases[] = {
      {"", 0, 0},
      {"\r\n", 0, 0},
      {"a: b\r\n\r\nc: d\r\n", 1, 6},
      {"a: b\r\n c\r\n\td\r\ne:\r\n", 2, 18},
      {"a :b\r\nc\t :\r\n", 2, 12},
      {"a: b\r\nno field\r\nc: d\r\n", 1, 6},
      {"From anna Mon\r\na: b\r\n", 0, 0},
      {" a: b\r\n", 0, 0},
      {"\xc3\xa4: b\r\n", 0, 0},
      {":a\r\n", 0, 0},
      {"\rx: y\r\n", 0, 0},
      {"a: b", 1, 4},
      {"a", 0, 0},
  };
  for (const Case& c : cases) {
    CAPTURE(c.content);
    for (const std::size_t piece : {c.content.size() + 1, std::size_t{1}}) {
      HeaderMeter meter;
      for (std::size_t at = 0; at < c.content.size(); at += piece) meter.feed(c.content.substr(at, piece));
      CHECK(meter.fields() == c.fields);
      CHECK(meter.octets() == c.octets);
    }
  }
}
