#include <doctest/doctest.h>

#include <set>

#include "config/load.h"
#include "config_fixture.h"

namespace {

using config::Intercept;
using config::Scope;
using config_test::Files;
using config_test::outcome;
using Lines = std::vector<std::string>;

// The host of config_fixture.h with the interfaces eth0, eth1 and the bridge br0.
config::Surroundings machine() {
  config::Surroundings out = config_test::machine();
  out.exists = [](const std::string& path) {
    return std::set<std::string>{"/sig",
                                 "/sys/class/net/eth0",
                                 "/sys/class/net/eth1",
                                 "/sys/class/net/lo",
                                 "/sys/class/net/br0",
                                 "/sys/class/net/br0/bridge"}
        .contains(path);
  };
  return out;
}

std::string whole(const std::string& listeners, const std::string& downstreams, const std::string& rest = "") {
  return R"({"listeners":[)" + listeners + R"(],"downstreams":{)" + downstreams +
         R"(},"scanners":{"av":{"signatures":["/sig"]}})" + rest + "}";
}
constexpr const char* mta = R"("mta":{"servers":["192.0.2.1:26"]})";
constexpr const char* spoofed = R"("mta":{"original":true,"identity":"spoof"})";

// A redirecting listener on 0.0.0.0:2525 with more keys; one given again takes the place of the usual one.
std::string redirecting(const std::string& more, const std::string& address = "0.0.0.0:2525",
                        const std::string& intercept = "redirect") {
  return R"({"name":"in","downstream":"mta","address":")" + address + R"(","intercept":")" + intercept + "\"" + more +
         "}";
}
std::string tproxying(const std::string& more) { return redirecting(more, "127.0.0.1:2525", "tproxy"); }

// The lines without "f:1:COLUMN: ".
Lines told(const std::string& text, const config::Surroundings& on = machine()) {
  Lines lines = outcome(Files{{"f", text}}, on);
  for (std::string& line : lines)
    if (line.starts_with("f:")) line.erase(0, line.find(": ") + 2);
  return lines;
}

TEST_CASE("interception keys: read, and shown again") {
  const std::string text =
      whole(R"({"name":"in","address":"0.0.0.0:2525","downstream":"original","intercept":"redirect",)"
            R"("direction":"incoming","scopes":["input","forward"],"ports":[25,465],"interfaces":["eth0"],)"
            R"("protected":["192.0.2.0/24","2001:db8::/32"],"skip_sources":["203.0.113.0/24"],)"
            R"("skip_destinations":["192.0.2.9"]})",
            R"("other":{"original":true,"identity":"spoof"})",
            R"(,"firewall":{"backend":"nft","manage":true,"routing_table":77})");
  const auto first = config::build({{"f", text}}, machine());
  REQUIRE(first);
  const config::Listener& listener = first->config->listeners[0];
  CHECK(listener.intercept == Intercept::redirect);
  CHECK(listener.scopes == std::vector{Scope::input, Scope::forward});
  CHECK(listener.ports == std::vector<std::uint16_t>{25, 465});
  CHECK(listener.protected_networks.size() == 2);
  CHECK(listener.skip_sources.size() == 1);
  CHECK(listener.skip_destinations.size() == 1);
  CHECK(first->config->firewall.backend == config::Backend::nft);
  CHECK(first->config->firewall.routing_table == 77);
  // Built in: nobody has to write it.
  CHECK(first->config->downstreams.at("original").original);
  CHECK(first->config->downstreams.at("other").identity == config::Identity::spoof);
  const std::string shown = show(*first->config);
  CAPTURE(shown);
  const auto second = config::build({{"shown", shown}}, machine());
  REQUIRE(second);
  CHECK(show(*second->config) == shown);
  // A listener and a downstream without any of it can be shown and read as well.
  const auto plain = config::build({{"f", whole(config_test::listener(), mta)}}, machine());
  REQUIRE(plain);
  CHECK(show(*plain->config).find("\"original\"") == std::string::npos);
  CHECK(config::build({{"shown", show(*plain->config)}}, machine()));
}

TEST_CASE("interception: what a listener cannot be") {
  struct Case {
    std::string listener, error;
  };
  const std::string at = "/listeners/0";
  for (const Case& each : std::vector<Case>{
           {config_test::listener(R"(,"scopes":["forward"])"), "/scopes: belongs to a listener with intercept"},
           {config_test::listener(R"(,"ports":[26])"), "/ports: belongs to a listener with intercept"},
           {config_test::listener(R"(,"interfaces":["eth0"])"), "/interfaces: belongs to a listener with intercept"},
           {config_test::listener(R"(,"protected":["::/0"])"), "/protected: belongs to a listener with intercept"},
           {config_test::listener(R"(,"skip_sources":["::/0"])"),
            "/skip_sources: belongs to a listener with intercept"},
           {config_test::listener(R"(,"skip_destinations":["::/0"])"),
            "/skip_destinations: belongs to a listener with intercept"},
           {redirecting("", "unix:/run/x"),
            "/intercept: belongs to a network address: no connection to a UNIX socket is intercepted"},
           {redirecting("", "0.0.0.0:0"), "/address: needs a fixed port: the rules of the packet filter name it"},
           {redirecting("", "0.0.0.0:25"),
            "/ports: 25 is the port of this listener itself: connections to it are refused as direct ones"},
           {redirecting("", "[fe80::1]:2525"),
            "/address: is a link-local address, which rules of the packet filter cannot name; listen on [::]"},
           {redirecting("", "127.0.0.1:2525"),
            "/address: 127.0.0.1:2525 is never reached by a redirected connection, which arrives at the address of "
            "its interface; listen on 0.0.0.0:2525"},
           {redirecting(R"(,"direction":"outgoing","scopes":["output","forward"])", "[::1]:2525"),
            "/address: [::1]:2525 is never reached by a redirected connection, which arrives at the address of its "
            "interface; listen on [::]:2525"},
           {redirecting(R"(,"direction":"outgoing")"),
            "/scopes: \"input\" takes connections to this host itself, whose mail is incoming; outgoing mail has the "
            "scopes \"forward\" and \"output\""},
           {tproxying(R"(,"direction":"outgoing","scopes":["output"])"),
            "/scopes: \"output\" is for \"redirect\" only: other ways see no connection of this host itself"},
           {redirecting(R"(,"scopes":["input","forward"])"),
            "/scopes: \"forward\" needs protected, the networks of the servers whose incoming mail this is"},
           {redirecting(R"(,"scopes":["output"])"),
            "/scopes: \"output\" takes mail of this host itself; say \"direction\": \"outgoing\", or which networks "
            "are protected"},
           {redirecting(R"(,"direction":"outgoing","scopes":["forward"],"protected":["192.0.2.0/24"])"),
            "/protected: belongs to incoming mail; outgoing mail may go anywhere, on the intercepted ports"},
           {redirecting(R"(,"protected":["2001:db8::/32","::1"])"),
            "/protected: has no IPv4 network, and 0.0.0.0:2525 takes IPv4 alone: nothing would be intercepted; name one, "
            "or listen on [::]:2525"},
           {redirecting(R"(,"scopes":["forward"],"protected":["192.0.2.0/24"])", "[::]:2525"),
            "/protected: has no IPv6 network, and [::]:2525 takes IPv6 alone: nothing would be intercepted; name one, or "
            "listen on 0.0.0.0:2525"},
           {redirecting(R"(,"proxy_header":"any","proxy_from":["192.0.2.0/24"])"),
            "/proxy_header: cannot be where connections are intercepted: the client does not know of us"},
           {redirecting(R"(,"interfaces":["lo","eth0"])"),
            "/interfaces: connections over lo begin on this host: they belong to the scope \"output\" alone"},
           {redirecting(R"(,"interfaces":["lo"],"scopes":["input","output"])"),
            "/interfaces: connections over lo begin on this host: they belong to the scope \"output\" alone"},
           {tproxying(R"(,"interfaces":["eth0","br0"])"),
            "/intercept: \"br0\" is a bridge, where TPROXY does not work; use \"redirect\""},
           {redirecting(R"(,"interfaces":["eth 0"])"), "/interfaces/0: \"eth 0\" is no name of a network interface"},
           {redirecting(R"(,"interfaces":["abcdefghijklmnop"])"),
            "/interfaces/0: \"abcdefghijklmnop\" must have 1 to 15 characters"},
           {config_test::listener(R"(,"skip_interfaces":["eth0"])"),
            "/skip_interfaces: belongs to a listener with intercept"},
           {config_test::listener(R"(,"drop_interfaces":["eth0"])"),
            "/drop_interfaces: belongs to a listener with intercept"},
           {redirecting(R"(,"drop_interfaces":["lo"])"),
            "/drop_interfaces: connections over lo begin on this host: they belong to the scope \"output\" alone"},
           {redirecting(R"(,"interfaces":["eth0"],"skip_interfaces":["eth0"])"),
            "/skip_interfaces: \"eth0\" is in two lists of interfaces"},
           {redirecting(R"(,"skip_interfaces":["eth1","eth0"],"drop_interfaces":["eth0"])"),
            "/drop_interfaces: \"eth0\" is in two lists of interfaces"},
           {redirecting(R"(,"drop_interfaces":["eth 0"])"),
            "/drop_interfaces/0: \"eth 0\" is no name of a network interface"},
           {redirecting(R"(,"ports":[0])"), "/ports/0: 0 is no port; it is between 1 and 65535"},
           {redirecting(R"(,"ports":[65536])"), "/ports/0: 65536 is no port; it is between 1 and 65535"},
           {redirecting(R"(,"ports":[25,25])"), "/ports/1: 25 stands in this list twice"},
           {redirecting(R"(,"ports":["25"])"), "/ports/0: expects a port number, not \"25\""},
           {redirecting(R"(,"ports":[])"), "/ports: must not be empty"},
           {redirecting(R"(,"scopes":["input","inptu"])"),
            "/scopes/1: \"inptu\" is not known here, only \"input\", \"forward\" or \"output\"; did you mean "
            "\"input\"?"},
           {redirecting("", "0.0.0.0:2525", "redirekt"),
            "/intercept: \"redirekt\" is not known here, only \"none\", \"redirect\", \"tproxy\", \"pf-rdr\" or "
            "\"divert\"; did you mean \"redirect\"?"},
       }) {
    CAPTURE(each.listener);
    CHECK(told(whole(each.listener, mta)) == Lines{at + each.error});
  }
}

TEST_CASE("interception: what a listener can be") {
  for (const std::string& each :
       {redirecting(""), redirecting("", "192.0.2.7:2525"), redirecting("", "[::]:2525"), tproxying(""),
        redirecting(R"(,"scopes":["input","forward"],"protected":["192.0.2.0/24"])"),
        redirecting(R"(,"protected":["192.0.2.0/24","2001:db8::/32"])"),
        redirecting(R"(,"protected":["192.0.2.0/24","2001:db8::/32"])", "[::]:2525"),
        redirecting(R"(,"direction":"outgoing","scopes":["forward","output"])"),
        redirecting(R"(,"direction":"outgoing","scopes":["output"])", "127.0.0.1:2525"),
        redirecting(R"(,"scopes":["output"],"interfaces":["lo"])", "127.0.0.1:2525"),
        redirecting(R"(,"scopes":["output"],"protected":["192.0.2.0/24"])"),
        redirecting(R"(,"scopes":["output","input"],"interfaces":["lo","eth0"])"),
        redirecting(R"(,"interfaces":["br0"])")}) {
    CAPTURE(each);
    CHECK(told(whole(each, mta)) == Lines{"ok"});
  }
  for (const char* bridge : {R"(,"skip_interfaces":["br0"])", R"(,"drop_interfaces":["br0"])"})
    CHECK(told(whole(tproxying(bridge), mta)) == Lines{"ok"});
  CHECK(told(whole(redirecting(R"(,"drop_interfaces":["eth7"])"), mta)) ==
        Lines{"ok", "/listeners/0/drop_interfaces: this host has no interface \"eth7\" now"});
  CHECK(told(whole(redirecting(R"(,"interfaces":["eth7"])"), mta)) ==
        Lines{"ok", "/listeners/0/interfaces: this host has no interface \"eth7\" now"});
}

TEST_CASE("interception: outgoing mail of whom, where servers see it come from this host") {
  const std::string warning =
      "/listeners/0/interfaces: without them \"forward\" also takes mail of the world for servers behind this host, "
      "which "
      "would come from an address of this host and may be trusted; name the interfaces of the clients";
  const std::string outgoing = R"(,"direction":"outgoing","scopes":["forward"])";
  const std::string original = R"("mta":{"original":true})";
  struct Case {
    std::string listener, downstream;
    bool warned;
  };
  for (const Case& each : std::vector<Case>{
           {redirecting(outgoing), original, true},
           {redirecting(outgoing + R"(,"interfaces":["eth0"])"), original, false},
           {redirecting(R"(,"direction":"outgoing","scopes":["output"])"), original, false},
           {redirecting(outgoing), mta, false},  // these servers are named, and examined
           {redirecting(outgoing), R"("mta":{"original":true,"identity":"xclient"})", false},
           {redirecting(outgoing), R"("mta":{"original":true,"identity":"none"})", true},
           {tproxying(outgoing), original, false},  // as the client
           {tproxying(outgoing), spoofed, false},
           {tproxying(outgoing), R"("mta":{"original":true,"identity":"none"})", true},
       }) {
    CAPTURE(each.listener);
    CAPTURE(each.downstream);
    CHECK(told(whole(each.listener, each.downstream)) == (each.warned ? Lines{"ok", warning} : Lines{"ok"}));
  }
}

TEST_CASE("interception needs root") {
  config::Surroundings on = machine();
  on.root = false;
  CHECK(told(whole(redirecting(""), mta), on) ==
        Lines{"/listeners/0/intercept: needs root: rules and sockets for it are made by the supervisor"});
}

TEST_CASE("interception: no connection belongs to two listeners") {
  const auto second = [](const std::string& more, const std::string& address = "0.0.0.0:2526") {
    return R"(,{"name":"two","downstream":"mta","intercept":"redirect","address":")" + address + "\"" + more + "}";
  };
  const std::string networks = R"(,"scopes":["forward"],"protected":["192.0.2.0/24"])";
  const std::string to_inner = R"(,"scopes":["forward"],"protected":["192.0.2.128/25"])";
  const std::string to_others = R"(,"scopes":["forward"],"protected":["198.51.100.0/24"])";
  const std::string lan = R"(,"scopes":["forward"],"direction":"outgoing")";
  const Lines dead{"/listeners/1/ports: listener \"in\" takes the same connections already"};
  struct Case {
    std::string first, second;
    bool fits;
  };
  for (const Case& each : std::vector<Case>{
           {redirecting(""), second(""), false},
           {redirecting(""), second("", "[::]:2526"), true},
           {redirecting(""), second(R"(,"ports":[465])"), true},
           {redirecting(""), second(R"(,"ports":[465,25])"), false},
           {redirecting(R"(,"interfaces":["eth0"])"), second(R"(,"interfaces":["eth1"])"), true},
           {redirecting(R"(,"interfaces":["eth0"])"), second(R"(,"interfaces":["eth1","eth0"])"), false},
           {redirecting(R"(,"interfaces":["eth0"])"), second(""), true},  // the others
           {redirecting(""), second(R"(,"interfaces":["eth0"])"), false},
           {redirecting(R"(,"interfaces":["eth0"],"drop_interfaces":["eth1"])"), second(R"(,"interfaces":["eth1"])"),
            false},
           {redirecting(R"(,"interfaces":["eth0"],"skip_interfaces":["br0"])"), second(R"(,"interfaces":["eth1"])"),
            true},
           // One fate for both.
           {redirecting(R"(,"interfaces":["eth0"],"drop_interfaces":["br0"])"),
            second(R"(,"interfaces":["eth1"],"drop_interfaces":["br0"])"), true},
           {redirecting(R"(,"interfaces":["eth0"],"skip_interfaces":["br0"])"),
            second(R"(,"interfaces":["eth1"],"skip_interfaces":["br0"])"), true},
           // Two fates.
           {redirecting(R"(,"interfaces":["eth0"],"drop_interfaces":["br0"])"),
            second(R"(,"interfaces":["eth1"],"skip_interfaces":["br0"])"), false},
           {redirecting(R"(,"interfaces":["eth0"],"skip_interfaces":["br0"])"),
            second(R"(,"interfaces":["eth1"],"drop_interfaces":["br0"])"), false},
           {redirecting(R"(,"interfaces":["eth0"],"skip_interfaces":["eth1"])"),
            second(R"(,"interfaces":["eth1","eth2"])"), false},
           {redirecting(R"(,"interfaces":["eth0"])"), second(R"(,"interfaces":["eth1"],"drop_interfaces":["eth0"])"),
            false},
           {redirecting(networks), second(to_others), true},
           {redirecting(networks), second(to_inner), false},
           {redirecting(to_inner), second(networks), true},  // the rest of it
           {redirecting(networks), second(lan), true},
           {redirecting(lan), second(networks), false},
           {redirecting(lan), second(R"(,"scopes":["output"],"direction":"outgoing")"), true},
       }) {
    CAPTURE(each.first);
    CAPTURE(each.second);
    CHECK(told(whole(each.first + each.second, mta)) == (each.fits ? Lines{"ok"} : dead));
  }
}

TEST_CASE("interception: backends and their ways") {
  const auto with = [](const std::string& intercept, const std::string& backend) {
    return told(
        whole(redirecting("", "0.0.0.0:2525", intercept), mta, R"(,"firewall":{"backend":")" + backend + "\"}"));
  };
  for (const auto& [intercept, backends] :
       std::map<std::string, std::set<std::string>>{{"redirect", {"auto", "nft", "iptables"}},
                                                    {"tproxy", {"auto", "nft", "iptables"}},
                                                    {"pf-rdr", {"auto", "pf-openbsd", "pf-freebsd"}},
                                                    {"divert", {"auto", "pf-openbsd", "ipfw"}}})
    for (const char* backend : {"auto", "nft", "iptables", "pf-openbsd", "pf-freebsd", "ipfw"}) {
      CAPTURE(intercept);
      CAPTURE(backend);
      CHECK((with(intercept, backend) == Lines{"ok"}) == backends.contains(backend));
    }
  CHECK(with("divert", "nft") ==
        Lines{"/listeners/0/intercept: is not what the backend \"nft\" can do, which knows \"redirect\" and "
              "\"tproxy\""});
  CHECK(with("redirect", "pf-freebsd") ==
        Lines{"/listeners/0/intercept: is not what the backend \"pf-freebsd\" can do, which knows \"pf-rdr\""});
  CHECK(told(whole(config_test::listener(), mta, R"(,"firewall":{"manage":true})")) ==
        Lines{"/firewall/manage: there is nothing to manage: no listener has intercept"});
  CHECK(told(whole(redirecting(""), mta, R"(,"firewall":{"routing_table":0})")) ==
        Lines{"/firewall/routing_table: 0 is out of range; it is between 1 and 2147483647"});
}

TEST_CASE("interception: the original destination as a downstream") {
  struct Case {
    std::string listener, downstream, error;
  };
  for (const Case& each : std::vector<Case>{
           {tproxying(""), spoofed, ""},
           {redirecting(""), R"("mta":{"original":true})", ""},
           {config_test::listener(), R"("mta":{"original":true})",
            "/listeners/0/downstream: \"mta\" is the original destination, which only a listener with intercept knows"},
           {redirecting(""), spoofed,
            "/listeners/0/downstream: \"mta\" spoofs the client's address; that needs \"intercept\": \"tproxy\" or "
            "\"divert\""},
           {redirecting(""), R"("mta":{"original":false})",
            "/downstreams/mta/original: must be true; leave it out for a downstream with servers or path"},
           {redirecting(""), R"("mta":{"original":true,"servers":["192.0.2.1:26"]})",
            "/downstreams/mta: has servers and original; of servers, path and original it must have exactly one"},
           {redirecting(""), R"("mta":{"original":true,"protocol":"lmtp"})",
            "/downstreams/mta/protocol: must be \"smtp\": intercepted mail is going to a mail server"},
           {redirecting(""), R"("mta":{"original":true,"identity":"proxy-v2"})",
            "/downstreams/mta/identity: cannot be PROXY here: a port that expects its header takes no direct traffic; "
            "name a port of its own by servers"},
           {redirecting(""), R"("mta":{"original":true,"create":true})",
            "/downstreams/mta/create: belongs to a downstream with path"},
           {redirecting(""), std::string(mta) + R"(,"original":{"servers":["192.0.2.2:25"]})",
            "/downstreams/original: \"original\" is the name of the original destination; call this downstream "
            "otherwise"},
           {tproxying(""), R"("mta":{"servers":["127.0.0.1:26"],"identity":"spoof"})",
            "/downstreams/mta/servers/0: 127.0.0.1:26 cannot answer a spoofed source; write another address of this "
            "host"},
           {tproxying(""), R"("mta":{"servers":["unix:/run/x"],"identity":"spoof"})",
            "/downstreams/mta/servers/0: is no network address: there is nothing to spoof"},
           {tproxying(""), R"("mta":{"servers":["[::1]:26"],"identity":"spoof"})", ""},
           {tproxying(""), R"("mta":{"servers":["192.0.2.1:26"],"identity":"spoof"})", ""},
           {redirecting(""), R"("mta":{"servers":["192.0.2.1:26"],"identity":"spoof"})",
            "/listeners/0/downstream: \"mta\" spoofs the client's address; that needs \"intercept\": \"tproxy\" or "
            "\"divert\""},
           {config_test::listener(), R"("mta":{"servers":["192.0.2.1:26"],"identity":"spoof"})",
            "/listeners/0/downstream: \"mta\" spoofs the client's address; that needs \"intercept\": \"tproxy\" or "
            "\"divert\""},
       }) {
    CAPTURE(each.listener);
    CAPTURE(each.downstream);
    CHECK(told(whole(each.listener, each.downstream))[0] == (each.error.empty() ? "ok" : each.error));
  }
  // Nobody has to declare it, and only listeners with intercept may name it.
  CHECK(told(whole(R"({"name":"in","address":"0.0.0.0:2525","downstream":"original","intercept":"redirect"})", "")) ==
        Lines{"ok"});
  CHECK(told(whole(R"({"name":"in","address":"0.0.0.0:2525","downstream":"original"})", "")) ==
        Lines{"/listeners/0/downstream: \"original\" is the original destination, which only a listener with intercept "
              "knows"});
}

}  // namespace
