#include "protocol/auth.h"

#include "protocol/inquiry.h"
#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_view_literals;

namespace {

Capabilities with_auth() {
  Capabilities offered;
  offered.auth = {"PLAIN", "LOGIN"};
  return offered;
}

}  // namespace

TEST_CASE("AUTH commands") {
  struct Case {
    std::string argument;
    AuthCommand command;
    std::string line;
  };
  const std::string longest(max_auth_line - 11, 'A');
  const Case cases[] = {
      {"PLAIN", {"PLAIN", std::nullopt}, "AUTH PLAIN"},
      {"login", {"LOGIN", std::nullopt}, "AUTH LOGIN"},
      {"PLAIN =", {"PLAIN", ""}, "AUTH PLAIN ="},
      {"PLAIN AGFubmEAc2VjcmV0", {"PLAIN", "AGFubmEAc2VjcmV0"}, "AUTH PLAIN AGFubmEAc2VjcmV0"},
      {"plain   a+/b==", {"PLAIN", "a+/b=="}, "AUTH PLAIN a+/b=="},
      {"PLAIN " + longest, {"PLAIN", longest}, "AUTH PLAIN " + longest},
  };
  for (const Case& c : cases) {
    CAPTURE(c.argument.substr(0, 40));
    const auto command = parse_auth(c.argument, with_auth());
    REQUIRE(command);
    CHECK(*command == c.command);
    CHECK(format(*command) == c.line);
    CHECK(parse_auth(format(*command).substr(5), with_auth()) == *command);
  }
  struct Wrong {
    std::string argument;
    std::string_view reply;
  };
  const Wrong wrong[] = {
      {"", "501 5.5.4 Syntax"},
      {"CRAM-MD5", "504 5.5.4 "},
      {"PLAINX", "504 5.5.4 "},
      {"PLAIN\tx", "504 5.5.4 "},
      {"PLAIN a b", "501 5.5.2 "},
      {"PLAIN ==", "501 5.5.2 "},
      {"PLAIN a===", "501 5.5.2 "},
      {"PLAIN a=b", "501 5.5.2 "},
      {"PLAIN *", "501 5.5.2 "},
      {"PLAIN \xc3\xb6", "501 5.5.2 "},
      {std::string("PLAIN a\0", 8), "501 5.5.2 "},
      {"PLAIN " + longest + "A", "500 5.5.6 "},
  };
  for (const Wrong& c : wrong) {
    CAPTURE(c.argument.substr(0, 40));
    const auto command = parse_auth(c.argument, with_auth());
    REQUIRE_FALSE(command);
    CHECK(to_text(command.error()).starts_with(c.reply));
    CHECK(to_text(command.error()).find("AAAA") == std::string::npos);  // nothing of the secret comes back
  }
  CHECK(parse_auth("PLAIN", Capabilities()).error().code() == 504);
}

TEST_CASE("lines of the AUTH exchange") {
  CHECK(parse_auth_response("*") == AuthResponse{true, ""});
  CHECK(parse_auth_response("") == AuthResponse{false, ""});
  CHECK(parse_auth_response("YQ==") == AuthResponse{false, "YQ=="});
  CHECK(parse_auth_response(std::string(max_auth_line, 'A'))->base64.size() == max_auth_line);
  CHECK(to_text(parse_auth_response(std::string(max_auth_line + 1, 'A')).error()).starts_with("500 5.5.6 "));
  for (const std::string_view bad : {"="sv, "**"sv, "* "sv, " YQ=="sv, "YQ== "sv, "Y\0Q="sv, "Y-_="sv, "\r"sv})
    CHECK(to_text(parse_auth_response(bad).error()).starts_with("501 5.5.2 "));
  for (const std::string_view line : {"*", "", "YQ=="}) CHECK(format(*parse_auth_response(line)) == line);
}

TEST_CASE("VRFY, EXPN, HELP and ETRN go on as they came") {
  struct Case {
    std::string_view line;
    std::string_view formatted;
    bool smtputf8 = false;
  };
  const Case cases[] = {
      {"VRFY  <a@b> ", "VRFY <a@b>"},
      {"vrfy John Doe", "VRFY John Doe"},
      {"VRFY \xc3\xb6@b SMTPUTF8", "VRFY \xc3\xb6@b SMTPUTF8", true},
      {"EXPN list smtputf8", "EXPN list SMTPUTF8", true},
      {"VRFY SMTPUTF8", "VRFY SMTPUTF8"},
      {"HELP", "HELP"},
      {"help mail", "HELP mail"},
      {"HELP x SMTPUTF8", "HELP x SMTPUTF8"},
      {"ETRN example.org", "ETRN example.org"},
      {"ETRN @example.org", "ETRN @example.org"},
      {"ETRN #queue_1", "ETRN #queue_1"},
      {"ETRN [192.0.2.1]", "ETRN [192.0.2.1]"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.line);
    const Command command = parse_command(c.line);
    const auto inquiry = parse_inquiry(command.verb, command.argument, carried());
    REQUIRE(inquiry);
    CHECK(inquiry->smtputf8 == c.smtputf8);
    CHECK(format(*inquiry) == c.formatted);
  }
  struct Wrong {
    std::string line;
    std::string_view reply;
  };
  const Wrong wrong[] = {
      {"VRFY", "501 5.5.4 Syntax: VRFY"},
      {"EXPN  ", "501 5.5.4 Syntax: EXPN"},
      {"ETRN", "501 5.5.4 "},
      {"ETRN @", "501 5.5.4 "},
      {"ETRN a b", "501 5.5.4 "},
      {"ETRN ;x", "501 5.5.4 "},
      {std::string("VRFY a\0b", 8), "501 5.5.4 "},
      {"VRFY a\x1b[2J", "501 5.5.4 "},
      {"VRFY \xff SMTPUTF8", "501 5.5.4 "},
      {"VRFY \xc3\xb6@b", "553 5.6.7 "},
      {"HELP \xc3\xb6 SMTPUTF8", "553 5.6.7 "},
      {"VRFY " + std::string(506, 'x'), "501 5.5.4 "},
  };
  for (const Wrong& c : wrong) {
    CAPTURE(c.line);
    const Command command = parse_command(c.line);
    const auto inquiry = parse_inquiry(command.verb, command.argument, carried());
    REQUIRE_FALSE(inquiry);
    CHECK(to_text(inquiry.error()).starts_with(c.reply));
  }
  CHECK(parse_inquiry(Verb::vrfy, std::string(505, 'x'), carried()));
  CHECK_FALSE(parse_inquiry(Verb::vrfy, "\xc3\xb6@b SMTPUTF8", Capabilities()));
}

TEST_CASE("the user's name in the first response") {
  struct Case {
    std::string mechanism;
    std::string base64;
    std::string name;
  };
  const Case cases[] = {
      {"PLAIN", "AGFubmEAc2VjcmV0", "anna"},          // NUL anna NUL secret
      {"PLAIN", "Ym9zcwBhbm5hAHNlY3JldA==", "anna"},  // boss NUL anna NUL secret
      {"PLAIN", "AGFubmEA", "anna"},                  // an empty password
      {"PLAIN", "AGFubmE=", ""},                      // no password at all: malformed
      {"PLAIN", "YW5uYQ==", ""},                      // no NUL
      {"PLAIN", "", ""},
      {"PLAIN", "AGFu*mEAc2VjcmV0", ""},
      {"PLAIN", "AGFubmEAc2Vjc", "anna"},  // cut behind the name
      {"LOGIN", "YW5uYQ==", "anna"},
      {"LOGIN", "", ""},
      {"CRAM-MD5", "YW5uYQ==", ""},
      {"LOGIN", "/w==", "\xff"},
  };
  for (const Case& c : cases) {
    CAPTURE(c.mechanism + " " + c.base64);
    CHECK(login_of(c.mechanism, c.base64) == c.name);
  }
  const std::string four_times_a = "YWFh";  // three octets
  std::string longest, too_long;
  for (int i = 0; i < 85; ++i) longest += four_times_a;
  CHECK(login_of("LOGIN", longest).size() == 255);
  CHECK(login_of("LOGIN", longest + "YQ==").empty());
  for (int i = 0; i < 100; ++i) CHECK(login_of("PLAIN", std::string(static_cast<std::size_t>(i), 'A')).empty());
}
