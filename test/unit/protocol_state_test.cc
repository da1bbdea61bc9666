#include "protocol/capabilities.h"
#include "protocol/packet.h"
#include "protocol/smtp_state.h"
#include "protocol_pieces.h"

using namespace protocol;

namespace {

constexpr SmtpState states[] = {SmtpState::connected, SmtpState::greeted, SmtpState::mail,
                                SmtpState::rcpt,      SmtpState::chunks,  SmtpState::failed};

int code_of(SmtpState state, Verb verb) {
  const auto refusal = check_legal(state, verb);
  return refusal ? refusal->code() : 0;
}

// Everything that we carry at all.
Capabilities everything() {
  Carry carry;
  carry.chunking = carry.binary_mime = carry.prdr = carry.limits = carry.vrfy = carry.expn = carry.help = true;
  carry.etrn = carry.starttls = carry.auth = carry.xclient = carry.xforward = true;
  return carried(carry);
}

struct Row {
  Verb verb;
  int codes[6];  // connected, greeted, mail, rcpt, chunks, failed; 0 = legal
};

}  // namespace

TEST_CASE("which verb is legal in which state where nothing is offered") {
  const Row rows[] = {
      {Verb::ehlo, {0, 0, 0, 0, 0, 0}},
      {Verb::helo, {0, 0, 0, 0, 0, 0}},
      {Verb::mail, {503, 0, 503, 503, 503, 503}},
      {Verb::rcpt, {503, 503, 0, 0, 503, 503}},
      {Verb::data, {503, 503, 554, 0, 503, 503}},
      {Verb::rset, {0, 0, 0, 0, 0, 0}},
      {Verb::noop, {0, 0, 0, 0, 0, 0}},
      {Verb::quit, {0, 0, 0, 0, 0, 0}},
      {Verb::vrfy, {0, 0, 0, 0, 0, 0}},
      {Verb::help, {0, 0, 0, 0, 0, 0}},
      {Verb::lhlo, {502, 502, 502, 502, 502, 502}},
      {Verb::bdat, {502, 502, 502, 502, 502, 502}},
      {Verb::auth, {502, 502, 502, 502, 502, 502}},
      {Verb::starttls, {502, 502, 502, 502, 502, 502}},
      {Verb::expn, {502, 502, 502, 502, 502, 502}},
      {Verb::etrn, {502, 502, 502, 502, 502, 502}},
      {Verb::xclient, {502, 502, 502, 502, 502, 502}},
      {Verb::xforward, {502, 502, 502, 502, 502, 502}},
      {Verb::known_elsewhere, {502, 502, 502, 502, 502, 502}},
      {Verb::unknown, {500, 500, 500, 500, 500, 500}},
      {Verb::forbidden, {221, 221, 221, 221, 221, 221}},
  };
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < 6; ++i) {
      CAPTURE(static_cast<int>(row.verb));
      CAPTURE(i);
      CHECK(code_of(states[i], row.verb) == row.codes[i]);
    }
  }
  CHECK(check_legal(SmtpState::greeted, Verb::rcpt)->enhanced() == EnhancedCode{5, 5, 1});
  CHECK(check_legal(SmtpState::mail, Verb::data)->enhanced() == EnhancedCode{5, 5, 1});
  CHECK(to_text(*check_legal(SmtpState::greeted, Verb::bdat)) == "502 5.5.1 BDAT is not offered here");
}

TEST_CASE("which verb is legal where everything is offered") {
  const Capabilities offered = everything();
  const Circumstances plain(offered);
  const Row rows[] = {
      {Verb::mail, {503, 0, 503, 503, 503, 503}},
      {Verb::rcpt, {503, 503, 0, 0, 503, 503}},
      {Verb::data, {503, 503, 554, 0, 503, 503}},
      {Verb::bdat, {503, 503, 554, 0, 0, 503}},
      {Verb::rset, {0, 0, 0, 0, 0, 0}},
      {Verb::auth, {503, 0, 503, 503, 503, 503}},
      {Verb::starttls, {503, 0, 503, 503, 503, 503}},
      {Verb::expn, {0, 0, 0, 0, 0, 0}},
      {Verb::etrn, {503, 0, 503, 503, 503, 503}},
      {Verb::xclient, {0, 0, 503, 503, 503, 503}},
      {Verb::xforward, {503, 0, 503, 503, 503, 503}},
      {Verb::lhlo, {502, 502, 502, 502, 502, 502}},
  };
  for (const Row& row : rows) {
    for (std::size_t i = 0; i < 6; ++i) {
      CAPTURE(static_cast<int>(row.verb));
      CAPTURE(i);
      const auto refusal = check_legal(states[i], row.verb, plain);
      CHECK((refusal ? refusal->code() : 0) == row.codes[i]);
    }
  }
}

TEST_CASE("what has happened on the connection counts too") {
  const Capabilities offered = everything();
  Circumstances c(offered);
  c.tls = true;
  CHECK(to_text(*check_legal(SmtpState::greeted, Verb::starttls, c)) == "503 5.5.1 TLS is active already");
  c.authenticated = true;
  CHECK(to_text(*check_legal(SmtpState::greeted, Verb::auth, c)) == "503 5.5.1 Already authenticated");
  CHECK_FALSE(check_legal(SmtpState::rcpt, Verb::data, c));
  c.binary = true;
  CHECK(check_legal(SmtpState::rcpt, Verb::data, c)->code() == 503);
  CHECK_FALSE(check_legal(SmtpState::rcpt, Verb::bdat, c));
  CHECK(check_legal(SmtpState::mail, Verb::data, c)->code() == 554);
}

TEST_CASE("LMTP says LHLO") {
  const Capabilities offered;
  Circumstances c(offered);
  c.lmtp = true;
  for (const Verb verb : {Verb::ehlo, Verb::helo}) CHECK(check_legal(SmtpState::connected, verb, c)->code() == 500);
  CHECK_FALSE(check_legal(SmtpState::connected, Verb::lhlo, c));
  CHECK(to_text(*check_legal(SmtpState::connected, Verb::mail, c)) == "503 5.5.1 Send LHLO first");
  CHECK(after(SmtpState::rcpt, Verb::lhlo) == SmtpState::greeted);
}

TEST_CASE("chunks lead to the last one or to RSET") {
  const SmtpState chunks = after(SmtpState::rcpt, Verb::bdat);
  CHECK(chunks == SmtpState::chunks);
  CHECK(after(chunks, Verb::bdat) == SmtpState::chunks);
  for (const Verb verb : {Verb::noop, Verb::vrfy, Verb::expn, Verb::help}) {
    CHECK(after(chunks, verb) == SmtpState::chunks);
    CHECK(after(SmtpState::failed, verb) == SmtpState::failed);
  }
  for (const SmtpState state : {chunks, SmtpState::failed}) {
    CHECK(after(state, Verb::rset) == SmtpState::greeted);
    CHECK(after(state, Verb::ehlo) == SmtpState::greeted);
    CHECK(after_transaction(state) == SmtpState::greeted);
  }
  CHECK(after(SmtpState::greeted, Verb::starttls) == SmtpState::connected);
  CHECK(after(SmtpState::greeted, Verb::xclient) == SmtpState::connected);
  for (const Verb verb : {Verb::auth, Verb::xforward, Verb::etrn})
    CHECK(after(SmtpState::greeted, verb) == SmtpState::greeted);
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
