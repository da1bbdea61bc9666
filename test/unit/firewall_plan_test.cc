// Plans against golden texts in test/golden/firewall. GATEPOST_REWRITE_GOLDEN=1 writes them anew, for reading the diff.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "config_fixture.h"
#include "firewall/plan.h"

namespace {

using config::Backend;
using firewall::Facts;
using firewall::Plan;
using Lines = std::vector<std::string>;

const std::string directory = GATEPOST_SOURCE "/test/golden/firewall/";

std::string text_of(const std::string& name) {
  std::ifstream file(directory + name);
  std::stringstream text;
  text << file.rdbuf();
  CAPTURE(name);
  REQUIRE(file.good());
  return text.str();
}

std::string replaced(std::string text, const std::string& what, const std::string& with) {
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += with.size())
    text.replace(at, what.size(), with);
  return text;
}

config::Config config_from(const std::string& text) {
  const auto loaded = config::build({{"f", text}}, config_test::machine());
  if (!loaded)
    for (const config::Error& each : loaded.error()) MESSAGE(to_text(each));
  REQUIRE(loaded);
  return *loaded->config;
}
Facts facts_from(const std::string& name) {
  const auto facts = firewall::facts_from_json(text_of(name + ".facts.json"), name);
  if (!facts) MESSAGE(facts.error());
  REQUIRE(facts);
  return *facts;
}

Plan planned(const config::Config& config, const Facts& facts) {
  auto plan = firewall::plan(config, facts);
  if (!plan)
    for (const std::string& each : plan.error()) MESSAGE(each);
  REQUIRE(plan);
  return *std::move(plan);
}
Lines errors_of(const config::Config& config, const Facts& facts) {
  const auto plan = firewall::plan(config, facts);
  REQUIRE_FALSE(plan);
  return plan.error();
}

void check_golden(const std::string& name, const Plan& plan) {
  std::string text = in_shell(plan.apply, "apply") + "\n";
  if (!plan.step_aside.empty()) text += in_shell(plan.step_aside, "remove: new connections go by") + "\n";
  text += in_shell(plan.remove, "remove");
  for (const std::string& each : plan.warnings) text += "\n# Warning: " + each + "\n";
  if (std::getenv("GATEPOST_REWRITE_GOLDEN") != nullptr) std::ofstream(directory + name) << text;
  CAPTURE(name);
  CHECK(text == text_of(name));
  // What is kept in a file for `remove` is what was planned.
  CHECK(firewall::plan_from(node_of(plan)) == plan);
}

TEST_CASE("plans: Linux") {
  const Facts facts = facts_from("linux");
  for (const char* name : {"gateway", "spoof", "bridge", "interfaces"})
    for (const Backend backend : {Backend::nft, Backend::iptables}) {
      config::Config config = config_from(text_of(std::string(name) + ".json"));
      config.firewall.backend = backend;
      check_golden(std::string(name) + "." + std::string(firewall::to_string(backend)) + ".txt",
                   planned(config, facts));
    }
}

// This machine's kernel has no queue for nft: its text is golden only.
TEST_CASE("plans: the gate and bans") {
  Facts facts = facts_from("linux");
  facts.nft.insert("queue");
  config::Config config = config_from(text_of("gate.json"));
  check_golden("gate.nft.txt", planned(config, facts));
  config.firewall.backend = Backend::iptables;
  check_golden("gate.iptables.txt", planned(config, facts));
  config.firewall.gate = {};
  config.firewall.bans.on = true;
  config.firewall.bans.never = {*config::parse_netmask("203.0.113.0/24"), *config::parse_netmask("::1")};
  check_golden("bans.iptables.txt", planned(config, facts));
  config.firewall.backend = Backend::nft;
  check_golden("bans.nft.txt", planned(config, facts));
  config.firewall.gate = {.queue = 100};
  config.firewall.backend = Backend::automatic;
  CHECK(planned(config, facts).backend == Backend::nft);
  facts.nft.erase("bans");
  CHECK(planned(config, facts).backend == Backend::iptables);
  for (const char* each : {"NFQUEUE", "REJECT"}) {
    Facts less = facts;
    less.ip6tables.erase(each);
    CHECK(errors_of(config, less).back() ==
          fmt::format("iptables cannot do it here: the kernel does not load {} of ip6tables", each));
  }
}

TEST_CASE("plans: BSD") {
  struct Case {
    const char* system;
    const char* way;
    Backend backend;
    const char* golden;
  };
  for (const Case& each : {Case{"openbsd", "divert", Backend::pf_openbsd, "bsd.pf-openbsd.divert-to.txt"},
                           Case{"openbsd", "pf-rdr", Backend::pf_openbsd, "bsd.pf-openbsd.rdr-to.txt"},
                           Case{"freebsd", "pf-rdr", Backend::pf_freebsd, "bsd.pf-freebsd.txt"},
                           Case{"freebsd", "divert", Backend::ipfw, "bsd.ipfw.txt"}}) {
    config::Config config = config_from(replaced(text_of("bsd.json"), "@WAY@", each.way));
    const Plan plan = planned(config, facts_from(each.system));
    CHECK(plan.backend == each.backend);
    check_golden(each.golden, plan);
    config.firewall.backend = each.backend;
    CHECK(planned(config, facts_from(each.system)) == plan);
    config.firewall.backend = Backend::iptables;
    CHECK(errors_of(config, facts_from(each.system)) ==
          Lines{"firewall.backend is \"iptables\", which this system does not have"});
  }
}

TEST_CASE("plans: BSD, interfaces that are left alone or dropped") {
  struct Case {
    const char* system;
    const char* way;
    const char* golden;
  };
  for (const Case& each : {Case{"openbsd", "divert", "bsd-interfaces.pf-openbsd.txt"},
                           Case{"freebsd", "pf-rdr", "bsd-interfaces.pf-freebsd.txt"},
                           Case{"freebsd", "divert", "bsd-interfaces.ipfw.txt"}}) {
    const config::Config config = config_from(replaced(text_of("bsd-interfaces.json"), "@WAY@", each.way));
    check_golden(each.golden, planned(config, facts_from(each.system)));
  }
}

// Where the first listener that means a connection is not the one that decides, the plan says so.
TEST_CASE("plans: by pf and ipfw a later listener may take what one leaves alone or drops") {
  config::Config config = config_from(replaced(text_of("bsd-interfaces.json"), "@WAY@", "divert"));
  const auto warned = [&](const std::string& what) {
    const auto plan = firewall::plan(config, facts_from("freebsd"));
    REQUIRE(plan);
    return std::ranges::count_if(plan->warnings, [&](const std::string& each) { return each.contains(what); });
  };
  CHECK(warned("may be taken by") == 0);
  config::Listener second = config.listeners.at(1);
  second.name = "seven";
  second.skip_interfaces = {"em1"};
  second.drop_interfaces.clear();
  config.listeners.push_back(second);
  CHECK(warned("listener six: what it drops by em2 may be taken by listener seven") == 1);
  CHECK(warned("by em1 may be taken") == 0);  // both leave it alone
  config.listeners.back().skip_interfaces.clear();
  config.listeners.back().interfaces = {"em1"};
  CHECK(warned("listener six: what it leaves alone by em1 may be taken by listener seven") == 1);
  CHECK(warned("by em2 may be taken") == 0);
  config.listeners.back().ports = {465};
  CHECK(warned("may be taken by") == 0);
}

// With a gate and bans: what is dropped is asked about by nobody, what is left alone neither.
TEST_CASE("plans: interfaces beside a gate and bans") {
  Facts facts = facts_from("linux");
  facts.nft.insert("queue");
  config::Config config = config_from(text_of("interfaces.json"));
  config.firewall.gate = {.queue = 100};
  config.firewall.bans.on = true;
  config.firewall.backend = Backend::nft;
  check_golden("interfaces-gate.nft.txt", planned(config, facts));
  config.firewall.backend = Backend::iptables;
  check_golden("interfaces-gate.iptables.txt", planned(config, facts));
}

TEST_CASE("plans: the backend is nft where it can do all, else iptables, else none") {
  const config::Config gateway = config_from(text_of("gateway.json")), spoof = config_from(text_of("spoof.json"));
  Facts facts = facts_from("linux");
  CHECK(planned(gateway, facts).backend == Backend::nft);
  facts.nft.erase("tproxy");
  CHECK(planned(gateway, facts).backend == Backend::nft);
  CHECK(planned(spoof, facts).backend == Backend::iptables);
  facts.nft.erase("dnat");
  CHECK(planned(gateway, facts).backend == Backend::iptables);
  facts.nft = {};
  facts.ip6tables.erase("TPROXY");
  CHECK(errors_of(spoof, facts) ==
        Lines{"nft cannot do it here: there is no nft, or no kernel for it (package nftables)",
              "iptables cannot do it here: the kernel does not load TPROXY of ip6tables"});
  facts.iptables.erase("raw");
  facts.ip6tables.erase("raw");
  CHECK(errors_of(gateway, facts).at(1) ==
        "iptables cannot do it here: the kernel does not load raw (modprobe iptable_raw), "
        "raw of ip6tables (modprobe ip6table_raw)");
  facts.nft = {"redirect", "fib"};
  facts.iptables = facts.ip6tables = {};
  CHECK(errors_of(spoof, facts) ==
        Lines{"nft cannot do it here: the kernel does not load ct, sets, socket, tproxy, zone",
              "iptables cannot do it here: there is no iptables, or no kernel for it (package iptables)"});
  config::Config only = spoof;
  only.firewall.backend = Backend::nft;
  CHECK(errors_of(only, facts).size() == 1);
}

TEST_CASE("plans: what cannot be") {
  Facts facts = facts_from("linux");
  config::Config bridge = config_from(text_of("bridge.json"));
  for (config::Listener& each : bridge.listeners) each.intercept = config::Intercept::tproxy;
  CHECK(errors_of(bridge, facts) ==
        Lines{"listener four: br0 is a bridge, where TPROXY does not work; use \"redirect\"",
              "listener six: br0 is a bridge, where TPROXY does not work; use \"redirect\""});
  for (config::Listener& each : bridge.listeners) each.intercept = config::Intercept::divert;
  CHECK(errors_of(bridge, facts) == Lines{"listener four: \"intercept\": \"divert\" is not for this system"});
  for (config::Listener& each : bridge.listeners) each.intercept = config::Intercept::redirect;
  facts.sysctls.clear();
  CHECK(errors_of(bridge, facts).size() == 2);
  CHECK(errors_of(bridge, facts)[0] ==
        "listener four: bridged packets do not meet the packet filter: this kernel has no "
        "net.bridge.bridge-nf-call-iptables; load it with \"modprobe br_netfilter\"");
  facts = facts_from("linux");
  facts.interfaces[3].addresses = {"2001:db8:c::1"};
  CHECK(errors_of(bridge, facts) ==
        Lines{"listener four: br0 has no IPv4 address where redirected connections could arrive; give it one, or "
              "listen on an address of another interface"});
  facts = facts_from("linux");
  facts.routing_tables = {"ip 77", "ip6 78"};
  CHECK(errors_of(config_from(text_of("spoof.json")), facts) ==
        Lines{"the routing table 77 has routes already; give firewall.routing_table a number that nobody uses"});
  CHECK(errors_of(config_from(config_test::with("")), facts) == Lines{"no listener has intercept"});
}

TEST_CASE("plans: warnings") {
  Facts facts = facts_from("linux");
  facts.sysctls["net.ipv4.conf.all.src_valid_mark"] = "1";
  CHECK(planned(config_from(text_of("spoof.json")), facts).warnings ==
        Lines{"net.ipv4.conf.all.src_valid_mark is 1: IPv4 packets with our mark are dropped as martians; set it to 0 "
              "(sysctl -w net.ipv4.conf.all.src_valid_mark=0)"});
  CHECK(planned(config_from(text_of("gateway.json")), facts).warnings == Lines{});
  config::Config four = config_from(text_of("gateway.json"));
  four.listeners.resize(1);
  CHECK(planned(four, facts).warnings ==
        Lines{"this host has IPv6 addresses, but no listener intercepts IPv6: such mail goes round gatepost; add a "
              "listener on [::]"});
  for (firewall::Interface& each : facts.interfaces)
    if (!each.loopback) each.addresses.resize(1);
  CHECK(planned(four, facts).warnings == Lines{});
}

TEST_CASE("plans: bridges that no listener names") {
  Facts facts = facts_from("linux");
  config::Config config = config_from(text_of("gateway.json"));
  config.listeners.resize(1);
  config::Listener& listener = config.listeners[0];
  listener.scopes = {config::Scope::forward};
  listener.interfaces = listener.skip_interfaces = listener.drop_interfaces = {};
  listener.intercept = config::Intercept::redirect;
  for (firewall::Interface& each : facts.interfaces)
    if (!each.loopback) each.addresses.resize(1);
  CHECK(planned(config, facts).warnings == Lines{});
  facts.interfaces[3].carries = true;
  const Lines warnings = planned(config, facts).warnings;
  CHECK(warnings == Lines{"br0 is a bridge between other machines, whose packets meet no rule "
                          "(net.bridge.bridge-nf-call-iptables is not 1): mail among them goes round gatepost; if it is not "
                          "to, add it to the \"interfaces\" of listener " +
                          listener.name});
  facts.sysctls["net.bridge.bridge-nf-call-iptables"] = "1";
  CHECK(planned(config, facts).warnings == Lines{});
  listener.intercept = config::Intercept::tproxy;
  CHECK(planned(config, facts).warnings ==
        Lines{"br0 is a bridge between other machines, where TPROXY does not work: mail among them goes round gatepost; "
              "if it is not to, take \"redirect\" and add it to the \"interfaces\" of listener " +
              listener.name});
  listener.skip_interfaces = {"br0"};
  CHECK(planned(config, facts).warnings == Lines{});
  listener.skip_interfaces = {};
  listener.interfaces = {"eth0"};
  CHECK(planned(config, facts).warnings == Lines{});
  listener.interfaces = {};
  listener.scopes = {config::Scope::input};
  CHECK(planned(config, facts).warnings == Lines{});
}

TEST_CASE("plans: more ports than one match takes") {
  config::Config config = config_from(text_of("gateway.json"));
  config.firewall.backend = Backend::iptables;
  config.listeners.resize(1);
  config.listeners[0].ports.clear();
  for (std::uint16_t port = 1; port <= 31; ++port) config.listeners[0].ports.push_back(port);
  const Plan plan = planned(config, facts_from("linux"));
  std::string chains;
  for (const firewall::Step& each : plan.apply) chains += each.command.input;
  CHECK(chains.find("--dports 1,2,3,4,5,6,7,8,9,10,11,12,13,14,15 ") != std::string::npos);
  CHECK(chains.find("--dports 31 ") != std::string::npos);
}

TEST_CASE("facts: to JSON and back") {
  for (const char* name : {"linux", "openbsd", "freebsd"}) {
    const Facts facts = facts_from(name);
    const auto again = firewall::facts_from_json(to_json(facts), "again");
    REQUIRE(again);
    CHECK(*again == facts);
  }
  const auto error = [](const std::string& text) {
    const auto facts = firewall::facts_from_json(text, "f");
    return facts ? "none" : facts.error();
  };
  CHECK(error("") != "none");
  CHECK(error("[]") == "f: is no JSON object");
  CHECK(error("{}") == "f: system must be \"linux\", \"openbsd\" or \"freebsd\"");
  CHECK(error(R"({"system":"linus"})") ==
        "f: system must be \"linux\", \"openbsd\" or \"freebsd\"; did you mean \"linux\"?");
  CHECK(error(R"({"system":"linux","interface":[]})") == "f: unknown key \"interface\"; did you mean \"interfaces\"?");
  CHECK(error(R"({"system":"linux"})") == "none");
}

TEST_CASE("words of a shell") {
  CHECK(firewall::in_shell(std::vector<std::string>{"ip", "-4", "a/b:c=d"}) == "ip -4 a/b:c=d");
  CHECK(firewall::in_shell(std::vector<std::string>{"echo", "", "a b", "it's", "$(x)", "!", "<y>"}) ==
        "echo '' 'a b' 'it'\\''s' '$(x)' '!' '<y>'");
}

}  // namespace
