#include "protocol/command.h"

#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

Capabilities limited() {
  Capabilities offered = carried();
  offered.size_limit = 1000;
  return offered;
}

}  // namespace

TEST_CASE("command lines are verbs and arguments") {
  struct Case {
    std::string_view line;
    Verb verb;
    std::string_view word;
    std::string_view argument;
  };
  const Case cases[] = {
      {"EHLO mx.example.org", Verb::ehlo, "EHLO", "mx.example.org"},
      {"helo x", Verb::helo, "helo", "x"},
      {"Mail From:<a@b> SIZE=1 ", Verb::mail, "Mail", "From:<a@b> SIZE=1"},
      {"RCPT  TO:<a@b>", Verb::rcpt, "RCPT", "TO:<a@b>"},
      {"DATA", Verb::data, "DATA", ""},
      {"DATA   ", Verb::data, "DATA", ""},
      {"rset", Verb::rset, "rset", ""},
      {"NOOP a b", Verb::noop, "NOOP", "a b"},
      {"VRFY <a@b>", Verb::vrfy, "VRFY", "<a@b>"},
      {"HELP MAIL", Verb::help, "HELP", "MAIL"},
      {"QUIT", Verb::quit, "QUIT", ""},
      {"BDAT 10 LAST", Verb::bdat, "BDAT", "10 LAST"},
      {"STARTTLS", Verb::starttls, "STARTTLS", ""},
      {"AUTH PLAIN x", Verb::auth, "AUTH", "PLAIN x"},
      {"xclient ADDR=1", Verb::xclient, "xclient", "ADDR=1"},
      {"XFORWARD ADDR=1", Verb::xforward, "XFORWARD", "ADDR=1"},
      {"lhlo x", Verb::lhlo, "lhlo", "x"},
      {"EXPN list", Verb::expn, "EXPN", "list"},
      {"ETRN @a.example", Verb::etrn, "ETRN", "@a.example"},
      {"BURL imap://a LAST", Verb::known_elsewhere, "BURL", "imap://a LAST"},
      {"TURN", Verb::known_elsewhere, "TURN", ""},
      // T:B12
      {"GET / HTTP/1.1", Verb::forbidden, "GET", "/ HTTP/1.1"},
      {"POST / HTTP/1.1", Verb::forbidden, "POST", "/ HTTP/1.1"},
      {"connect a:25 HTTP/1.1", Verb::forbidden, "connect", "a:25 HTTP/1.1"},
      {"HEAD /", Verb::forbidden, "HEAD", "/"},
      {"PUT /", Verb::forbidden, "PUT", "/"},
      {"OPTIONS *", Verb::forbidden, "OPTIONS", "*"},
      {"Host: example.org", Verb::forbidden, "Host:", "example.org"},
      {"Subject:x", Verb::forbidden, "Subject:x", ""},
      {"User-Agent: x", Verb::forbidden, "User-Agent:", "x"},
      {"", Verb::unknown, "", ""},
      {"   ", Verb::unknown, "", ""},
      {" NOOP", Verb::unknown, "", "NOOP"},
      {"NOOPS", Verb::unknown, "NOOPS", ""},
      {"NOO", Verb::unknown, "NOO", ""},
      {"DATA\t", Verb::unknown, "DATA\t", ""},
      {":", Verb::unknown, ":", ""},
      {"\xff: x", Verb::unknown, "\xff:", "x"},
      {"QUIT\0"sv, Verb::unknown, "QUIT\0"sv, ""},
      {"NOOP a\0b"sv, Verb::noop, "NOOP", "a\0b"sv},  // T:A6: nothing is cut at a NUL
      {"\x16\x03\x01", Verb::unknown, "\x16\x03\x01", ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.line);
    const Command command = parse_command(c.line);
    CHECK(command.verb == c.verb);
    CHECK(command.word == c.word);
    CHECK(command.argument == c.argument);
  }
  CHECK(to_string(Verb::rcpt) == "RCPT");
  CHECK(to_string(Verb::unknown) == "unknown");
  CHECK(to_string(Verb::known_elsewhere) == "other");
  CHECK(to_string(Verb::forbidden) == "forbidden");
}

TEST_CASE("MAIL is understood and formatted anew") {
  struct Case {
    std::string_view argument;
    std::string_view line;
  };
  const Case cases[] = {
      {"FROM:<>", "MAIL FROM:<>"},
      {"from: <a@b>", "MAIL FROM:<a@b>"},
      {"FROM:<a@b>  size=5   body=8bitmime", "MAIL FROM:<a@b> SIZE=5 BODY=8BITMIME"},
      {"FROM:<a@b> BODY=7BIT SIZE=007", "MAIL FROM:<a@b> SIZE=7 BODY=7BIT"},
      {"FROM:<a@b> RET=hdrs ENVID=QQ+2B1", "MAIL FROM:<a@b> RET=hdrs ENVID=QQ+2B1"},
      {"FROM:<\xc3\xb6@b> SMTPUTF8", "MAIL FROM:<\xc3\xb6@b> SMTPUTF8"},
      {"FROM:<@r:a@b> SIZE=18446744073709551615", "MAIL FROM:<a@b> SIZE=18446744073709551615"},
      {"FROM:<a@b> SIZE=99999999999999999999", "MAIL FROM:<a@b> SIZE=18446744073709551615"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto mail = parse_mail(c.argument, carried());
    REQUIRE(mail);
    CHECK(format(*mail, carried()) == c.line);
    CHECK(parse_mail(c.line.substr(5), carried()) == *mail);
  }
  const auto mail = parse_mail("FROM:<a@b> SIZE=5 BODY=7BIT", carried());
  CHECK(format(*mail, Capabilities()) == "MAIL FROM:<a@b> BODY=7BIT");
}

TEST_CASE("MAIL that is wrong gets a precise reply") {
  struct Case {
    std::string argument;
    std::string_view reply;  // its beginning
  };
  const std::string xtext101(101, 'x');
  const Case cases[] = {
      {"", "501 5.5.4 Syntax"},
      {"FROM", "501 5.5.4 Syntax"},
      {"<a@b>", "501 5.5.4 Syntax"},
      {"TO:<a@b>", "501 5.5.4 Syntax"},
      {"FROM:  <a@b>", "501 5.1.7 "},
      {"FROM:a@b>", "501 5.1.7 "},
      {"FROM:<a>", "501 5.1.7 Bad sender address syntax: domain missing"},
      {"FROM:<" + std::string(260, 'a') + "@b>", "501 5.1.7 Bad sender address syntax: path too long"},
      {std::string("FROM:<a\0@b>", 11), "501 5.1.7 "},
      {"FROM:<\xff@b>", "501 5.1.7 "},
      {"FROM:<a@b>x", "501 5.5.4 Space"},
      {"FROM:<a@b> =", "501 5.5.4 "},
      {"FROM:<a@b> -X", "501 5.5.4 "},
      {"FROM:<a@b> SIZE", "501 5.5.4 Bad value of parameter SIZE"},
      {"FROM:<a@b> SIZE=", "501 5.5.4 "},
      {"FROM:<a@b> SIZE=-1", "501 5.5.4 "},
      {"FROM:<a@b> SIZE=1x", "501 5.5.4 "},
      {"FROM:<a@b> SIZE=000000000000000000001", "501 5.5.4 "},
      {"FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 "},
      {"FROM:<a@b> SIZE=1001", "552 5.3.4 "},
      {"FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4 "},
      {"FROM:<a@b> BODY", "501 5.5.4 "},
      {"FROM:<a@b> BODY=BINARYMIME", "501 5.5.4 "},
      {"FROM:<a@b> BODY=7BIT BODY=7BIT", "501 5.5.4 "},
      {"FROM:<a@b> SMTPUTF8=1", "501 5.5.4 "},
      {"FROM:<a@b> SMTPUTF8 SMTPUTF8", "501 5.5.4 "},
      {"FROM:<a@b> RET=ALL", "501 5.5.4 "},
      {"FROM:<a@b> RET", "501 5.5.4 "},
      {"FROM:<a@b> ENVID=", "501 5.5.4 "},
      {"FROM:<a@b> ENVID=a=b", "501 5.5.4 "},
      {"FROM:<a@b> ENVID=a+0Ab", "501 5.5.4 "},  // a line feed in hex
      {"FROM:<a@b> ENVID=a+4", "501 5.5.4 "},
      {"FROM:<a@b> ENVID=" + xtext101, "501 5.5.4 "},
      {"FROM:<a@b> NOTIFY=NEVER", "555 5.5.4 "},
      {"FROM:<a@b> AUTH=<>", "555 5.5.4 "},
      {"FROM:<a@b> X", "555 5.5.4 Unsupported parameter X"},
      {"FROM:<\xc3\xb6@b>", "553 5.6.7 "},
      {"FROM:<a@\xc3\xb6>", "553 5.6.7 "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto mail = parse_mail(c.argument, limited());
    REQUIRE_FALSE(mail);
    CHECK(to_text(mail.error()).starts_with(c.reply));
  }
  CHECK(parse_mail("FROM:<a@b> SIZE=1000", limited()));
  CHECK(parse_mail("FROM:<a@b> ENVID=" + xtext101.substr(1), limited()));
}

TEST_CASE("parameters of the further extensions, where they were offered") {
  Capabilities offered = carried();
  offered.chunking = offered.binary_mime = offered.prdr = true;
  offered.auth = {"PLAIN"};
  const std::string_view same[] = {
      "MAIL FROM:<a@b> BODY=BINARYMIME",
      "MAIL FROM:<a@b> AUTH=<>",
      "MAIL FROM:<a@b> AUTH=e+3Dmc2@example.com",
      "MAIL FROM:<a@b> SMTPUTF8 AUTH=\xc3\xb6@b",
      "MAIL FROM:<a@b> SIZE=1 BODY=7BIT RET=FULL ENVID=x AUTH=y PRDR",
  };
  for (const std::string_view line : same) {
    CAPTURE(line);
    const auto mail = parse_mail(line.substr(5), offered);
    REQUIRE(mail);
    CHECK(format(*mail, offered) == line);
  }
  // The message is the same without these two.
  const auto mail = parse_mail("FROM:<a@b> auth=x prdr body=binarymime", offered);
  REQUIRE(mail);
  CHECK(mail->parameters.body == Body::binary_mime);
  CHECK(mail->parameters.prdr);
  CHECK(format(*mail, carried()) == "MAIL FROM:<a@b> BODY=BINARYMIME");
  struct Case {
    std::string argument;
    std::string_view reply;
  };
  const Case cases[] = {
      {"PRDR=1", "501 5.5.4 Bad value of parameter PRDR"},
      {"PRDR PRDR", "501 5.5.4 "},
      {"AUTH", "501 5.5.4 "},
      {"AUTH=", "501 5.5.4 "},
      {"AUTH=a=b", "501 5.5.4 "},
      {"AUTH=a+0Db", "501 5.5.4 "},
      {"AUTH=<> AUTH=<>", "501 5.5.4 "},
      {"AUTH=" + std::string(501, 'x'), "501 5.5.4 "},
      {"AUTH=\xc3\xb6@b", "553 5.6.7 "},
      {"BODY=BINARY", "501 5.5.4 "},
      // Of a later issue: nobody may take them for carried.
      {"REQUIRETLS", "555 5.5.4 Unsupported parameter REQUIRETLS"},
      {"BY=120;R", "555 5.5.4 "},
      {"MT-PRIORITY=3", "555 5.5.4 "},
      {"HOLDFOR=10", "555 5.5.4 "},
      {"HOLDUNTIL=x", "555 5.5.4 "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto refused = parse_mail("FROM:<a@b> " + c.argument, offered);
    REQUIRE_FALSE(refused);
    CHECK(to_text(refused.error()).starts_with(c.reply));
  }
  CHECK(parse_mail("FROM:<a@b> AUTH=" + std::string(500, 'x'), offered));
  offered.chunking = false;  // BINARYMIME alone is worth nothing
  CHECK_FALSE(parse_mail("FROM:<a@b> BODY=BINARYMIME", offered));
}

TEST_CASE("STARTTLS takes no argument") {
  CHECK_FALSE(refuse_argument(parse_command("STARTTLS  ")));
  CHECK_FALSE(refuse_argument(parse_command("DATA x")));
  CHECK(refuse_argument(parse_command("STARTTLS now"))->code() == 501);
}

TEST_CASE("a parameter that was not offered is unknown") {
  for (const std::string_view parameter :
       {"SIZE=1", "BODY=7BIT", "SMTPUTF8", "RET=FULL", "ENVID=x", "AUTH=<>", "PRDR"}) {
    const auto mail = parse_mail("FROM:<a@b> " + std::string(parameter), Capabilities());
    REQUIRE_FALSE(mail);
    CHECK(to_text(mail.error()).starts_with("555 5.5.4 "));
  }
  for (const std::string_view parameter : {"NOTIFY=NEVER", "ORCPT=rfc822;a"}) {
    const auto rcpt = parse_rcpt("TO:<a@b> " + std::string(parameter), Capabilities(), false);
    REQUIRE_FALSE(rcpt);
    CHECK(to_text(rcpt.error()).starts_with("555 5.5.4 "));
  }
}

TEST_CASE("RCPT is understood and formatted anew") {
  const std::string_view same[] = {
      "TO:<a@b>",
      "TO:<Postmaster>",
      "TO:<a@b> NOTIFY=NEVER",
      "TO:<a@b> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;a+2Bb@c",
      "TO:<a@b> NOTIFY=delay",
      "TO:<\xc3\xb6@b> ORCPT=utf-8;\xc3\xb6@b",
      "TO:<\xc3\xb6@b> ORCPT=rfc822;+C3+B6@b",  // as Postfix writes it
      "TO:<a@b> ORCPT=utf-8;\\x{F6}@b",
  };
  for (const std::string_view argument : same) {
    CAPTURE(argument);
    const auto rcpt = parse_rcpt(argument, carried(), true);
    REQUIRE(rcpt);
    CHECK(format(*rcpt) == "RCPT " + std::string(argument));
  }
  CHECK(format(*parse_rcpt("to: <a@b>   notify=NEVER", carried(), false)) == "RCPT TO:<a@b> NOTIFY=NEVER");
}

TEST_CASE("RCPT that is wrong gets a precise reply") {
  struct Case {
    std::string argument;
    std::string_view reply;
  };
  const Case cases[] = {
      {"FROM:<a@b>", "501 5.5.4 Syntax"},
      {"TO:<>", "501 5.1.3 "},
      {"TO:<a@[1.2.3]>", "501 5.1.3 Bad recipient address syntax: bad address literal"},
      {"TO:<a@b> NOTIFY", "501 5.5.4 "},
      {"TO:<a@b> NOTIFY=NEVER,DELAY", "501 5.5.4 "},
      {"TO:<a@b> NOTIFY=DELAY,", "501 5.5.4 "},
      {"TO:<a@b> NOTIFY=DELAY NOTIFY=DELAY", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=a@b", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=;a", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=rfc822;", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=rfc822;a=b", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=rfc822;\xc3\xb6", "501 5.5.4 "},
      {"TO:<a@b> ORCPT=rfc822;" + std::string(494, 'x'), "501 5.5.4 "},
      {"TO:<a@b> SIZE=1", "555 5.5.4 "},
      {"TO:<\xc3\xb6@b>", "553 5.6.7 "},
      {"TO:<a@b> ORCPT=utf-8;\xc3\xb6@b", "553 5.6.7 "},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument);
    const auto rcpt = parse_rcpt(c.argument, carried(), false);
    REQUIRE_FALSE(rcpt);
    CHECK(to_text(rcpt.error()).starts_with(c.reply));
  }
  CHECK(parse_rcpt("TO:<a@b> ORCPT=rfc822;" + std::string(493, 'x'), carried(), false));
  Capabilities ascii_only = carried();
  ascii_only.smtputf8 = false;
  CHECK_FALSE(parse_rcpt("TO:<\xc3\xb6@b>", ascii_only, true));
}
