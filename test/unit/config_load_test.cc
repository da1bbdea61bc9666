#include "config/load.h"

#include <doctest/doctest.h>

#include <algorithm>

#include "config_fixture.h"

namespace {

using config_test::listener;
using config_test::machine;
using config_test::outcome;
using config_test::with;
using Lines = std::vector<std::string>;

TEST_CASE("a good config") {
  CHECK(outcome(with("")) == Lines{"ok"});
  CHECK(outcome(R"({"listeners":[)" + listener() + R"(],"downstreams":{"mta":{"path":"/m/%domain/%local"}}})") ==
        Lines{"ok", "no scanners: nothing is scanned"});
}

struct Wrong {
  std::string rest;   // behind a good config, as with() has it
  const char* error;  // without its position
};

// The text behind FILE:LINE:COLUMN.
std::string without_place(const std::string& line) {
  const std::size_t at = line.find(": ");
  return at == std::string::npos ? line : line.substr(at + 2);
}

void check_all(const std::vector<Wrong>& cases) {
  for (const Wrong& wrong : cases) {
    CAPTURE(wrong.rest);
    const Lines lines = outcome(with(wrong.rest));
    REQUIRE(lines.size() == 1);
    CHECK(without_place(lines[0]) == wrong.error);
  }
}

TEST_CASE("unknown keys") {
  check_all({
      {R"(,"hostnme":"a")", "/hostnme: unknown key \"hostnme\"; did you mean \"hostname\"?"},
      {R"(,"HOSTNAME":"a")", "/HOSTNAME: unknown key \"HOSTNAME\"; did you mean \"hostname\"?"},
      {R"(,"scan_wait":"1s")", "/scan_wait: unknown key \"scan_wait\"; it belongs into /limits"},
      {R"(,"workers":2)", "/workers: unknown key \"workers\"; it belongs into /scanners/NAME"},
      {R"(,"memory":"1M")", "/memory: unknown key \"memory\"; it belongs into /scanners/NAME or /spool or /limits"},
      {R"(,"log":{"hostname":"a"})", "/log/hostname: unknown key \"hostname\"; it belongs into the outermost object"},
      {R"(,"defaults":{"unscanable":{}})",
       "/defaults/unscanable: unknown key \"unscanable\"; did you mean \"unscannable\"?"},
      {R"(,"rules":[])", "/rules: unknown key \"rules\""},
      {R"(,"tls":{})", "/tls: unknown key \"tls\"; it belongs into /listeners/N or /downstreams/NAME"},
      {R"(,"":1)", "/: unknown key \"\""},
      {R"(,"a/b~c":1)", "/a~1b~0c: unknown key \"a/b~c\""},
      {R"(,"x\u0000\n":1)", "/x\\u0000\\u000A: unknown key \"x\\u0000\\u000A\""},
      {R"(,"override":true)", "/override: unknown key \"override\"; it is true or false, and only in files of conf.d"},
  });
  for (const char* later : {"callback", "routes", "intercept"}) {
    CAPTURE(later);
    const Lines lines =
        outcome(R"({"listeners":[)" + listener() + R"(],"downstreams":{"mta":{"path":"/m",")" + later + "\":1}}}");
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("unknown key") != std::string::npos);
  }
}

TEST_CASE("wrong values") {
  check_all({
      {R"(,"loops":"2")", "/loops: expects a whole number, not \"2\""},
      {R"(,"loops":-1)", "/loops: expects a whole number, not a number"},
      {R"(,"loops":1.5)", "/loops: expects a whole number, not a number"},
      {R"(,"loops":1025)", "/loops: 1025 is out of range; it is between 0 and 1024"},
      {R"(,"loops":4294967297)", "/loops: 4294967297 is out of range; it is between 0 and 1024"},
      {R"(,"loops":99999999999999999999)", "/loops: expects a whole number, not a number"},
      {R"(,"hostname":null)", "/hostname: expects a host name, not null"},
      {R"(,"hostname":"")", "/hostname: \"\" must have 1 to 255 characters"},
      {R"(,"hostname":"a b")", "/hostname: \"a b\" is no host name; use letters, digits, hyphens and dots"},
      {R"(,"hostname":"a\r\n250 ok")", "/hostname: \"a\\u000D\\u000A250 ok\" holds a control character"},
      {R"(,"state_directory":"var/lib")", "/state_directory: \"var/lib\" must be an absolute path"},
      {R"(,"state_directory":"/a\u0000b")", "/state_directory: \"/a\\u0000b\" holds a control character"},
      {R"(,"log":[])", "/log: expects an object, not an array"},
      {R"(,"log":{"format":"xml"})", "/log/format: \"xml\" is not known here, only \"text\" or \"json\""},
      {R"(,"log":{"format":"jsno"})",
       "/log/format: \"jsno\" is not known here, only \"text\" or \"json\"; did you mean \"json\"?"},
      {R"(,"log":{"format":1})", "/log/format: expects \"text\" or \"json\", not a number"},
      {R"(,"log":{"to":"sysloq"})",
       "/log/to: \"sysloq\" must be \"stderr\", \"syslog\" or an absolute path; did you mean \"syslog\"?"},
      {R"(,"log":{"to":"gatepost.log"})",
       "/log/to: \"gatepost.log\" must be \"stderr\", \"syslog\" or an absolute path"},
      {R"(,"spool":{"memory":"1X"})",
       "/spool/memory: expects a size in octets, such as \"25M\", \"256K\" or 1000, not \"1X\""},
      {R"(,"spool":{"memory":"2G"})", "/spool/memory: 2G is out of range; it is between 0 and 1G"},
      {R"(,"spool":{"memory":"1M","total_memory":1})",
       "/spool/total_memory: is less than spool.memory, which one message alone may take"},
      {R"(,"limits":{"drain":60})",
       "/limits/drain: expects a duration such as \"30s\", \"5m\", \"2h\" or \"100ms\", not a number"},
      {R"(,"limits":{"drain":"1 m"})",
       "/limits/drain: expects a duration such as \"30s\", \"5m\", \"2h\" or \"100ms\", not \"1 m\""},
      {R"(,"limits":{"drain":"2h"})", "/limits/drain: 2h is out of range; it is between 0s and 1h"},
      {R"(,"defaults":{"error":"refuse"})",
       "/defaults/error: \"refuse\" is not known here, only \"defer\" or \"relay\""},
      {R"(,"defaults":{"unscannable":{"size":"relya"}})",
       "/defaults/unscannable/size: \"relya\" is not known here, only \"refuse\", \"defer\" or \"relay\"; did you mean "
       "\"relay\"?"},
  });
}

TEST_CASE("budget") {
  check_all({
      {R"(,"limits":{"answer_within":"3m"})",
       "/limits/answer_within: scan_wait 1m + relay_wait 150s + 30s for the content is 4m, more than answer_within 3m"},
      {R"(,"limits":{"relay_wait":"150001ms"})",
       "/limits/answer_within: scan_wait 1m + relay_wait 150001ms + 30s for the content is 240001ms, more than "
       "answer_within 4m"},
      {R"(,"limits":{"min_relay_wait":"181s"})",
       "/limits/min_relay_wait: after a scan_wait of 1m less than 181s of answer_within 4m is left: no such message "
       "could ever be relayed"},
      {R"(,"limits":{"scan_wait":"30s","scan_limit":"60s"})",
       "/limits/scan_limit: 1m is more than scan_wait 30s: nobody would take the result yet; leave scan_limit out, or "
       "give both the same value"},
      {R"(,"limits":{"scan_limit":"30s"})",
       "/limits/scan_limit: 30s is less than scan_wait 1m: the worker would be killed while the reply waits for it"},
  });
  const auto loaded = config::build({{"f", with(R"(,"limits":{"scan_wait":"30s"})")}}, machine());
  REQUIRE(loaded);
  CHECK(loaded->config->limits.scan_limit == std::chrono::seconds(30));
}

TEST_CASE("users") {
  check_all({
      {R"(,"users":{"proxy":"nobody-here"})",
       "/users/proxy: there is no account \"nobody-here\"; create it (adduser --system --group nobody-here) or give a "
       "number, which needs no account"},
      {R"(,"users":{"proxy":0})", "/users/proxy: \"0\" is root, which gatepost's processes must not be"},
      {R"(,"users":{"proxy":"root x"})", "/users/proxy: \"root x\" is no account name"},
      {R"(,"users":{"proxy":"toor"})", "/users/proxy: \"toor\" is root, which gatepost's processes must not be"},
      {R"(,"users":{"proxy":4294967295})",
       "/users/proxy: \"4294967295\" is no uid; it is a number from 1 to 4294967294"},
      {R"(,"users":{"proxy":-5})", "/users/proxy: expects an account name or number, not a number"},
      {R"(,"users":{"proxxy":"a"})", "/users/proxxy: unknown key \"proxxy\"; did you mean \"proxy\"?"},
  });
  const auto loaded = config::build({{"f", with(R"(,"users":{"proxy":64001,"keeper":"901"})")}}, machine());
  REQUIRE(loaded);
  const config::Config& config = *loaded->config;
  CHECK(config.proxy_account.uid == 64001);
  CHECK(config.proxy_account.gid == 64001);
  CHECK(config.keeper_account.uid == 901);
  CHECK(config.keeper_account.gid == 801);
  CHECK(config.scanner_account.uid == 903);
  CHECK(outcome(with(R"(,"users":{"proxy":7,"keeper":"7"})")).at(1) ==
        "f:1:175: /users: two of the accounts are one: no wall stands between their processes");
}

TEST_CASE("the account of the gate is looked up where there is a gate") {
  const auto told = [](const std::string& users, bool gate) {
    std::string text = R"({"listeners":[{"name":"l","address":"0.0.0.0:2525","downstream":"original",)"
                       R"("intercept":"redirect","scopes":["forward"],"protected":["192.0.2.0/24"]}],"downstreams":{})";
    if (gate) text += R"(,"firewall":{"gate":{"queue":100}})";
    return config::build({{"f", text + users + "}"}}, machine());
  };
  const auto usual = told("", true);
  REQUIRE(usual);
  CHECK(usual->config->gate_account.uid == 904);
  CHECK(usual->config->gate_account.gid == 804);
  const std::string absent = R"(,"users":{"gate":"nobody-here"})", shared = R"(,"users":{"gate":901})";
  CHECK(told(absent, false));
  const auto failed = told(absent, true);
  REQUIRE_FALSE(failed);
  CHECK(to_text(failed.error().at(0)).ends_with("give a number, which needs no account"));
  const auto warned = [&](bool gate) {
    return std::ranges::any_of(told(shared, gate)->warnings, [](const std::string& each) {
      return each.ends_with("/users: two of the accounts are one: no wall stands between their processes");
    });
  };
  CHECK(warned(true));
  CHECK_FALSE(warned(false));
}

TEST_CASE("not root: our own account, whatever the names") {
  config::Surroundings user = machine();
  user.root = false;
  user.own = {1000, 100};
  const auto loaded = config::build({{"f", with(R"(,"users":{"proxy":"nobody-here"})")}}, user);
  REQUIRE(loaded);
  CHECK(loaded->config->proxy_account.uid == 1000);
  CHECK(loaded->config->scanner_account.gid == 100);
  CHECK(loaded->warnings == Lines{"not started by root: all processes run under uid 1000, without walls between them"});
}

std::string with_listeners(const std::string& listeners,
                           const std::string& downstream = R"("servers":["127.0.0.1:26"])") {
  return "{\"scanners\":{\"av\":{\"signatures\":[\"/sig\"]}},\n\"listeners\":[" + listeners +
         "],\n\"downstreams\":{\"mta\":{" + downstream + "}}}";
}

TEST_CASE("listeners") {
  const std::string other = R"({"name":"out","address":"127.0.0.1:587","downstream":"mta"})";
  CHECK(outcome(with_listeners(listener() + "," + other)) == Lines{"ok"});
  CHECK(outcome(with_listeners("")) ==
        Lines{"f:2:13: /listeners: must not be empty: without a listener there is nothing to serve"});
  CHECK(outcome(with_listeners("1")) == Lines{"f:2:14: /listeners/0: expects an object, not a number"});
  CHECK(outcome(with_listeners("{}")) ==
        Lines{"f:2:14: /listeners/0/name: missing: Name of the listener in logs and metrics.",
              "f:2:14: /listeners/0/address: missing: Address to listen on; port 0 takes any free port.",
              "f:2:14: /listeners/0/downstream: missing: Name of the downstream that gets the mail."});
  CHECK(outcome(with_listeners(listener() + "," + listener())) ==
        Lines{"f:2:80: /listeners/1/name: two listeners are called \"in\"",
              "f:2:95: /listeners/1/address: listener \"in\" has the address 127.0.0.1:25 already"});
  const std::string any =
      R"({"name":"a","address":"[::1]:0","downstream":"mta"},{"name":"b","address":"[::1]:0","downstream":"mta"})";
  CHECK(outcome(with_listeners(any)) == Lines{"ok"});
  CHECK(
      outcome(with_listeners(R"({"name":"a","address":"127.1:25","downstream":"mtaa"})")) ==
      Lines{"f:2:36: /listeners/0/address: \"127.1\" is not an IPv4 address",
            "f:2:60: /listeners/0/downstream: there is no downstream \"mtaa\" in /downstreams; did you mean \"mta\"?"});
  CHECK(outcome(with_listeners(R"({"name":"a","address":"two.test:25","downstream":"mta"})")) ==
        Lines{"f:2:36: /listeners/0/address: \"two.test:25\" has 2 addresses; write one of 192.0.2.1:25, "
              "[2001:db8::1]:25"});
  CHECK(outcome(with_listeners(R"({"name":"a b","protocol":"smpt","address":1,"downstream":""})")) ==
        Lines{"f:2:22: /listeners/0/name: \"a b\" is no name; use letters, digits, '.', '-' and '_', a letter or digit "
              "first",
              "f:2:39: /listeners/0/protocol: \"smpt\" is not known here, only \"smtp\" or \"lmtp\"; did you mean "
              "\"smtp\"?",
              "f:2:56: /listeners/0/address: expects HOST:PORT or unix:PATH, such as \"127.0.0.1:25\" or \"[::1]:25\", not a number",
              "f:2:71: /listeners/0/downstream: \"\" must not be empty"});
}

TEST_CASE("whether a server relays is asked at run time, whatever the address of the listener is") {
  for (const char* address : {"0.0.0.0:25", "[::]:25", "192.0.2.7:25", "mx.test:25", "127.0.0.1:25"}) {
    CAPTURE(address);
    const std::string one = R"({"name":"in","address":")" + std::string(address) + R"(","downstream":"mta"})";
    CHECK(outcome(with_listeners(one)) == Lines{"ok"});
  }
}

TEST_CASE("identity: what belongs together") {
  const std::string on = R"(,"proxy_header":"v2")";
  const std::string from = R"(,"proxy_from":["192.0.2.0/24"])";
  CHECK(outcome(with_listeners(listener(on + from))) == Lines{"ok"});
  CHECK(outcome(with_listeners(listener(R"(,"proxy_header":"off")" + from))) ==
        Lines{"f:2:105: /listeners/0/proxy_from: needs proxy_header: without it nobody sends a PROXY header"});
  CHECK(outcome(with_listeners(listener(on))) ==
        Lines{"f:2:86: /listeners/0/proxy_header: needs proxy_from, the addresses of the proxies in front: nobody else "
              "may say who the client is"});
  const std::string server = R"("servers":["127.0.0.1:26"])";
  struct Case {
    std::string downstream;
    std::string error;
  };
  const std::string many = R"("relay_probe_recipients":["a@b.test","c@b.test","d@b.test","e@b.test"])";
  for (const Case& c : {
           Case{R"("path":"/m","identity":"xclient")", "belongs to a downstream with servers"},
           Case{R"("path":"/m","identity":"xforward")", "belongs to a downstream with servers"},
           Case{R"("path":"/m","identity":"proxy-v1")", "belongs to a downstream with servers"},
           Case{server + R"(,"tell_tls":true)", "tell_tls: needs \"identity\": \"proxy-v2\""},
           Case{server + R"(,"tell_tls":true,"identity":"proxy-v1")", "tell_tls: needs \"identity\": \"proxy-v2\""},
           Case{server + "," + many, "relay_probe_recipients: has 4 mailboxes"},
           Case{server + R"(,"relay_probe_recipients":[])", "relay_probe_recipients: must not be empty"},
       }) {
    CAPTURE(c.downstream);
    const Lines lines = outcome(with_listeners(listener(), c.downstream));
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find(c.error) != std::string::npos);
  }
  CHECK(outcome(with_listeners(listener(), server + R"(,"tell_tls":true,"identity":"proxy-v2")")) == Lines{"ok"});
  CHECK(outcome(with_listeners(listener(), R"("path":"/m","identity":"none")")) == Lines{"ok"});
}

TEST_CASE("downstreams") {
  struct Case {
    const char* downstream;
    const char* error;
  };
  for (const Case& c : {
           Case{R"("servers":["127.0.0.1:26"],"path":"/m")",
                "f:3:22: /downstreams/mta: has servers and path; of servers, path and original it must have exactly one"},
           Case{"", "f:3:22: /downstreams/mta: has none; of servers, path and original it must have exactly one"},
           Case{R"("servers":[])", "f:3:33: /downstreams/mta/servers: must not be empty"},
           Case{R"("servers":"127.0.0.1:26")",
                "f:3:33: /downstreams/mta/servers: expects an array of strings, not \"127.0.0.1:26\""},
           Case{R"("servers":[26])", "f:3:34: /downstreams/mta/servers/0: expects a string, not a number"},
           Case{R"("servers":["127.0.0.1:26","127.0.0.1:26"])",
                "f:3:49: /downstreams/mta/servers/1: \"127.0.0.1:26\" stands in this list twice"},
           Case{R"("servers":["127.0.0.1:0"])", "f:3:34: /downstreams/mta/servers/0: port 0 is no port to connect to"},
           Case{R"("servers":["mx.test:25","a..b:25"])",
                "f:3:47: /downstreams/mta/servers/1: \"a..b\" is neither an address nor a host name"},
           Case{R"("servers":["mx.test:0"])", "f:3:34: /downstreams/mta/servers/0: port 0 is no port to connect to"},
           Case{R"("servers":["127.0.0.1:26"],"create":true)",
                "f:3:59: /downstreams/mta/create: belongs to a downstream with path: servers have no maildir to make"},
           Case{R"("path":"m")", "f:3:30: /downstreams/mta/path: \"m\" must be an absolute path"},
           Case{R"("path":"/m/%user")",
                "f:3:30: /downstreams/mta/path: \"/m/%user\" may hold %local and %domain, but no other %"},
           Case{R"("path":"/m/%%local")",
                "f:3:30: /downstreams/mta/path: \"/m/%%local\" may hold %local and %domain, but no other %"},
           Case{R"("path":"/m/%local/..")", "f:3:30: /downstreams/mta/path: \"/m/%local/..\" must not hold \"..\""},
           Case{R"("path":"/m","sevrers":[])",
                "f:3:35: /downstreams/mta/sevrers: unknown key \"sevrers\"; did you mean \"servers\"?"},
       }) {
    CAPTURE(c.downstream);
    CHECK(outcome(with_listeners(listener(), c.downstream)) == Lines{c.error});
  }
  const auto loaded =
      config::build({{"f", with_listeners(listener(), R"("servers":["two.test:25","[::1]:26"])")}}, machine());
  REQUIRE(loaded);
  const auto& servers = loaded->config->downstreams.at("mta").servers;
  REQUIRE(servers.size() == 2);
  CHECK(servers[0].is_name());  // resolved when it is used
  CHECK(servers[0].host == "two.test");
  CHECK(servers[0].port == 25);
  CHECK(servers[0].text == "two.test:25");
  CHECK_FALSE(servers[1].is_name());
  CHECK(to_text(servers[1]) == "[::1]:26");
  CHECK(
      outcome(with(R"(,"downstream":{})")).at(0).ends_with("unknown key \"downstream\"; it belongs into /listeners/N"));
  CHECK(outcome(R"({"listeners":[)" + listener() + R"(],"downstreams":{"mta":{"path":"/m"},"b/c":{"path":"/n"}}})") ==
        Lines{"f:1:109: /downstreams/b~1c: \"b/c\" is no name; use letters, digits, '.', '-' and '_', a letter or "
              "digit first"});
  CHECK(
      outcome(R"({"listeners":[)" + listener() +
              R"(],"downstreams":{"mta":{"path":"/m"},"b":{"path":"/n"}},"scanners":{"a":{"signatures":["/sig"]}}})") ==
      Lines{"ok", "f:1:113: /downstreams/b: no listener uses this downstream"});
}

TEST_CASE("scanners") {
  const auto scanners = [](const std::string& text) {
    return outcome(R"({"listeners":[)" + listener() + R"(],"downstreams":{"mta":{"path":"/m"}},)" +
                   "\n\"scanners\":" + text + "}");
  };
  CHECK(scanners("{}") == Lines{"ok", "no scanners: nothing is scanned"});
  CHECK(scanners("[]") == Lines{"f:2:12: /scanners: expects an object, not an array"});
  CHECK(scanners(R"({"a":{}})") ==
        Lines{"f:2:17: /scanners/a/signatures: missing: Signature files, or directories of them."});
  CHECK(scanners(R"({"a":{"signatures":[]}})") == Lines{"f:2:31: /scanners/a/signatures: must not be empty"});
  CHECK(scanners(R"({"a":{"signatures":["sig",7]}})") ==
        Lines{"f:2:32: /scanners/a/signatures/0: \"sig\" must be an absolute path",
              "f:2:38: /scanners/a/signatures/1: expects a string, not a number"});
  CHECK(scanners(R"({"a":{"signatures":["/gone"]}})") ==
        Lines{"ok",
              "f:2:32: /scanners/a/signatures/0: \"/gone\" does not exist; without signatures all mail is deferred"});
  CHECK(scanners(R"({"a":{"signatures":["/sig"],"workers":0}})") ==
        Lines{"f:2:50: /scanners/a/workers: 0 is out of range; it is between 1 and 256"});
  CHECK(scanners(R"({"a":{"signatures":["/sig"],"workers":257}})").size() == 1);
  CHECK(scanners(R"({"a":{"signatures":["/sig"],"workers":256}})") == Lines{"ok"});
  CHECK(scanners(R"({"a":{"signatures":["/sig"],"engine":"libclamv"}})") ==
        Lines{"f:2:49: /scanners/a/engine: \"libclamv\" is not known here, only \"libclamav\"; did you mean "
              "\"libclamav\"?"});
  CHECK(scanners(R"({"a":{"signatures":["/sig"]},"b":{"signatures":["/sig"]}})") ==
        Lines{"f:2:41: /scanners/b: one too many: this version takes no more than 1 here"});
}

TEST_CASE("all errors at once, in the order of the file") {
  CHECK(outcome("{\n \"hostname\": \"\",\n \"listeners\": [{\"name\": \"in\"}],\n \"downstreams\": {\"a\": {}},\n "
                "\"loops\": true,\n"
                " \"loops\": 3,\n \"lgo\": {}\n}") ==
        Lines{"f:2:14: /hostname: \"\" must have 1 to 255 characters",
              "f:3:16: /listeners/0/address: missing: Address to listen on; port 0 takes any free port.",
              "f:3:16: /listeners/0/downstream: missing: Name of the downstream that gets the mail.",
              "f:4:23: /downstreams/a: has none; of servers, path and original it must have exactly one",
              "f:5:11: /loops: expects a whole number, not true",
              "f:6:2: /loops: duplicate key \"loops\"; the first one stands at line 5",
              "f:7:2: /lgo: unknown key \"lgo\"; did you mean \"log\"?"});
  CHECK(outcome("{}") == Lines{"f:1:1: /listeners: missing: Where clients connect."});
  CHECK(outcome("[]") == Lines{"f:1:1: expects an object, not an array"});
}

TEST_CASE("a flood of errors ends") {
  std::string rest;
  for (int i = 0; i < 3000; ++i) rest += ",\"k" + std::to_string(i) + "\":0";
  const Lines lines = outcome(with(rest));
  REQUIRE(lines.size() == 1001);
  CHECK(lines.back() == "f: 2000 further errors");
}

TEST_CASE("the host name of the machine") {
  config::Surroundings odd = machine();
  auto loaded = config::build({{"f", with("")}}, odd);
  REQUIRE(loaded);
  CHECK(loaded->config->hostname == "host.test");
  odd.hostname = "my host\n";
  loaded = config::build({{"f", with("")}}, odd);
  REQUIRE(loaded);
  CHECK(loaded->config->hostname == "localhost");
  REQUIRE(loaded->warnings.size() == 1);
  CHECK(loaded->warnings[0] ==
        "f:1:1: /hostname: the machine's own name is no host name; \"localhost\" is used, better give one");
}

TEST_CASE("defaults that let bad mail through are said aloud") {
  CHECK(outcome(with(R"(,"defaults":{"infected":"relay","error":"relay"})")) ==
        Lines{"ok", "f:1:190: /defaults/infected: infected mail is relayed, with X-Gatepost-Verdict",
              "f:1:206: /defaults/error: mail that could not be scanned is relayed, with X-Gatepost-Verdict"});
}

}  // namespace
