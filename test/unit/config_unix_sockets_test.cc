#include <doctest/doctest.h>

#include "config_fixture.h"

namespace {

using config_test::outcome;
using config_test::with;
using Lines = std::vector<std::string>;

TEST_CASE("UNIX sockets as addresses and servers") {
  const auto text_of = [](const std::string& address, const std::string& server, const std::string& more = "") {
    return R"({"listeners":[{"name":"in","protocol":"lmtp","address":")" + address + R"(","downstream":"mda")" + more +
           R"(}],"downstreams":{"mda":{"protocol":"lmtp","servers":[")" + server +
           R"("]}},"scanners":{"av":{"signatures":["/sig"]}}})";
  };
  CHECK(outcome(text_of("unix:/run/in.sock", "unix:/run/dovecot/lmtp")) == Lines{"ok"});
  CHECK(outcome(text_of("unix:in.sock", "unix:/run/lmtp")) ==
        Lines{"f:1:56: /listeners/0/address: \"unix:in.sock\" has no absolute path; write unix:/run/NAME/SOCKET"});
  const std::string path = "/" + std::string(107, 'x');
  const Lines too_long = outcome(text_of("unix:/run/in.sock", "unix:" + path));
  REQUIRE(too_long.size() == 1);
  CHECK(too_long.front().starts_with("f:1:148: /downstreams/mda/servers/0: \"unix:/xxx"));
  CHECK(too_long.front().ends_with("\" is too long: the path of a socket has at most 107 octets"));
  CHECK(outcome(text_of("unix:/run/a\\u0000b", "unix:/run/lmtp")) ==
        Lines{"f:1:56: /listeners/0/address: \"unix:/run/a\\u0000b\" holds a control character"});
  const Lines header = outcome(text_of("unix:/run/in.sock", "unix:/run/lmtp", R"(,"proxy_header":"v2")"));
  CHECK(header.front().find("/listeners/0/proxy_header: belongs to a network address") != std::string::npos);
  CHECK(outcome(with(R"(,"dns":{"forwarders":["unix:/run/dns"]})")).front().find("is no network address") !=
        std::string::npos);
  const std::string twice = R"({"listeners":[)"
                            R"({"name":"a","address":"unix:/run/x","downstream":"mta"},)"
                            R"({"name":"b","address":"unix:/run/x","downstream":"mta"}],)"
                            R"("downstreams":{"mta":{"servers":["127.0.0.1:26"]}}})";
  CHECK(outcome(twice).front().find("listener \"a\" has the address unix:/run/x already") != std::string::npos);
}

}  // namespace
