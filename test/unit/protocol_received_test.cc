#include "protocol/received.h"

#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

Received field() {
  Received received;
  received.helo = "client.example.org";
  received.client_name = "mx1.example.org";
  received.client_ip = parse_ip("192.0.2.1");
  received.hostname = "gw.example.net";
  received.id = "4F9D.1";
  received.date = "Mon, 23 Nov 2026 21:00:00 +0000";
  return received;
}

struct Case {
  std::string_view body;
  std::string_view ip;  // empty: not understood
  std::string_view helo = "";
  std::string_view name = "";
};

void check(const Case& c) {
  CAPTURE(c.body);
  const auto from = parse_received_from(c.body);
  REQUIRE(from.has_value() == !c.ip.empty());
  if (!from) return;
  CHECK(to_text(from->ip) == c.ip);
  CHECK(from->helo == c.helo);
  CHECK(from->name == c.name);
}

}  // namespace

TEST_CASE("with types of RFC 3848 and RFC 6531") {
  struct With {
    TransmissionType type;  // lmtp, esmtp, tls, authenticated, smtputf8
    std::string_view text;
  };
  const With cases[] = {
      {{false, false, false, false, false}, "SMTP"},   {{false, false, true, false, false}, "SMTP"},
      {{false, true, false, false, false}, "ESMTP"},   {{false, true, true, false, false}, "ESMTPS"},
      {{false, true, false, true, false}, "ESMTPA"},   {{false, true, true, true, false}, "ESMTPSA"},
      {{true, true, false, false, false}, "LMTP"},     {{true, false, true, false, false}, "LMTPS"},
      {{true, true, false, true, false}, "LMTPA"},     {{true, true, true, true, false}, "LMTPSA"},
      {{false, true, false, false, true}, "UTF8SMTP"}, {{false, true, true, false, true}, "UTF8SMTPS"},
      {{false, true, false, true, true}, "UTF8SMTPA"}, {{false, true, true, true, true}, "UTF8SMTPSA"},
      {{true, true, false, false, true}, "UTF8LMTP"},  {{true, true, true, true, true}, "UTF8LMTPSA"},
  };
  for (const With& c : cases) CHECK(with_type(c.type) == c.text);
}

TEST_CASE("our Received field") {
  Received received = field();
  received.forward_path = "<a@b>";
  CHECK(
      format(received) ==
      "Received: from client.example.org (mx1.example.org [192.0.2.1])\r\n\tby gw.example.net (gatepost) with ESMTP id "
      "4F9D.1\r\n\tfor <a@b>;\r\n\tMon, 23 Nov 2026 21:00:00 +0000\r\n");
  received = field();
  received.client_name.clear();
  received.client_ip = parse_ip("2001:db8::1");
  received.type.tls = true;
  received.tls_version = "TLSv1.3";
  received.tls_cipher = "TLS_AES_256_GCM_SHA384";
  CHECK(
      format(received) ==
      "Received: from client.example.org ([IPv6:2001:db8::1])\r\n\t(using TLSv1.3 with cipher "
      "TLS_AES_256_GCM_SHA384)\r\n\tby gw.example.net (gatepost) with ESMTPS id 4F9D.1;\r\n\tMon, 23 Nov 2026 21:00:00 "
      "+0000\r\n");
  received = field();
  received.helo.clear();
  received.client_name.clear();
  received.date.clear();
  received.client_ip = parse_ip("::ffff:192.0.2.1");
  CHECK(format(received) ==
        "Received: from [192.0.2.1] ([192.0.2.1])\r\n\tby gw.example.net (gatepost) with ESMTP id 4F9D.1");
  received.client_ip.reset();
  CHECK(format(received).starts_with("Received: from localhost\r\n\tby "));
}

TEST_CASE("nothing that a client says breaks our Received field") {  // T:A9
  Received received = field();
  received.helo = "x\r\nX-Virus-Scanned: clean (\"\\;\xff\xc3\xb6\0y"sv;
  received.client_name = "(evil) <a>" + std::string(1000, 'n');
  received.tls_version = "TLS\n";
  received.forward_path = "<a@b>\r\nX: y";
  const std::string text = format(received);
  CHECK(text.starts_with("Received: from x??X-Virus-Scanned:?clean?????????y (?evil???a?nnn"));
  CHECK(text.find("X: y") == std::string::npos);
  std::size_t longest = 0;
  std::string_view rest = text;
  while (!rest.empty()) {
    const std::size_t end = rest.find("\r\n");
    REQUIRE(end != std::string_view::npos);
    CHECK(rest.substr(0, end).find_first_of("\r\n\0\xff"sv) == std::string_view::npos);
    longest = std::max(longest, end);
    rest.remove_prefix(end + 2);
    if (!rest.empty()) CHECK(rest.front() == '\t');
  }
  CHECK(longest < 998);
  received = field();
  received.helo =
      "b\xc3\xbc"
      "cher.example";
  CHECK(format(received).starts_with("Received: from b??cher.example ("));
  received.type.smtputf8 = true;
  CHECK(
      format(received).starts_with("Received: from b\xc3\xbc"
                                   "cher.example ("));
}

TEST_CASE("what we write we read") {
  for (const std::string_view ip : {"192.0.2.1", "2001:db8::1"}) {
    for (const std::string_view name : {"", "mx1.example.org"}) {
      Received received = field();
      received.client_ip = parse_ip(ip);
      received.client_name = name;
      received.type.tls = true;
      received.tls_version = "TLSv1.3";
      const auto body = first_received(format(received) + "\r\n");
      REQUIRE(body);
      CHECK(parse_received_from(*body) == ReceivedFrom{*parse_ip(ip), "client.example.org", std::string(name)});
    }
  }
}

TEST_CASE("from clauses of Postfix") {
  const Case cases[] = {
      {"from mail.example.org (mx1.example.org [192.0.2.1]) by mx.example.net (Postfix) with ESMTPS id 4Xyz for <a@b>; "
       "x",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from mail.example.org (mx1.example.org [192.0.2.1]) (using TLSv1.3 with cipher TLS_AES_256_GCM_SHA384 (256/256 "
       "bits) key-exchange X25519) (No client certificate requested) by mx.example.net (Postfix) with ESMTPS id x",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from localhost (unknown [IPv6:2001:db8::7]) by mx (Postfix) with SMTP id x", "2001:db8::7", "localhost", ""},
      {"from [203.0.113.66] (unknown [192.0.2.1]) by mx (Postfix) with ESMTPA id x", "192.0.2.1", "[203.0.113.66]", ""},
      {"from [IPv6:2001:db8::66] (unknown [IPv6:::ffff:192.0.2.1]) by mx (Postfix)", "192.0.2.1", "[IPv6:2001:db8::66]",
       ""},
      {"by mx.example.net (Postfix, from userid 0) id 4Xyz; x", ""},  // written on the host itself
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("from clauses of Sendmail") {
  const Case cases[] = {
      {"from mail.example.org (mx1.example.org [192.0.2.1]) by mx.example.net (8.17.1/8.17.1) with ESMTP id x",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from mail.example.org (mx1.example.org [192.0.2.1] (may be forged)) by mx (8.17.1/8.17.1/Debian) with ESMTP",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from mail.example.org (anna@mx1.example.org [192.0.2.1]) by mx (8.17.1/8.17.1) with ESMTP", "192.0.2.1",
       "mail.example.org", "mx1.example.org"},
      {"from x ([192.0.2.1]) by mx (8.17.1/8.17.1) with ESMTP", "192.0.2.1", "x", ""},
      {"from x ([IPv6:2001:db8::1]) by mx (8.17.1/8.17.1) with ESMTP", "2001:db8::1", "x", ""},
      {"(from root@localhost) by mx (8.17.1/8.17.1/Submit) id x", ""},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("from clauses of OpenSMTPD") {
  const Case cases[] = {
      {"from mail.example.org (mx1.example.org [192.0.2.1]) by mx.example.net (OpenSMTPD) with ESMTPS id 1a2b "
       "(TLSv1.3:TLS_AES_256_GCM_SHA384:256:NO) for <a@b>",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from x (<unknown> [192.0.2.1]) by mx (OpenSMTPD) with ESMTP id 1a2b", "192.0.2.1", "x", ""},
      {"from x (<unknown> [2001:db8::1]) by mx (OpenSMTPD) with ESMTP id 1a2b", "2001:db8::1", "x", ""},
      {"from localhost (mx.example.net [local]) by mx.example.net (OpenSMTPD) with ESMTPA id 1a2b", ""},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("from clauses of Exim") {
  const Case cases[] = {
      {"from mx1.example.org ([192.0.2.1] helo=mail.example.org) by mx.example.net with esmtps (TLS1.3) tls "
       "TLS_AES_256_GCM_SHA384 (Exim 4.96) (envelope-from <a@b>) id 1abc",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from mx1.example.org ([192.0.2.1]:40022 helo=mail.example.org ident=anna) by mx with esmtp (Exim 4.96)",
       "192.0.2.1", "mail.example.org", "mx1.example.org"},
      {"from mx1.example.org ([192.0.2.1]) by mx with esmtp (Exim 4.96)", "192.0.2.1", "mx1.example.org", ""},
      {"from mx1.example.org ([2001:db8::1]:40022 helo=[203.0.113.66]) by mx with esmtp (Exim 4.96)", "2001:db8::1",
       "[203.0.113.66]", "mx1.example.org"},
      {"from [192.0.2.1] (helo=mail.example.org) by mx with esmtp (Exim 4.96)", "192.0.2.1", "mail.example.org", ""},
      {"from [192.0.2.1] (port=40022 helo=[203.0.113.66]) by mx with esmtp", "192.0.2.1", "[203.0.113.66]", ""},
      {"from [192.0.2.1]:40022 (helo=x ident=y) by mx with smtp (Exim 4.96)", "192.0.2.1", "x", ""},
      {"from [192.0.2.1] by mx with smtp (Exim 4.96)", "192.0.2.1", "", ""},
      {"from anna by mx with local (Exim 4.96)", ""},
  };
  for (const Case& c : cases) check(c);
}

TEST_CASE("what a client could imitate is not understood") {
  const std::string_view bodies[] = {
      "",
      "from",
      "from ",
      "from x",
      "from x by y",
      "from x (y) by z",
      "from x (192.0.2.1) by z",
      "from x (y 192.0.2.1) by z",
      "from x (y [192.0.2.1) by z",
      "from x (y [192.0.2.1] by z",
      "from x (y [192.0.2.1] z) by z",
      "from x (y [192.0.2.1][203.0.113.66]) by z",
      "from x (y [192.0.2.1]:99999) by z",
      "from x (y [192.0.2.1]:) by z",
      "from x (y [192.0.2]) by z",
      "from x (y [IPv6:192.0.2.1]) by z",
      "from x y (z [192.0.2.1]) by z",
      "from x (y [192.0.2.1])",
      "from x (y [192.0.2.1]) for a",
      "from x(y [192.0.2.1]) by z",
      "from (y [192.0.2.1]) by z",
      "from x ([192.0.2.1] by=y) by z",
      "from [203.0.113.66] () by z",
      "from [203.0.113.66] (helo) by z",
      // An ident of the client's choice (RFC 1413) in Sendmail's comment.
      "from [203.0.113.66] (helo=x@mx1.example.org [192.0.2.1]) by z",
      "from x ([203.0.113.66]@mx1.example.org [192.0.2.1]) by z",
      "from x ([203.0.113.66] helo=y@mx1.example.org [192.0.2.1]) by z",
      "from x ([203.0.113.66])@mx1.example.org [192.0.2.1]) by z",
      "from x (a [203.0.113.66]@mx1.example.org [192.0.2.1]) by z",
      "from x (\"a@mx1.example.org [192.0.2.1]) by z",
      "from x\\ (y [192.0.2.1]) by z",
      "from x (y\\) [192.0.2.1]) by z",
  };
  for (const std::string_view body : bodies) check({body, ""});
  check({"FROM x (y [192.0.2.1]) BY z", "192.0.2.1", "x", "y"});
}

TEST_CASE("the first Received field of a header section") {
  struct Head {
    std::string content;
    std::optional<std::string> body;
  };
  const std::string long_line = std::string(4094, 'x');
  const Head cases[] = {
      {"Received: a\r\n\r\n", "a"},
      {"Received: a\r\n", std::nullopt},  // what follows may belong to it
      {"Received: a\r\n b\r\n\t c ;\r\n\r\n", "a b c ;"},
      {"Received: a\r\nReceived: b\r\n\r\n", "a"},
      {"Return-Path: <a@b>\r\nX: y\r\n Received: no\r\nrECEIVED : a\r\nTo: x", std::nullopt},
      {"Return-Path: <a@b>\r\nX: y\r\n Received: no\r\nrECEIVED : a\r\nTo: x\r\n", "a"},
      {"Received-SPF: pass\r\nReceived: a\r\n\r\n", "a"},
      {"Receive: x\r\nReceived\r\n\r\n", std::nullopt},
      {"To: a\r\n\r\nReceived: b\r\n\r\n", std::nullopt},
      {"\r\nReceived: b\r\n\r\n", std::nullopt},
      {"", std::nullopt},
      {"Received: a\tb\r\n\r\n", "a b"},
      {std::string("Received: a\0b\r\n\r\n", 16), std::nullopt},
      {"Received: a\x1b\r\n\r\n", std::nullopt},
      {"Received: a\xff\r\n\r\n", std::nullopt},
      {"Received:\r\n\r\n", ""},
      {"Received: " + long_line + "\r\n\r\n", long_line},
      {"Received: " + long_line + "xx\r\n\r\n", std::nullopt},
      {"X: " + std::string(66000, 'x') + "\r\nReceived: a\r\n\r\n", std::nullopt},
  };
  for (const Head& c : cases) {
    CAPTURE(c.content.substr(0, 60));
    CHECK(first_received(c.content) == c.body);
    if (c.body) CHECK(first_received(c.content + "body\r\nReceived: z\r\n\r\n") == c.body);
  }
}
