#include "protocol/capabilities.h"

#include "protocol_pieces.h"

using namespace protocol;

namespace {

Capabilities offer(std::string_view lines) {
  return parse_capabilities(Reply(250, std::nullopt, "mx\n" + std::string(lines)));
}

std::string listed(const std::vector<std::string>& words) {
  std::string out;
  for (const std::string& word : words) out += (out.empty() ? "" : ", ") + word;
  return out;
}

}  // namespace

TEST_CASE("keywords of EHLO") {
  const Reply reply(
      250, std::nullopt,
      "mx.example.org greets SIZE 5\nPIPELINING\nsize 10240000\n8BITMIME \nSmtpUtf8\nDSN\nENHANCEDSTATUSCODES\n"
      "burl imap\nAUTH=LOGIN\n-X\n\n DELIVERBY 120");
  const Capabilities capabilities = parse_capabilities(reply);
  Capabilities expected = carried();
  expected.size_limit = 10240000;
  expected.withheld = {"BURL imap", "DELIVERBY 120"};
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

TEST_CASE("keywords of the further extensions are understood") {
  const Capabilities got = offer(
      "chunking\nBINARYMIME\nPRDR\nVRFY\nEXPN\nHELP\nETRN\nSTARTTLS\nAUTH plain LOGIN  PLAIN\nauth CRAM-MD5 x=y\n"
      "XCLIENT name ADDR\nXFORWARD NAME\nLIMITS RCPTMAX=100 mailmax=7 RCPTDOMAINMAX=1 FOO=3 RCPTMAX=50 MAILMAX=0\n"
      "LIMITS RCPTMAX=60 RCPTMAX=1000000 RCPTMAX=x RCPTMAX RCPTMAX=");
  CHECK((got.chunking && got.binary_mime && got.prdr && got.vrfy && got.expn && got.help && got.etrn && got.starttls));
  CHECK(listed(got.auth) == "PLAIN, LOGIN, CRAM-MD5");
  CHECK(listed(got.xclient) == "NAME, ADDR");
  CHECK(listed(got.xforward) == "NAME");
  CHECK(got.limits);
  CHECK(got.rcpt_max == 50);
  CHECK(got.mail_max == 7);
  CHECK(got.rcpt_domain_max == 1);
  CHECK(listed(got.withheld) ==
        "LIMITS FOO=3, LIMITS MAILMAX=0, LIMITS RCPTMAX=1000000, LIMITS RCPTMAX=X, LIMITS RCPTMAX, LIMITS RCPTMAX=");
  // Lists without a word say nothing.
  const Capabilities empty = offer("AUTH\nXCLIENT \nXFORWARD =\nLIMITS\nLIMITS FOO=1");
  CHECK(empty.auth.empty());
  CHECK(empty.xclient.empty());
  CHECK_FALSE(empty.limits);
  CHECK(listed(empty.withheld) == "AUTH, XCLIENT, XFORWARD =, LIMITS FOO=1");
}

TEST_CASE("a server that a client chose has no more words than a hundred of each list") {
  std::string lines = "PIPELINING";
  for (int i = 0; i < 50; ++i) {
    lines += "\nLIMITS";
    for (int j = 0; j < 1000; ++j) lines += " A";
    lines += "\nAUTH";
    for (int j = 0; j < 100; ++j) lines += " M" + std::to_string(i * 100 + j);
  }
  const Capabilities got = offer(lines + "\nLIMITS RCPTMAX=7\nX-OWN");
  CHECK(got.withheld.size() == 100);
  CHECK(got.auth.size() == 100);
  CHECK(got.auth.back() == "M99");
  CHECK(withheld(got, Capabilities()).size() < 210);
}

TEST_CASE("without a switch nothing of them is offered") {
  const Capabilities downstream = offer(
      "CHUNKING\nBINARYMIME\nPRDR\nVRFY\nEXPN\nHELP\nETRN\nSTARTTLS\nAUTH PLAIN\nXCLIENT NAME\nXFORWARD NAME\n"
      "LIMITS RCPTMAX=1\nX-FOO bar");
  const Capabilities offered = intersection(carried(), downstream);
  CHECK(to_wire(ehlo_reply("mx", offered)) == "250-mx\r\n250 SIZE\r\n");
  CHECK(listed(withheld(downstream, offered)) ==
        "X-FOO bar, CHUNKING, BINARYMIME, PRDR, VRFY, EXPN, HELP, ETRN, AUTH PLAIN, LIMITS");
}

TEST_CASE("with switches what the downstream has is offered") {
  Carry carry;
  carry.chunking = carry.binary_mime = carry.prdr = carry.vrfy = carry.expn = carry.help = carry.etrn = true;
  const Capabilities ours = carried(carry);
  const Capabilities downstream = offer("8BITMIME\nCHUNKING\nBINARYMIME\nPRDR\nVRFY\nEXPN\nHELP\nETRN");
  const Capabilities offered = intersection(ours, downstream);
  CHECK(to_wire(ehlo_reply("mx", offered)) ==
        "250-mx\r\n250-SIZE\r\n250-8BITMIME\r\n250-CHUNKING\r\n250-BINARYMIME\r\n250-PRDR\r\n250-VRFY\r\n250-"
        "EXPN\r\n250-HELP"
        "\r\n250 ETRN\r\n");
  CHECK(withheld(downstream, offered).empty());
  CHECK_FALSE(intersection(ours, Capabilities()).chunking);
  CHECK_FALSE(intersection(ours, offer("BINARYMIME")).binary_mime);  // RFC 3030: only with CHUNKING
  carry.chunking = false;
  CHECK_FALSE(carried(carry).binary_mime);
}

TEST_CASE("what concerns one connection is ours alone") {
  Carry carry;
  carry.starttls = carry.xclient = carry.xforward = true;
  const Capabilities offered = intersection(carried(carry), Capabilities());
  CHECK(to_wire(ehlo_reply("mx", offered)) ==
        "250-mx\r\n250-SIZE\r\n250-STARTTLS\r\n250-XCLIENT NAME ADDR PORT PROTO HELO LOGIN DESTADDR DESTPORT\r\n"
        "250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE\r\n");
}

TEST_CASE("mechanisms of AUTH") {
  Carry carry;
  carry.auth = true;
  const Capabilities downstream = offer(
      "AUTH DIGEST-MD5 PLAIN SCRAM-SHA-256-PLUS GSSAPI EXTERNAL SCRAM-SHA-256 NTLM GSS-SPNEGO LOGIN X-NEW XOAUTH2");
  Capabilities offered = intersection(carried(carry), downstream);
  CHECK(listed(offered.auth) == "PLAIN, SCRAM-SHA-256, LOGIN, XOAUTH2");
  CHECK(listed(withheld(downstream, offered)) ==
        "AUTH DIGEST-MD5, AUTH SCRAM-SHA-256-PLUS, AUTH GSSAPI, AUTH EXTERNAL, AUTH NTLM, AUTH GSS-SPNEGO, AUTH X-NEW");
  CHECK(to_wire(ehlo_reply("mx", offered)).ends_with("250 AUTH PLAIN SCRAM-SHA-256 LOGIN XOAUTH2\r\n"));
  carry.auth_allowed = {"GSSAPI", "EXTERNAL", "SCRAM-SHA-256-PLUS", "PLAIN"};  // the two in the middle cannot work
  offered = intersection(carried(carry), downstream);
  CHECK(listed(offered.auth) == "PLAIN, GSSAPI, SCRAM-SHA-256, LOGIN, XOAUTH2");
  carry.auth = false;
  CHECK(intersection(carried(carry), downstream).auth.empty());
  CHECK(may_carry_mechanism("plain", {}));
  CHECK_FALSE(may_carry_mechanism("GSSAPI", {}));
  CHECK_FALSE(may_carry_mechanism("EXTERNAL", {"EXTERNAL"}));
}

TEST_CASE("of two limits the smaller one holds") {
  Carry carry;
  carry.limits = true;
  Capabilities ours = carried(carry);
  CHECK_FALSE(intersection(ours, Capabilities()).limits);  // nothing to say
  ours.rcpt_max = 100;
  CHECK(to_wire(ehlo_reply("mx", intersection(ours, Capabilities()))).ends_with("250 LIMITS RCPTMAX=100\r\n"));
  Capabilities both = intersection(ours, offer("LIMITS MAILMAX=5 RCPTMAX=1000 RCPTDOMAINMAX=2 FOO=1"));
  CHECK(both.rcpt_max == 100);
  CHECK(to_wire(ehlo_reply("mx", both)).ends_with("250 LIMITS RCPTMAX=100 MAILMAX=5 RCPTDOMAINMAX=2\r\n"));
  both = intersection(ours, offer("LIMITS RCPTMAX=10"));
  CHECK(both.rcpt_max == 10);
  ours.limits = false;  // ours are not told, and so are not theirs
  CHECK_FALSE(intersection(ours, offer("LIMITS RCPTMAX=10")).limits);
  CHECK(intersection(ours, offer("LIMITS RCPTMAX=10")).rcpt_max == 0);
}

TEST_CASE("what we offer is read as it was meant") {
  Carry carry;
  carry.chunking = carry.binary_mime = carry.prdr = carry.limits = carry.vrfy = carry.expn = carry.help = true;
  carry.etrn = carry.starttls = carry.auth = carry.xclient = carry.xforward = true;
  Capabilities offered = carried(carry);
  offered.mail_max = 999999;
  offered.size_limit = 1;
  const Reply reply = ehlo_reply("mx", offered);
  CHECK(parse_capabilities(reply) == offered);
  for (const std::string& line : reply.lines()) CHECK(line.size() < 500);
}
