#include "protocol/xclient.h"

#include <algorithm>

#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

const std::vector<std::string> all_xclient = attribute_names(IdentityVerb::xclient);
const std::vector<std::string> all_xforward = attribute_names(IdentityVerb::xforward);
using State = Attribute::State;

ClientIdentity client() {
  ClientIdentity identity;
  identity.name = Attribute("mx.example.org");
  identity.addr = Attribute("192.0.2.1");
  identity.port = Attribute("50000");
  identity.proto = Attribute("ESMTP");
  identity.helo = Attribute("mx");
  return identity;
}

ClientIdentity told(IdentityVerb verb, const std::vector<std::string>& commands,
                    const std::vector<std::string>& offered) {
  ClientIdentity whole;
  for (const std::string& command : commands) {
    CHECK(command.size() <= 510);
    const auto part = parse_identity(verb, std::string_view(command).substr(command.find(' ') + 1), offered);
    REQUIRE(part);
    merge(whole, *part);
  }
  return whole;
}

}  // namespace

TEST_CASE("attributes of XCLIENT and XFORWARD") {
  CHECK(all_xclient ==
        std::vector<std::string>{"NAME", "ADDR", "PORT", "PROTO", "HELO", "LOGIN", "DESTADDR", "DESTPORT"});
  CHECK(all_xforward == std::vector<std::string>{"NAME", "ADDR", "PORT", "PROTO", "HELO", "IDENT", "SOURCE"});
}

TEST_CASE("XCLIENT is read") {
  const auto identity = parse_identity(
      IdentityVerb::xclient,
      "name=spike.example.org  ADDR=IPV6:2001:DB8:0::1 PORT=0025 PROTO=esmtp HELO=a+2Bb+C3+B6 LOGIN=[unavailable] "
      "DESTADDR=192.0.2.9 DESTPORT=65535",
      all_xclient);
  REQUIRE(identity);
  CHECK(identity->name == Attribute("spike.example.org"));
  CHECK(identity->addr == Attribute("2001:db8::1"));
  CHECK(identity->port == Attribute("25"));
  CHECK(identity->proto == Attribute("ESMTP"));
  CHECK(identity->helo == Attribute("a+b\xc3\xb6"));
  CHECK(identity->login == Attribute(State::unavailable));
  CHECK(identity->destaddr == Attribute("192.0.2.9"));
  CHECK(identity->destport == Attribute("65535"));
  CHECK(identity->ident == Attribute());
  const auto other = parse_identity(IdentityVerb::xforward, "NAME=[TEMPUNAVAIL] ident=4F9D SOURCE=local", all_xforward);
  REQUIRE(other);
  CHECK(other->name == Attribute(State::temporarily_unavailable));
  CHECK(other->ident == Attribute("4F9D"));
  CHECK(other->source == Attribute("LOCAL"));
}

TEST_CASE("XCLIENT that is wrong gets 501") {
  const std::string cases[] = {
      "",
      "  ",
      "ADDR",
      "ADDR=",
      "=x",
      "ADDR=1.2.3",
      "ADDR=1.2.3.256",
      "ADDR=::1",  // without its tag
      "ADDR=IPV6:1.2.3.4",
      "ADDR=IPV6:fe80::1%eth0",
      "ADDR=[192.0.2.1]",
      "ADDR=192.0.2.1 ADDR=192.0.2.1",
      "ADDR=192.0.2.1 ADDR=[UNAVAILABLE]",
      "PORT=65536",
      "PORT=-1",
      "PORT=x",
      "PROTO=LMTP",
      "NAME=a b",
      "NAME=a+20b",
      "NAME=a+0Ab",
      "NAME=a+00b",
      "NAME=a+",
      "NAME=+FF",
      "HELO=" + std::string(256, 'x'),
      "IDENT=x",  // of XFORWARD
      "FOO=x",
      "NAM=x",
      std::string("NAME=a\0", 7),
      "NAME=a\tADDR=192.0.2.1",
  };
  for (const std::string& argument : cases) {
    CAPTURE(argument);
    const auto identity = parse_identity(IdentityVerb::xclient, argument, all_xclient);
    REQUIRE_FALSE(identity);
    CHECK(to_text(identity.error()).starts_with("501 5.5.4 Bad XCLIENT "));
  }
  CHECK(parse_identity(IdentityVerb::xclient, "HELO=" + std::string(255, 'x'), all_xclient));
  CHECK_FALSE(parse_identity(IdentityVerb::xclient, "ADDR=192.0.2.1", {"NAME"}));  // not offered
  CHECK_FALSE(parse_identity(IdentityVerb::xforward, "LOGIN=x", all_xclient));
}

TEST_CASE("an identity is told in commands of 512 octets, NAME and ADDR in the last") {
  CHECK(format(IdentityVerb::xclient, client(), all_xclient) ==
        std::vector<std::string>{"XCLIENT PORT=50000 PROTO=ESMTP HELO=mx NAME=mx.example.org ADDR=192.0.2.1"});
  CHECK(format(IdentityVerb::xforward, client(), {"ADDR", "HELO", "LOGIN"}) ==
        std::vector<std::string>{"XFORWARD HELO=mx ADDR=192.0.2.1"});
  CHECK(format(IdentityVerb::xclient, client(), {}).empty());
  CHECK(format(IdentityVerb::xclient, ClientIdentity(), all_xclient).empty());
  for (const std::size_t name : {1U, 250U, 255U}) {
    for (const std::size_t helo : {1U, 200U, 255U}) {
      for (const std::size_t login : {0U, 100U, 255U}) {
        CAPTURE(name);
        CAPTURE(helo);
        CAPTURE(login);
        ClientIdentity identity = client();
        identity.name = Attribute(std::string(name, 'n'));
        identity.helo = Attribute(std::string(helo, 'h'));
        if (login > 0) identity.login = Attribute(std::string(login, 'l'));
        identity.addr = Attribute("2001:db8:1111:2222:3333:4444:5555:6666");
        identity.destaddr = Attribute(State::unavailable);
        const std::vector<std::string> commands = format(IdentityVerb::xclient, identity, all_xclient);
        CHECK(told(IdentityVerb::xclient, commands, all_xclient) == identity);
        CHECK(commands.back().find(" ADDR=IPV6:2001:db8:1111") != std::string::npos);
        CHECK(commands.back().find(" NAME=n") != std::string::npos);
        for (std::size_t i = 0; i + 1 < commands.size(); ++i) {
          CHECK(commands[i].find(" NAME=") == std::string::npos);
          CHECK(commands[i].find(" ADDR=") == std::string::npos);
        }
      }
    }
  }
}

TEST_CASE("what fits no command is told as unavailable, and nothing breaks a line") {
  ClientIdentity identity = client();
  identity.name = Attribute(std::string(255, '+'));
  identity.helo = Attribute(std::string(255, '='));
  identity.login = Attribute(std::string(168, '+'));  // 7 + 7 + 504 octets
  std::vector<std::string> commands = format(IdentityVerb::xclient, identity, all_xclient);
  ClientIdentity whole = told(IdentityVerb::xclient, commands, all_xclient);
  CHECK(whole.name == Attribute(State::unavailable));
  CHECK(whole.helo == Attribute(State::unavailable));
  CHECK(whole.login == Attribute(State::unavailable));
  CHECK(whole.addr == identity.addr);
  identity.login = Attribute(std::string(165, '+'));
  commands = format(IdentityVerb::xclient, identity, all_xclient);
  CHECK(told(IdentityVerb::xclient, commands, all_xclient).login == identity.login);
  identity = client();
  identity.helo = Attribute("a\r\nQUIT b");
  commands = format(IdentityVerb::xclient, identity, all_xclient);
  REQUIRE(commands.size() == 1);
  CHECK(commands.front() == "XCLIENT PORT=50000 PROTO=ESMTP HELO=a+0D+0AQUIT+20b NAME=mx.example.org ADDR=192.0.2.1");
}

TEST_CASE("of several commands the later one counts") {
  ClientIdentity whole = client();
  ClientIdentity part;
  part.helo = Attribute("later");
  part.name = Attribute(State::unavailable);
  merge(whole, part);
  CHECK(whole.helo == Attribute("later"));
  CHECK(whole.name == Attribute(State::unavailable));
  CHECK(whole.addr == client().addr);
}
