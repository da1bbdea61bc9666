#include <doctest/doctest.h>

#include <algorithm>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using Lines = std::vector<std::string>;

// A config whose only listener is intercepting, or plain, with this inside "firewall".
Lines told(const std::string& firewall, bool intercepting = true, const std::string& way = "redirect") {
  const std::string listener =
      intercepting ? R"({"name":"in","address":"0.0.0.0:2525","downstream":"original","intercept":")" + way + "\"}"
                   : R"({"name":"in","address":"127.0.0.1:2525","downstream":"mta"})";
  const std::string downstreams = intercepting ? "" : R"("mta":{"servers":["192.0.2.1:26"]})";
  Lines lines = config_test::outcome(
      {{"f", R"({"listeners":[)" + listener + R"(],"downstreams":{)" + downstreams +
                 R"(},"scanners":{"av":{"signatures":["/sig"]}},"firewall":{)" + firewall + "}}"}});
  for (std::string& line : lines)
    if (line.starts_with("f:")) line.erase(0, line.find(": ") + 2);
  return lines;
}

TEST_CASE("gate and bans: read, shown again, and off unless asked for") {
  const std::string text =
      R"({"listeners":[{"name":"in","address":"0.0.0.0:2525","downstream":"original","intercept":"redirect"}],)"
      R"("downstreams":{},"firewall":{"gate":{"queue":100,"on_failure":"open","length":9},)"
      R"("bans":{"on":true,"never":["192.0.2.0/24"]}}})";
  const auto first = config::build({{"f", text}}, config_test::machine());
  REQUIRE(first);
  CHECK(first->config->firewall.gate.queue == 100);
  CHECK(first->config->firewall.gate.on_failure == config::OnFailure::open);
  CHECK(first->config->firewall.gate.length == 9);
  CHECK(first->config->firewall.bans.on);
  CHECK(first->config->firewall.bans.never.size() == 1);
  const std::string shown = show(*first->config);
  const auto second = config::build({{"shown", shown}}, config_test::machine());
  REQUIRE(second);
  CHECK(show(*second->config) == shown);
  const config::Firewall fresh;
  CHECK(fresh.gate.queue == 0);
  CHECK(fresh.gate.on_failure == config::OnFailure::closed);
  CHECK_FALSE(fresh.bans.on);
}

TEST_CASE("gate: what it cannot be") {
  struct Case {
    const char* firewall;
    const char* error;
  };
  for (const Case& each :
       {Case{R"("gate":{"on_failure":"open"})", "/on_failure: belongs to a gate: give it the number of a queue"},
        Case{R"("gate":{"length":5})", "/length: belongs to a gate: give it the number of a queue"},
        Case{R"("gate":{"queue":65536})", "/queue: "}, Case{R"("gate":{"queue":-1})", "/queue: "},
        Case{R"("gate":{"queue":1,"on_failure":"shut"})", "/on_failure: "},
        Case{R"("gate":{"queue":1,"length":0})", "/length: "},
        Case{R"("gate":{"queue":1,"length":65537})", "/length: "},
        Case{R"("gate":{"queue":1,"number":2})", "/number: "}}) {
    CAPTURE(each.firewall);
    const Lines lines = told(each.firewall);
    CAPTURE(lines);
    CHECK(lines.size() == 1);
    CHECK(lines.front().starts_with(std::string("/firewall/gate") + each.error));
  }
  CHECK(told(R"("gate":{"queue":65535})").front() == "ok");
  CHECK(told(R"("gate":{"queue":1})", false) ==
        Lines{"/firewall/gate/queue: there is nothing to decide: no listener has intercept"});
}

TEST_CASE("gate: every listener has a queue of its own, up to the last one there is") {
  std::string listeners;
  for (int i = 0; i < 3; ++i)
    listeners += std::string(i == 0 ? "" : ",") + R"({"name":"l)" + std::to_string(i) + R"(","address":"0.0.0.0:252)" +
                 std::to_string(i) + R"(","downstream":"original","intercept":"redirect","ports":[)" +
                 std::to_string(100 + i) + "]}";
  const auto with = [&](const char* queue) {
    return config_test::outcome({{"f", R"({"listeners":[)" + listeners +
                                           R"(],"downstreams":{},"firewall":{"gate":{"queue":)" + queue + "}}}"}});
  };
  CHECK(with("65533").front() == "ok");
  CHECK(with("65534").front().ends_with(
      "/firewall/gate/queue: 65534 is too near to the last queue, 65535: each of the 3 listeners has its own"));
}

TEST_CASE("gate and bans: not for every backend") {
  const Lines both = told(R"("backend":"ipfw","gate":{"queue":1},"bans":{"on":true})", true, "divert");
  const auto says = [&](const std::string& line) { return std::ranges::find(both, line) != both.end(); };
  CHECK(says("/firewall/gate/queue: is for Linux alone: other packet filters have no queue for it"));
  CHECK(says("/firewall/bans/on: is for Linux alone: gatepost writes no such rules for other packet filters"));
  CHECK(told(R"("backend":"nft","bans":{"on":true})").front() == "ok");
  CHECK(told(R"("backend":"iptables","gate":{"queue":1},"bans":{"on":true})").front() == "ok");
  CHECK(told(R"("bans":{"never":["192.0.2.1"]})") == Lines{"/firewall/bans/never: belongs to bans that are on"});
  CHECK(told(R"("bans":{"on":true})", false) ==
        Lines{"/firewall/bans/on: there is nothing to be banned from: no listener has intercept"});
}

}  // namespace
