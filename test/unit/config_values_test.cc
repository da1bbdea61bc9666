#include <doctest/doctest.h>

#include <array>

#include "config/byte_size.h"
#include "config/duration.h"
#include "config/endpoint.h"
#include "config/nearest.h"
#include "config/quote.h"

namespace {

using std::chrono::milliseconds;

TEST_CASE("durations") {
  struct Case {
    const char* text;
    long long expected;  // -1 = none
  };
  for (const Case& c : {Case{"30s", 30'000},
                        {"5m", 300'000},
                        {"100ms", 100},
                        {"2h", 7'200'000},
                        {"0", 0},
                        {"0s", 0},
                        {"007s", 7000},
                        {"", -1},
                        {"s", -1},
                        {"30", -1},
                        {"-1s", -1},
                        {"+1s", -1},
                        {" 1s", -1},
                        {"1 s", -1},
                        {"1s ", -1},
                        {"1S", -1},
                        {"1.5s", -1},
                        {"1h30m", -1},
                        {"1d", -1},
                        {"1sx", -1},
                        {"0x1s", -1},
                        {"9007199254740992ms", 9007199254740992},
                        {"9007199254740993ms", -1},
                        {"2501999792984h", -1},
                        {"18446744073709551615h", -1},
                        {"99999999999999999999ms", -1}}) {
    CAPTURE(c.text);
    const auto parsed = config::parse_duration(c.text);
    CHECK((parsed ? parsed->count() : -1) == c.expected);
    if (parsed) CHECK(config::parse_duration(config::format_duration(*parsed)) == parsed);
  }
  CHECK(config::parse_duration(std::string_view("1s\0", 3)) == std::nullopt);
  CHECK(config::format_duration(milliseconds{0}) == "0s");
  CHECK(config::format_duration(milliseconds{90'000}) == "90s");
  CHECK(config::format_duration(milliseconds{3'600'001}) == "3600001ms");
}

TEST_CASE("sizes") {
  struct Case {
    const char* text;
    std::uint64_t expected;
    bool valid = true;
  };
  for (const Case& c : {Case{"25M", 25ULL << 20U},
                        {"256K", 256ULL << 10U},
                        {"2G", 2ULL << 30U},
                        {"0", 0},
                        {"17", 17},
                        {"0K", 0},
                        {"18446744073709551615", UINT64_MAX},
                        {"17179869183G", 17179869183ULL << 30U},
                        {"17179869184G", 0, false},
                        {"18446744073709551616", 0, false},
                        {"", 0, false},
                        {"M", 0, false},
                        {"1k", 0, false},
                        {"1KB", 0, false},
                        {"1 K", 0, false},
                        {"-1", 0, false},
                        {"1.5M", 0, false},
                        {"1T", 0, false}}) {
    CAPTURE(c.text);
    const auto parsed = config::parse_byte_size(c.text);
    CHECK(parsed.has_value() == c.valid);
    if (!parsed) continue;
    CHECK(*parsed == c.expected);
    CHECK(config::parse_byte_size(config::format_byte_size(*parsed)) == parsed);
  }
  CHECK(config::format_byte_size(50ULL << 20U) == "50M");
  CHECK(config::format_byte_size(1025) == "1025");
  CHECK(config::format_byte_size(4096ULL << 30U) == "4096G");
}

TEST_CASE("nearest names") {
  CHECK(config::edit_distance("", "") == 0);
  CHECK(config::edit_distance("abc", "") == 3);
  CHECK(config::edit_distance("kitten", "sitting") == 3);
  CHECK(config::edit_distance("workres", "workers") == 1);  // a swap is one mistake
  CHECK(config::edit_distance("Hostname", "hostname") == 0);
  constexpr std::array<std::string_view, 4> known{"workers", "queue", "memory", "engine"};
  CHECK(config::nearest("worker", known) == "workers");
  CHECK(config::nearest("queeu", known) == "queue");
  CHECK(config::nearest("zzz", known).empty());
  CHECK(config::nearest("", known).empty());
  CHECK(config::nearest(std::string(1 << 20, 'w'), known).empty());
  CHECK(config::did_you_mean("engin", known) == "; did you mean \"engine\"?");
  CHECK(config::did_you_mean("listen", known).empty());
}

TEST_CASE("text for messages") {
  CHECK(config::in_quotes("a\n\x7F") == "\"a\\u000A\\u007F\"");
  CHECK(config::visible("abcdef", 3) == "abc...");
  CHECK(config::visible("ab\xC3\xA9", 3) == "ab...");  // no half character
  CHECK(config::visible("ab\xC3\xA9", 4) == "ab\xC3\xA9");
}

struct EndpointCase {
  const char* text;
  const char* expected;  // address, "name" for a name, or the error
};
constexpr EndpointCase endpoints[] = {
    {"127.0.0.1:2525", "127.0.0.1:2525"},
    {"[::1]:25", "[::1]:25"},
    {"[2001:DB8::1]:65535", "[2001:db8::1]:65535"},
    {"0.0.0.0:0", "0.0.0.0:0"},
    {"mx.example.org:25", "name"},
    {"host_1:25", "name"},
    {"127.0.0.1", "\"127.0.0.1\" has no port; write HOST:PORT"},
    {"[::1]", "\"[::1]\" has no port; write HOST:PORT"},
    {"[::1]25", "\"[::1]25\" has no port; write HOST:PORT"},
    {"", "\"\" has no port; write HOST:PORT"},
    {":25", "\":25\" has no host; for all addresses write 0.0.0.0:PORT or [::]:PORT"},
    {"[]:25", "\"[]:25\" has no host; for all addresses write 0.0.0.0:PORT or [::]:PORT"},
    {"::1:25", "\"::1:25\" is not HOST:PORT; an IPv6 address stands in brackets, as in [::1]:25"},
    {"[::1:25", "\"[::1:25\" has no closing bracket"},
    {"[", "\"[\" has no closing bracket"},
    {"[127.0.0.1]:25", "\"127.0.0.1\" is not an IPv6 address"},
    {"[::g]:25", "\"::g\" is not an IPv6 address"},
    {"a:65536", "\"65536\" is not a port; it is a number from 0 to 65535"},
    {"a:-1", "\"-1\" is not a port; it is a number from 0 to 65535"},
    {"a:", "\"\" is not a port; it is a number from 0 to 65535"},
    {"a:25x", "\"25x\" is not a port; it is a number from 0 to 65535"},
    {"a:smtp", "\"smtp\" is not a port; it is a number from 0 to 65535"},
    // getaddrinfo would take all of these for addresses
    {"127.1:25", "\"127.1\" is not an IPv4 address"},
    {"2130706433:25", "\"2130706433\" is not an IPv4 address"},
    {"0x7f.1:25", "\"0x7f.1\" is not an IPv4 address"},
    {"127.0.0.01:25", "\"127.0.0.01\" is not an IPv4 address"},
    {"127.0.0.256:25", "\"127.0.0.256\" is not an IPv4 address"},
    {"a b:25", "\"a b\" is neither an address nor a host name"},
    {"a..b:25", "\"a..b\" is neither an address nor a host name"},
    {"*:25", "\"*\" is neither an address nor a host name"},
    {"a\x01:25", "\"a\\u0001\" is neither an address nor a host name"},
};

TEST_CASE("endpoints") {
  for (const EndpointCase& c : endpoints) {
    CAPTURE(c.text);
    const auto where = config::parse_host_port(c.text);
    if (!where) {
      CHECK(where.error() == c.expected);
      continue;
    }
    const auto literal = config::parse_literal(*where, c.text);
    if (!literal) CHECK(literal.error() == c.expected);
    else if (*literal) CHECK(to_text(**literal) == c.expected);
    else CHECK(std::string_view(c.expected) == "name");
  }
}

config::Endpoint literal(const std::string& text) {
  const auto where = config::parse_host_port(text);
  REQUIRE(where);
  const auto endpoint = config::parse_literal(*where, text);
  REQUIRE(endpoint);
  REQUIRE(*endpoint);
  return **endpoint;
}

TEST_CASE("endpoints compared") {
  CHECK(is_loopback(literal("127.9.9.9:1")));
  CHECK(is_loopback(literal("[::1]:1")));
  CHECK(is_loopback(literal("[::ffff:127.0.0.1]:1")));
  for (const char* text : {"0.0.0.0:1", "[::]:1", "128.0.0.1:1", "[::ffff:10.0.0.1]:1", "[fe80::1]:1"}) {
    CAPTURE(text);
    CHECK_FALSE(is_loopback(literal(text)));
  }
  CHECK(same_address(literal("[::1]:25"), literal("[0:0:0:0:0:0:0:1]:25")));
  CHECK_FALSE(same_address(literal("[::1]:25"), literal("[::1]:26")));
  CHECK_FALSE(same_address(literal("127.0.0.1:25"), literal("127.0.0.2:25")));
  CHECK_FALSE(same_address(literal("127.0.0.1:25"), literal("[::1]:25")));
  CHECK_FALSE(same_address(config::Endpoint{}, literal("[::1]:25")));
}

TEST_CASE("UNIX sockets") {
  const auto socket = config::parse_unix("unix:/run/a.sock");
  REQUIRE(socket);
  CHECK(socket->is_unix());
  CHECK(path_of(*socket) == "/run/a.sock");
  CHECK(to_text(*socket) == "unix:/run/a.sock");
  CHECK(port_of(*socket) == 0);
  CHECK(is_loopback(*socket));
  CHECK(same_address(*socket, *config::parse_unix("unix:/run/a.sock")));
  CHECK_FALSE(same_address(*socket, *config::parse_unix("unix:/run/a.sock2")));
  CHECK_FALSE(same_address(*socket, literal("127.0.0.1:25")));
  const std::string longest = "unix:/" + std::string(106, 'x');
  REQUIRE(config::parse_unix(longest));
  CHECK(to_text(*config::parse_unix(longest)) == longest);
  CHECK_FALSE(config::parse_unix(longest + "x"));
  using namespace std::string_literals;
  for (const std::string& wrong : {"unix:"s, "unix:run/a"s, "unix:/"s, "unix:/run/"s, "unix:/a\0b"s, "unix:/a\n"s}) {
    CAPTURE(wrong);
    CHECK_FALSE(config::parse_unix(wrong));
    CHECK_FALSE(config::parse_address(wrong));
  }
  CHECK(to_text(config::parse_address("unix:/run/a.sock").value()) == "unix:/run/a.sock");
  CHECK(to_text(config::parse_address("[::1]:25").value()) == "[::1]:25");
  CHECK_FALSE(config::parse_address("mx.test:25"));
}

}  // namespace
