#include <doctest/doctest.h>

#include <algorithm>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config::Offence;
using namespace std::chrono_literals;
using Lines = std::vector<std::string>;

std::string text(const std::string& bans, const std::string& more, const std::string& firewall,
                 const std::string& way) {
  const std::string downstream = way == "none" ? "mta" : "original";
  return R"({"listeners":[{"name":"in","address":"0.0.0.0:2525","downstream":")" + downstream + R"(","intercept":")" +
         way + R"(","bans":{)" + bans + "}" + more + R"(}],"downstreams":{)" +
         (way == "none" ? R"("mta":{"servers":["192.0.2.1:26"]})" : "") +
         R"(},"scanners":{"av":{"signatures":["/sig"]}},"firewall":{)" + firewall + "}}";
}
// Without file, line and column, and without what every such config is told.
Lines told(const std::string& bans, const std::string& more = "", const std::string& firewall = R"("bans":{"on":true})",
           const std::string& way = "redirect") {
  Lines lines = config_test::outcome({{"f", text(bans, more, firewall, way)}});
  for (std::string& line : lines)
    if (line.starts_with("f:")) line.erase(0, line.find(": ") + 2);
  std::erase(lines, "ok");
  return lines;
}
bool any(const Lines& lines, const std::string& what) {
  return std::ranges::any_of(lines, [&](const std::string& line) { return line.find(what) != std::string::npos; });
}

TEST_CASE("bans of a listener: read, shown again, and nobody unless asked for") {
  const auto first =
      config::build({{"f", text(R"("infected":{"for":"1h"},"errors":{"after":5,"within":"2m","for":"90s"})", "",
                                R"("bans":{"on":true})", "tproxy")}},
                    config_test::machine());
  REQUIRE(first);
  const config::ListenerBans& bans = first->config->listeners[0].bans;
  CHECK(bans.infected == config::BanRule{1, 10min, 1h});
  CHECK(bans.errors == config::BanRule{5, 2min, 90s});
  CHECK(bans.early_talk.time == 0s);
  CHECK(bans.any());
  const std::string shown = show(*first->config);
  const auto second = config::build({{"shown", shown}}, config_test::machine());
  REQUIRE(second);
  CHECK(show(*second->config) == shown);
  CHECK_FALSE(config::Listener().bans.any());
  CHECK(config::schema().find("\"early_talk\"") != std::string::npos);
  // The defaults are each rule's own, in the manual too.
  const std::string manual = config::manual();
  const std::size_t at = manual.find("listeners[].bans.auth_failures.after");
  REQUIRE(at != std::string::npos);
  CHECK(manual.substr(at, 200).find("Default: 10.") != std::string::npos);
}

TEST_CASE("bans of a listener: words and rules") {
  for (std::size_t i = 0; i < config::number_of_offences; ++i) {
    const auto offence = static_cast<Offence>(i);
    CHECK(config::offence_named(config::to_string(offence)) == offence);
  }
  for (const char* word : {"", "virus", "infected ", "Infected"}) CHECK_FALSE(config::offence_named(word));
  config::ListenerBans bans;
  bans.rate.time = 1s;
  CHECK(bans.any());
  CHECK(bans.rule_for(Offence::rate).time == 1s);
  CHECK(bans.rule_for(Offence::early_talk).after == 3);
}

TEST_CASE("bans of a listener: what they cannot be") {
  struct Case {
    const char* bans;
    const char* more;
    const char* error;
  };
  for (const Case& each : {
           Case{R"("virus":{})", "", "/listeners/0/bans/virus: unknown key"},
           Case{R"("infected":{"after":0})", "", "/bans/infected/after: "},
           Case{R"("infected":{"after":1001})", "", "/bans/infected/after: "},
           Case{R"("infected":{"for":"597h"})", "", "/bans/infected/for: "},
           Case{R"("infected":{"for":60})", "", "/bans/infected/for: "},
           Case{R"("infected":{"within":"25h"})", "", "/bans/infected/within: "},
           Case{R"("infected":true)", "", "/bans/infected: expects an object"},
           Case{R"("infected":{"after":2})", "", "/bans/infected: bans nobody: say by \"for\" how long a ban lasts"},
           Case{R"("errors":{"within":"1m"})", "", "/bans/errors: bans nobody"},
           Case{R"("rate":{"for":"1h"})", "", "/bans/rate: needs max_client_connections"},
       }) {
    CAPTURE(each.bans);
    const Lines lines = told(each.bans, each.more);
    CAPTURE(lines);
    CHECK(any(lines, each.error));
  }
  CHECK(told(R"("infected":{"for":"1h"},"auth_failures":{"for":"596h"},"errors":{"for":"1s"})").empty());
  CHECK(told(R"("rate":{"for":"1h"})", R"(,"max_client_connections":30)").empty());
  CHECK(told(R"("early_talk":{"for":"1h"})", R"(,"early_talker_wait":"2s")").empty());
  CHECK(any(told(R"("early_talk":{"for":"1h"})"), "early_talker_wait is 0s"));
  CHECK(any(told(R"("infected":{"for":"1h"})", "", ""), "/bans: needs \"bans\": { \"on\": true } in \"firewall\""));
  CHECK(any(told(R"("infected":{"for":"1h"})", "", "", "none"), "/bans: belongs to a listener with \"intercept\""));
  CHECK(told(R"("rate":{"for":"1h"})", R"(,"max_client_connections":30)", R"("bans":{"on":true},"gate":{"queue":1})")
            .empty());
}

TEST_CASE("bans of a listener: whose packets they are") {
  const std::string proxies = R"(,"proxy_header":"v2","proxy_from":["192.0.2.9"])";
  CHECK(any(told(R"("errors":{"for":"1h"})", proxies, "", "none"),
            "/bans: cannot be with proxy_header: all packets come from the"));
  CHECK(any(told(R"("errors":{"for":"1h"})", proxies), "/proxy_header: cannot be where connections are intercepted"));
  CHECK(any(told(R"("errors":{"for":"1h"})", R"(,"xclient_from":["192.0.2.9"])"),
            "a client for whom a peer in xclient_from speaks is never banned"));
  // Without scanners nothing is infected.
  const Lines lines = config_test::outcome(
      {{"f", R"({"listeners":[{"name":"in","address":"0.0.0.0:2525","downstream":"original","intercept":"redirect",)"
             R"("bans":{"infected":{"for":"1h"}}}],"downstreams":{},"firewall":{"bans":{"on":true}}})"}});
  CHECK(any(lines, "/bans/infected: bans nobody: there are no scanners"));
}

}  // namespace
