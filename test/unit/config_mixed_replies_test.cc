#include <doctest/doctest.h>

#include <algorithm>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config_test::outcome;
using Lines = std::vector<std::string>;

// A listener on that port with these keys, in front of such a downstream.
Lines with(const std::string& port, const std::string& listener, const std::string& protocol = "lmtp") {
  return outcome(R"({"listeners":[{"name":"in","address":"127.0.0.1:)" + port + R"(","downstream":"mda")" + listener +
                 R"(}],"downstreams":{"mda":{"protocol":")" + protocol + R"(","servers":["127.0.0.1:26"]}},)" +
                 R"("scanners":{"av":{"signatures":["/sig"]}}})");
}

TEST_CASE("one recipient each: not for mail programs, which do not come again (dialogue.md D6)") {
  const std::string single = R"(,"mixed_replies":"single")";
  for (const char* port : {"587", "465"}) {
    CAPTURE(port);
    const Lines refused = with(port, single);
    REQUIRE(refused.size() == 1);
    CHECK(refused[0].ends_with("/listeners/0/mixed_replies: cannot be \"single\" where mail programs submit mail: they "
                               "give up at the second recipient"));
    CHECK(with(port, R"(,"mixed_replies":"journal")") == Lines{"ok"});
    // Nobody's replies are mixed there.
    CHECK(with(port, single, "smtp") == Lines{"ok"});
    CHECK(with(port, single + R"(,"protocol":"lmtp")") == Lines{"ok"});
  }
  CHECK(with("25", single) == Lines{"ok"});
  const Lines taken = with("2525", R"(,"intercept":"redirect","scopes":["input"],"ports":[25,587])" + single);
  CHECK(std::ranges::any_of(taken, [](const auto& line) { return line.find("/mixed_replies: cannot") != line.npos; }));
}

}  // namespace
