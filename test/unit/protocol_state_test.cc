#include "protocol/capabilities.h"
#include "protocol/packet.h"
#include "protocol/smtp_state.h"
#include "protocol_pieces.h"

using namespace protocol;

namespace {

constexpr SmtpState states[] = {SmtpState::connected, SmtpState::greeted, SmtpState::mail, SmtpState::rcpt};

int code_of(SmtpState state, Verb verb) {
  const auto refusal = check_legal(state, verb);
  return refusal ? refusal->code() : 0;
}

}  // namespace

TEST_CASE("which verb is legal in which state") {
  struct Row {
    Verb verb;
    int codes[4];  // connected, greeted, mail, rcpt; 0 = legal
  };
  const Row rows[] = {
      {Verb::ehlo, {0, 0, 0, 0}},
      {Verb::helo, {0, 0, 0, 0}},
      {Verb::mail, {503, 0, 503, 503}},
      {Verb::rcpt, {503, 503, 0, 0}},
      {Verb::data, {503, 503, 554, 0}},
      {Verb::rset, {0, 0, 0, 0}},
      {Verb::noop, {0, 0, 0, 0}},
      {Verb::quit, {0, 0, 0, 0}},
      {Verb::vrfy, {0, 0, 0, 0}},
      {Verb::help, {0, 0, 0, 0}},
      {Verb::known_elsewhere, {502, 502, 502, 502}},
      {Verb::unknown, {500, 500, 500, 500}},
      {Verb::forbidden, {221, 221, 221, 221}},
  };
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < 4; ++i) {
      CAPTURE(static_cast<int>(row.verb));
      CAPTURE(i);
      CHECK(code_of(states[i], row.verb) == row.codes[i]);
    }
  }
  CHECK(check_legal(SmtpState::greeted, Verb::rcpt)->enhanced() == EnhancedCode{5, 5, 1});
  CHECK(check_legal(SmtpState::mail, Verb::data)->enhanced() == EnhancedCode{5, 5, 1});
}

TEST_CASE("a transaction from greeting to end, and nothing is left of it") {
  SmtpState state = after(SmtpState::connected, Verb::ehlo);
  CHECK(state == SmtpState::greeted);
  state = after(state, Verb::mail);
  CHECK(state == SmtpState::mail);
  state = after(after(state, Verb::rcpt), Verb::rcpt);
  CHECK(state == SmtpState::rcpt);
  CHECK(after(state, Verb::data) == SmtpState::rcpt);
  for (const Verb verb : {Verb::noop, Verb::vrfy, Verb::help, Verb::quit, Verb::unknown})
    CHECK(after(state, verb) == state);
  for (const SmtpState ended : {after_transaction(state), after(state, Verb::rset), after(state, Verb::helo)}) {
    CHECK(ended == SmtpState::greeted);
    CHECK(code_of(ended, Verb::rcpt) == 503);  // T:B7
    CHECK(code_of(ended, Verb::data) == 503);
  }
  CHECK(after(SmtpState::connected, Verb::rset) == SmtpState::connected);
  CHECK(after_transaction(SmtpState::connected) == SmtpState::connected);
}

TEST_CASE("keywords of EHLO") {
  const Reply reply(
      250, std::nullopt,
      "mx.example.org greets SIZE 5\nPIPELINING\nsize 10240000\n8BITMIME \nSmtpUtf8\nDSN\nENHANCEDSTATUSCODES\n"
      "xclient NAME ADDR\nAUTH=LOGIN\n-X\n\n ETRN");
  const Capabilities capabilities = parse_capabilities(reply);
  Capabilities expected = carried();
  expected.size_limit = 10240000;
  expected.withheld = {"XCLIENT NAME ADDR", "ETRN"};
  CHECK(capabilities == expected);
  CHECK(parse_capabilities(Reply(250, std::nullopt, "PIPELINING")) == Capabilities());  // the reply to HELO
  CHECK(parse_capabilities(Reply(502, std::nullopt, "no\nPIPELINING")) == Capabilities());
}

TEST_CASE("SIZE in its forms") {
  struct Case {
    std::string_view line;
    bool size;
    std::uint64_t limit;
  };
  const Case cases[] = {{"SIZE", true, 0},
                        {"SIZE 0", true, 0},
                        {"SIZE 18446744073709551615", true, ~std::uint64_t{0}},
                        {"SIZE 99999999999999999999", true, 0},
                        {"SIZE x", false, 0},
                        {"SIZE -1", false, 0},
                        {"SIZE 1 2", false, 0},
                        {"SIZE=5", false, 0},
                        {"SIZE 000000000000000000001", false, 0}};
  for (const Case& c : cases) {
    CAPTURE(c.line);
    const Capabilities got = parse_capabilities(Reply(250, std::nullopt, "mx\n" + std::string(c.line)));
    CHECK(got.size == c.size);
    CHECK(got.size_limit == c.limit);
    CHECK(got.withheld.empty());
  }
  std::vector<std::string> many(99, "X");
  many.insert(many.begin(), "mx");
  many.emplace_back("DSN");
  CHECK_FALSE(parse_capabilities(Reply(250, std::nullopt, many)).dsn);  // line 101
}

TEST_CASE("the intersection offers what both have") {
  Capabilities a = carried();
  Capabilities b;
  CHECK(intersection(carried(), carried()) == carried());
  b.size = true;
  b.size_limit = 500;
  b.dsn = true;
  b.withheld = {"ETRN"};
  a.size_limit = 1000;
  Capabilities expected;
  expected.size = expected.dsn = true;
  expected.size_limit = 500;
  CHECK(intersection(a, b) == expected);
  CHECK(intersection(b, a) == expected);
  b.size_limit = 0;
  CHECK(intersection(a, b).size_limit == 1000);
  b.size = false;
  b.size_limit = 7;  // says nothing without the keyword
  CHECK(intersection(a, b).size);
  CHECK(intersection(a, b).size_limit == 1000);
  CHECK_FALSE(intersection(Capabilities(), Capabilities()).size);
}

TEST_CASE("our reply to EHLO") {
  CHECK(to_wire(ehlo_reply("mx.example.org", Capabilities())) == "250 mx.example.org\r\n");
  Capabilities offered = carried();
  offered.size_limit = 99;
  CHECK(to_wire(ehlo_reply("mx", offered)) ==
        "250-mx\r\n250-SIZE 99\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250 "
        "ENHANCEDSTATUSCODES\r\n");
  for (const Capabilities& capabilities : {offered, carried(), Capabilities()})
    CHECK(parse_capabilities(ehlo_reply("mx", capabilities)) == capabilities);
}

TEST_CASE("packets hold what was written, whole or not at all") {
  PacketWriter writer;
  writer.u8(255).u32(0xfffefdfcU).u64(0x0102030405060708U).text(std::string_view("a\0b", 3)).text("");
  const std::string bytes = writer.bytes();
  CHECK(bytes == std::string("\xff\xfc\xfd\xfe\xff\x08\x07\x06\x05\x04\x03\x02\x01\x03\0\0\0a\0b\0\0\0\0", 24));
  for (std::size_t length = 0; length <= bytes.size() + 1; ++length) {
    CAPTURE(length);
    const std::string given = (bytes + "x").substr(0, length);
    PacketReader reader(given);
    const bool whole = length >= bytes.size();
    reader.u8();
    reader.u32();
    const std::uint64_t number = reader.u64();
    const std::string text(reader.text());
    const std::string empty(reader.text());
    CHECK(reader.ok() == whole);
    CHECK(reader.complete() == (length == bytes.size()));
    CHECK(number == (length >= 13 ? 0x0102030405060708U : 0));
    CHECK(text == (length >= 20 ? std::string("a\0b", 3) : ""));
    CHECK(empty.empty());
    if (!whole) CHECK(reader.u8() == 0);
  }
  CHECK(writer.take() == bytes);
  CHECK(writer.bytes().empty());
}

TEST_CASE("packets are bounded") {
  PacketWriter writer;
  writer.text("abcd");
  PacketReader tight(writer.bytes());
  CHECK(tight.text(3).empty());
  CHECK_FALSE(tight.ok());
  PacketReader exact(writer.bytes());
  CHECK(exact.text(4) == "abcd");
  PacketReader huge(
      std::string_view("\xff\xff\xff\xff"
                       "abc",
                       7));
  CHECK(huge.text().empty());
  CHECK_FALSE(huge.ok());
  writer.text(std::string(max_packet - 12, 'x'));
  CHECK(writer.fits());
  CHECK(PacketReader(writer.bytes()).ok());
  writer.u8(0);
  CHECK_FALSE(writer.fits());
  CHECK_FALSE(PacketReader(writer.bytes()).ok());
}
