#include "protocol/address.h"

#include <algorithm>

#include "protocol/address_literal.h"
#include "protocol/xtext.h"
#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

const std::string local64(64, 'l');
// 63 + 1 + 63 + 1 + ... octets
std::string domain_of(std::size_t octets) {
  std::string out;
  while (out.size() < octets) out += std::string(std::min<std::size_t>(63, octets - out.size()), 'd') + ".";
  out.resize(octets);
  if (out.back() == '.') out.back() = 'e';
  return out;
}

}  // namespace

TEST_CASE("paths are parsed and formatted anew, alone and with trailing text") {
  struct Case {
    std::string path;
    std::string local_part;
    std::string domain;
    std::string formatted;  // empty: as it came
  };
  const Case cases[] = {
      {"<a@example.org>", "a", "example.org", ""},
      {"<A.b-c+d=e@Example.ORG>", "A.b-c+d=e", "Example.ORG", ""},
      {"<!#$%&'*+-/=?^_`{|}~@x>", "!#$%&'*+-/=?^_`{|}~", "x", ""},
      {"<\"a b\"@x.org>", "a b", "x.org", ""},
      {"<\"a\"@x.org>", "a", "x.org", "<a@x.org>"},  // quoting that is not needed goes
      {"<\"a\\b\"@x.org>", "ab", "x.org", "<ab@x.org>"},
      {"<\"\"@x.org>", "", "x.org", ""},
      {"<\"a..b\"@x.org>", "a..b", "x.org", ""},
      {"<\".a\"@x.org>", ".a", "x.org", ""},
      {"<\"<>@,;:\"@x.org>", "<>@,;:", "x.org", ""},
      {"<\"\\\"\\\\\"@x.org>", "\"\\", "x.org", ""},
      {"<a@[192.0.2.1]>", "a", "[192.0.2.1]", ""},
      {"<a@[IPv6:2001:db8::1]>", "a", "[IPv6:2001:db8::1]", ""},
      {"<a@1.2>", "a", "1.2", ""},
      {"<@r.example:a@x.org>", "a", "x.org", "<a@x.org>"},  // source routes are dropped (RFC 5321 appendix C)
      {"<@r.example,@s.example:a@x.org>", "a", "x.org", "<a@x.org>"},
      {"<j\xc3\xb6rg@b\xc3\xbc"
       "cher.example>",
       "j\xc3\xb6rg",
       "b\xc3\xbc"
       "cher.example",
       ""},
      {"<\"\xe2\x82\xac \"@x.org>", "\xe2\x82\xac ", "x.org", ""},
      {"<" + local64 + "@x.org>", local64, "x.org", ""},
      {"<a@" + domain_of(252) + ">", "a", domain_of(252), ""},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    for (const std::string_view behind : {"", " SIZE=1", ">", "@"}) {
      const std::string whole = c.path + std::string(behind);
      std::string_view input = whole;
      const auto forward = parse_forward_path(input, true);
      REQUIRE(forward);
      CHECK(*forward == Mailbox{c.local_part, c.domain, false});
      CHECK(input == behind);
      const std::string formatted = format_path(*forward);
      CHECK(formatted == (c.formatted.empty() ? c.path : c.formatted));
      input = formatted;
      CHECK(format_path(parse_reverse_path(input, true).value()) == formatted);
    }
    // Any part of it is not a path.
    for (std::size_t length = 0; length < c.path.size(); ++length) {
      std::string_view part = std::string_view(c.path).substr(0, length);
      CHECK_FALSE(parse_forward_path(part, true));
      CHECK(part.size() == length);
    }
  }
}

TEST_CASE("what is not a path is refused with a reason, and nothing is taken") {
  const std::string cases[] = {
      "",
      "a@x.org>",
      "a@x.org,b@x.org",
      "a",
      "postmaster",
      "< a@x.org>",
      "<a@x.org >",
      "<a>",
      "<a@>",
      "<@x.org>",
      "<@x.org:>",
      "<@x.org,a@b>",
      "<@:a@b>",
      "<a b@x>",
      "<a@x y>",
      "<a@.x>",
      "<a@x.>",
      "<a@x..y>",
      "<a@-x>",
      "<a@x->",
      "<a@@x>",
      "<a@x@y>",
      "<\"a@x>",
      "<\"a\"b@x>",
      "<\"a\nb\"@x>",
      "<\"a\\\n\"@x>",
      "<\"a\x7f\"@x>",
      "<a@[192.0.2]>",
      "<a@[192.0.2.256]>",
      "<a@[192.0.2.1>",
      "<a@[]>",
      "<a@[IPv6:]>",
      "<a@[IPv6:1::2::3]>",
      "<a@[x:y]>",
      "<a(c)@x>",
      "<a@x",
      "<<a@x>>",
      "<a,b@x>",
      "<a;b@x>",
      "<a\t@x>",
      "<\xff@x>",
      "<a@\xc3>",
      "<\xc2\x9b@x>",
      "<a@\xed\xa0\x80>",
      std::string("<a\0@b>", 6),
      std::string("<a@b\0>", 6),
      "<a@" + domain_of(253) + ">",
      "<a@" + domain_of(256) + ">",
      "<postmaster@>",
      "<" + std::string(100000, 'a') + ">",
  };
  for (const std::string& c : cases) {
    CAPTURE(c.substr(0, 80));
    std::string_view input = c;
    const auto path = parse_forward_path(input, true);
    REQUIRE_FALSE(path);
    CHECK_FALSE(path.error().reason.empty());
    CHECK(input == c);
    CHECK_FALSE(parse_reverse_path(input, true));
  }
}

TEST_CASE("what servers take though the ABNF does not: a gateway refuses no mail that went through before") {
  struct Case {
    std::string path, formatted;
  };
  const Case cases[] = {
      {"<.a@x.org>", "<.a@x.org>"},
      {"<a.@x.org>", "<a.@x.org>"},
      {"<a..b@x.org>", "<a..b@x.org>"},
      {"<a@my_host.org>", "<a@my_host.org>"},
      {"a@x.org", "<a@x.org>"},
      {"a@x.org SIZE=1", "<a@x.org>"},
      {"<" + local64 + "longer@x.org>", "<" + local64 + "longer@x.org>"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.path);
    std::string_view input = c.path;
    const auto path = parse_reverse_path(input, false);
    REQUIRE(path);
    CHECK(format_path(*path) == c.formatted);
    CHECK((input.empty() || input == " SIZE=1"));
  }
}

TEST_CASE("the null reverse-path and postmaster have their places") {
  std::string_view input = "<> X";
  CHECK_FALSE(parse_reverse_path(input, false).value().has_value());
  CHECK(input == " X");
  input = "<>";
  CHECK_FALSE(parse_forward_path(input, false));
  for (const std::string_view text : {"<postmaster>", "<POSTMASTER>"}) {
    input = text;
    const auto path = parse_forward_path(input, false);
    REQUIRE(path);
    CHECK(format_path(*path) == text);
    input = text;
    CHECK_FALSE(parse_reverse_path(input, false));
  }
  input = "<postmaster@x.org>";
  CHECK(parse_forward_path(input, false) == Mailbox{"postmaster", "x.org", false});
  CHECK(format_path(ReversePath()) == "<>");
}

TEST_CASE("UTF-8 is understood only where it is allowed") {
  for (const std::string_view text : {"<j\xc3\xb6@x.org>", "<j@b\xc3\xbc.org>", "<\"\xc3\xb6\"@x.org>"}) {
    std::string_view input = text;
    CHECK_FALSE(parse_forward_path(input, false));
    const auto path = parse_forward_path(input, true);
    REQUIRE(path);
    CHECK_FALSE(is_ascii(*path));
  }
  CHECK(is_ascii(Mailbox{"a", "b", false}));
}

TEST_CASE("a mailbox stands without brackets") {
  std::string_view input = "\"a b\"@x.org, c@d";
  CHECK(parse_mailbox(input, false) == Mailbox{"a b", "x.org", false});
  CHECK(input == ", c@d");
  const std::string long_one = local64 + "@" + domain_of(200);
  input = long_one;
  CHECK(parse_mailbox(input, false).error().reason == "path too long");
  CHECK(input == long_one);
  const std::string long_domain = "a@" + domain_of(256);
  input = long_domain;
  CHECK(parse_mailbox(input, false).error().reason == "domain too long");
}

TEST_CASE("names of HELO and EHLO") {
  for (const std::string good : {"mx.example.org", "mx.example.org.", "WIN-1_A", "localhost", "x", "[192.0.2.1]",
                                 "[IPv6:::1]", "[fe80::1%eth0]", "1", "a/b"}) {
    CAPTURE(good);
    CHECK(parse_helo_name(good, false) == good);
  }
  for (const std::string& bad :
       {std::string(), std::string("."), std::string("a..b"), std::string(".a"), std::string("a b"),
        std::string("a\rX-Virus: clean"), std::string("a\0b", 3), std::string("(a)"), std::string("[]"),
        std::string("[a"), std::string("[a]b"), std::string("[a b]"), std::string("[a;b]"), std::string("a:b"),
        std::string(256, 'a'), std::string("\xc3\xb6"), std::string("\"a\"")}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_helo_name(bad, false));
  }
  CHECK(parse_helo_name("b\xc3\xbc.example", true) == "b\xc3\xbc.example");
  CHECK_FALSE(parse_helo_name("b\xc3.example", true));
  CHECK(parse_helo_name(std::string(255, 'a'), false));
}

TEST_CASE("address literals") {
  for (const std::string_view good : {"0.0.0.0", "255.255.255.255", "192.000.2.1"}) CHECK(parse_ipv4(good));
  for (const std::string_view bad :
       {"", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.", "1..2.3", "1.2.3.4 ", "0001.2.3.4", "a.b.c.d", "-1.2.3.4"})
    CHECK_FALSE(parse_ipv4(bad));
  for (const std::string_view good : {"::", "::1", "1::", "1:2:3:4:5:6:7:8", "1::8", "1:2:3:4:5:6:7::",
                                      "::2:3:4:5:6:7:8", "::192.0.2.1", "1:2:3:4:5:6:192.0.2.1", "ABCD::eF"})
    CHECK(parse_ipv6(good));
  for (const std::string_view bad :
       {"", ":", "1", ":::", "1:::2", "::1::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", ":1::",
        "1::2:", "12345::", "g::", "192.0.2.1::", "::192.0.2.1:1", "1:2:3:4:5:6:7:192.0.2.1", "fe80::1%eth0"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_ipv6(bad));
  }
  CHECK(parse_address_literal("ipv6:::1"));
  CHECK_FALSE(parse_address_literal("::1"));
}

TEST_CASE("IP addresses are written by RFC 5952") {
  struct Case {
    std::string_view given;
    std::string_view text;
  };
  const Case cases[] = {
      {"192.000.2.1", "192.0.2.1"},
      {"0.0.0.0", "0.0.0.0"},
      {"::", "::"},
      {"::1", "::1"},
      {"1::", "1::"},
      {"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},     // the first of two runs
      {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},           // the longest
      {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},  // one group is not shortened
      {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
      {"::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"},
      {"0:0:3:4:5:6:0:0", "::3:4:5:6:0:0"},
      {"ffff:FFFF:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
      {"::192.0.2.1", "::c000:201"},
      {"::ffff:192.0.2.1", "::ffff:192.0.2.1"},
      {"::ffff:c000:201", "::ffff:192.0.2.1"},
      {"fe80::1:0:0", "fe80::1:0:0"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.given);
    const std::optional<IpAddress> ip = parse_ip(c.given);
    REQUIRE(ip);
    CHECK(to_text(*ip) == c.text);
    CHECK(parse_ip(to_text(*ip)) == *ip);
  }
  CHECK(to_text(SocketAddress{*parse_ip("192.0.2.1"), 25}) == "192.0.2.1:25");
  CHECK(to_text(SocketAddress{*parse_ip("::1"), 65535}) == "[::1]:65535");
  CHECK_FALSE(parse_ip("").has_value());
  CHECK_FALSE(parse_ip("localhost").has_value());
}

TEST_CASE("IPv4 inside IPv6 and out again") {
  const IpAddress four = *parse_ip("192.0.2.1");
  const IpAddress six = *parse_ip("::ffff:192.0.2.1");
  CHECK(unmapped(six) == four);
  CHECK(mapped(four) == six);
  CHECK(unmapped(four) == four);
  CHECK(mapped(six) == six);
  for (const std::string_view other : {"::1", "2001:db8::1", "::fffe:192.0.2.1", "::ffff:0:192.0.2.1"})
    CHECK(unmapped(*parse_ip(other)) == *parse_ip(other));
}

TEST_CASE("xtext there and back") {
  CHECK(encode_xtext("a+b=c d\x7f\xc3\xb6") == "a+2Bb+3Dc+20d+7F+C3+B6");
  CHECK(decode_xtext("a+2Bb+3dc+20d+C3+B6") == "a+b=c d\xc3\xb6");
  CHECK(decode_xtext("\xc3\xb6") == "\xc3\xb6");
  CHECK(decode_xtext("") == "");
  for (const std::string_view bad :
       {"+", "+4", "+4g", "a b", "a=b", "+0A", "+0d", "+00", "+7F", "+FF", "\xff", "a\tb"}) {
    CAPTURE(bad);
    CHECK_FALSE(decode_xtext(bad));
  }
}
