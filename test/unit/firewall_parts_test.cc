// The parts of firewall/ that plans are carried out and checked with.
#include <doctest/doctest.h>

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>

#include "firewall/command.h"
#include "firewall/shadows.h"
#include "firewall/sockets_table.h"
#include "firewall/state.h"

namespace {

using firewall::Command;
using firewall::Diversion;
using firewall::Outcome;
using firewall::Shadow;
using firewall::State;
using firewall::TcpSocket;
using firewall::Version;

TEST_CASE("programs: what they say, and how they end") {
  const Outcome said = firewall::run({{"sh", "-c", "cat; echo out; echo err >&2; exit 7"}, "in\n"});
  CHECK(said.status == 7);
  CHECK(said.out == "in\nout\n");
  CHECK(said.err == "err\n");
  CHECK(firewall::run({{"sh", "-c", "kill -9 $$"}}).status == 128 + 9);
  const Outcome none = firewall::run({{"no-such-program", "x"}});
  CHECK(none.status == 127);
  CHECK(none.err == "no-such-program: there is no such program on this host");
  CHECK(firewall::output_of({"sh", "-c", "echo x; exit 1"}).empty());
  CHECK(firewall::output_of({"echo", "a  b", "$HOME", "*"}) == "a  b $HOME *\n");
  // Nothing of our environment, no descriptor of ours, and no name with a slash in it.
  ::setenv("LD_PRELOAD_OF_TEST", "x", 1);
  CHECK(firewall::output_of({"env"}) == "PATH=/usr/sbin:/usr/bin:/sbin:/bin\nLC_ALL=C\n");
  CHECK(firewall::output_of({"sh", "-c", "ls /proc/self/fd | wc -l"}) == "4\n");  // ls has a directory open
  CHECK(firewall::run({{"../bin/sh", "-c", "exit 0"}}).status == 127);
  CHECK(firewall::run({{"", "x"}}).status == 127);
  const std::string large(3 << 20, 'x');
  CHECK(firewall::run({{"cat"}, large}).out == large);
}

TEST_CASE("sockets of proc(5)") {
  const auto four = firewall::parse_sockets(
      "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
      "   0: 00000000:09DD 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 100 1 0 100 0 0 10 "
      "0\n"
      "   1: 017100CB:0019 097100CB:C350 01 00000000:00000000 00:00000000 00000000 64101        0 101 1 0 20 4 30 10 "
      "-1\n"
      "   2: 017100CB:0019 097100CB:C351 01 00000000:00000000 00:00000000 00000000     0        0 0 1 0 20 4 30 10 -1\n"
      "nonsense\n   3: 0171:0019 097100CB:C351 01 0:0 0:0 0 0 0 1\n   4: 017100CB:0019\n",
      Version::v4);
  CHECK(four == std::vector<TcpSocket>{
                    {"0.0.0.0", "0.0.0.0", 2525, 0, true, 0, true},
                    {"203.0.113.1", "203.0.113.9", 25, 50000, false, 64101, true},
                    {"203.0.113.1", "203.0.113.9", 25, 50001, false, 0, false},
                });
  const auto six = firewall::parse_sockets(
      "   0: B80D0120000000000000000001000000:0019 00000000000000000000000001000000:C350 01 "
      "00000000:00000000 00:00000000 00000000     7        0 101 1\n",
      Version::v6);
  CHECK(six == std::vector<TcpSocket>{{"2001:db8::1", "::1", 25, 50000, false, 7, true}});
}

// As `nft -j list ruleset` has it.
std::string chain(const std::string& family, const std::string& name, const std::string& hook, int priority,
                  const std::string& policy = "accept") {
  return R"({"chain":{"family":")" + family + R"(","table":"t","name":")" + name + R"(","type":")" +
         (hook == "nat" ? "nat" : "filter") + R"(","hook":")" + (hook == "nat" ? "prerouting" : hook) + R"(","prio":)" +
         std::to_string(priority) + R"(,"policy":")" + policy + "\"}}";
}
std::string rule(const std::string& family, const std::string& name, const std::string& expressions) {
  return R"({"rule":{"family":")" + family + R"(","table":"t","chain":")" + name + R"(","expr":[)" + expressions +
         "]}}";
}
std::string port(const std::string& right, const std::string& op = "==") {
  return R"({"match":{"op":")" + op + R"(","left":{"payload":{"protocol":"tcp","field":"dport"}},"right":)" + right +
         "}},";
}
constexpr const char* drop = R"({"drop":null})";

std::vector<Shadow> shadows(const std::vector<std::string>& parts, bool tproxy = false,
                            const std::string& interface = "") {
  std::string text = R"({"nftables":[{"metainfo":{"version":"1"}})";
  for (const std::string& each : parts) text += "," + each;
  const auto node = firewall::parse_json(text + "]}", "test");
  if (!node) MESSAGE(node.error());
  REQUIRE(node);
  Diversion diversion;
  diversion.way = tproxy ? config::Intercept::tproxy : config::Intercept::redirect;
  diversion.ports = {25, 465};
  diversion.port = 2525;
  return find_shadows(*node, diversion, config::Backend::nft, interface);
}
bool found(const std::string& expressions) {
  return !shadows({chain("inet", "c", "prerouting", -300), rule("inet", "c", expressions)}).empty();
}

// A rule for interfaces, as what comes by "near" sees it.
std::string bound(const std::string& expressions) {
  const auto found = shadows({chain("inet", "c", "prerouting", -300), rule("inet", "c", expressions),
                              rule("inet", "aside", port("25") + drop)},
                             false, "near");
  return found.empty() ? "none" : found[0].bound ? "bound" : "any";
}
std::string by(const std::string& right, const std::string& op = "==", const std::string& key = "iifname") {
  return R"({"match":{"op":")" + op + R"(","left":{"meta":{"key":")" + key + R"("}},"right":)" + right + "}},";
}

TEST_CASE("rules of others: which interfaces they are about") {
  CHECK(bound(port("25") + drop) == "any");
  CHECK(bound(by("\"near\"") + port("25") + drop) == "bound");
  CHECK(bound(by("\"near\"", "==", "iif") + drop) == "bound");
  CHECK(bound(by("\"near\"") + port("26") + drop) == "none");
  CHECK(bound(by("\"nearest\"") + port("25") + drop) == "none");
  CHECK(bound(by("\"far\"") + port("25") + drop) == "none");
  CHECK(bound(by("\"far\"", "!=") + drop) == "bound");
  CHECK(bound(by("\"near\"", "!=") + drop) == "none");
  CHECK(bound(by("\"ne*\"") + drop) == "bound");
  CHECK(bound(by(R"({"set":["far","near"]})") + drop) == "bound");
  CHECK(bound(by(R"({"set":["far"]})") + drop) == "none");
  CHECK(bound(by("\"near\"", "==", "oifname") + drop) == "none");  // about something else
  CHECK(bound(by("\"near\"") + R"({"jump":{"target":"aside"}})") == "bound");
  CHECK(bound(by("\"far\"") + R"({"jump":{"target":"aside"}})") == "none");
  const auto map = [](const std::string& sides) {
    return R"({"vmap":{"key":{"meta":{"key":"iifname"}},"data":{"set":[)" + sides + "]}}}";
  };
  CHECK(bound(map(R"(["far",{"accept":null}],["near",{"drop":null}])")) == "bound");
  CHECK(bound(map(R"(["far",{"drop":null}],["near",{"accept":null}])")) == "none");
  CHECK(bound(map(R"(["near",{"jump":{"target":"aside"}}])")) == "bound");
}

TEST_CASE("rules of others: which ports they are about") {
  CHECK(found(port("25") + drop));
  CHECK(found(port("465") + drop));
  CHECK_FALSE(found(port("26") + drop));
  CHECK_FALSE(found(port("25") + R"({"counter":null})"));
  CHECK_FALSE(found(port("25") + R"({"accept":null})"));
  CHECK(found(port(R"({"set":[80,25]})") + drop));
  CHECK_FALSE(found(port(R"({"set":[80,26]})") + drop));
  CHECK(found(port(R"({"set":[{"range":[20,30]}]})") + drop));
  CHECK(found(port(R"({"range":[465,466]})") + drop));
  CHECK_FALSE(found(port(R"({"range":[466,467]})") + drop));
  CHECK(found(port("80", "!=") + drop));
  CHECK(found(port("25", "!=") + drop));  // 465 is another
  CHECK_FALSE(found(port(R"({"set":[25,465]})", "!=") + drop));
  CHECK(found(drop));
  CHECK(found(port("25") + R"({"counter":{"packets":0,"bytes":0}},{"reject":{"type":"tcp reset"}})"));
  CHECK(found(R"({"xt":{"type":"match","name":"multiport"}},{"xt":{"type":"target","name":"DROP"}})"));
  CHECK(found(port("25") + R"({"xt":{"type":"target","name":"NFQUEUE"}})"));
  CHECK(
      found(R"({"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[25,{"drop":null}]]}}})"));
  CHECK_FALSE(
      found(R"({"vmap":{"key":{"payload":{"protocol":"tcp","field":"dport"}},"data":{"set":[[26,{"drop":null}]]}}})"));
  // About something else than ports.
  CHECK_FALSE(
      found(R"({"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":"10.0.0.1"}},)" +
            std::string(drop)));
  // A set by its name, there or not.
  const std::string named = rule("inet", "c", port("\"@p\"") + drop), base = chain("inet", "c", "prerouting", -300);
  CHECK(shadows({base, named, R"({"set":{"family":"inet","table":"t","name":"p","elem":[22,25]}})"}).size() == 1);
  CHECK(shadows({base, named, R"({"set":{"family":"inet","table":"t","name":"p","elem":[22]}})"}).empty());
  CHECK(shadows({base, named}).size() == 1);
}

TEST_CASE("rules of others: which chains come first") {
  const auto at = [](const std::string& family, const std::string& hook, int priority, const std::string& verdict,
                     bool tproxy) {
    return shadows({chain(family, "c", hook, priority), rule(family, "c", port("25") + verdict)}, tproxy).size() == 1;
  };
  const std::string redirect = R"({"redirect":{"port":26}})";
  CHECK(at("ip", "nat", -200, redirect, false));
  CHECK(at("ip", "nat", -110, redirect, false));
  CHECK_FALSE(at("ip", "nat", -100, redirect, false));
  CHECK_FALSE(at("ip6", "nat", -200, redirect, false));
  CHECK_FALSE(at("bridge", "nat", -200, redirect, false));
  CHECK_FALSE(at("ip", "nat", -200, redirect, true));
  CHECK(at("inet", "prerouting", -150, drop, true));
  CHECK_FALSE(at("inet", "prerouting", -149, drop, true));
  CHECK(at("inet", "prerouting", -149, drop, false));
  CHECK(at("netdev", "ingress", 0, drop, false));
  CHECK_FALSE(at("inet", "forward", -300, drop, false));
  CHECK(shadows({chain("inet", "c", "prerouting", -300, "drop")}) ==
        std::vector<Shadow>{{"table inet t, chain c", "policy drop", false}});
  // What was diverted comes in on the port of the listener, or (TPROXY) on its own.
  const auto input = [](const std::string& number, bool tproxy) {
    return shadows({chain("inet", "c", "input", 0), rule("inet", "c", port(number) + drop)}, tproxy);
  };
  CHECK(input("2525", false) == std::vector<Shadow>{{"table inet t, chain c", "drop", true}});
  CHECK(input("25", false).empty());
  CHECK(input("25", true).size() == 1);
}

TEST_CASE("rules of others: through jumps, and not behind ours") {
  const std::string base = chain("ip", "c", "prerouting", -300), jump = R"({"jump":{"target":"sub"}})";
  const std::string sub = R"({"chain":{"family":"ip","table":"t","name":"sub"}})";
  CHECK(shadows({base, sub, rule("ip", "c", jump), rule("ip", "sub", port("25") + drop)}) ==
        std::vector<Shadow>{{"table ip t, chain sub", "drop", false}});
  CHECK(shadows({base, sub, rule("ip", "c", port("26") + jump), rule("ip", "sub", drop)}).empty());
  CHECK(shadows({base, sub, rule("ip", "c", jump), rule("ip", "sub", jump)}).empty());  // for ever
  const std::string ours = rule("ip", "c", R"({"jump":{"target":"GATEPOST"}})"),
                    late = rule("ip", "c", port("25") + drop);
  CHECK(shadows({base, ours, late}).empty());
  CHECK(shadows({base, late, ours}).size() == 1);
  CHECK(
      shadows({R"({"chain":{}})", R"({"rule":{"expr":[{"match":{}},{"jump":null}]}})", R"({"set":{}})", "{}"}).empty());
}

// A directory of this test's own.
struct Place {
  std::string path = "/tmp/gatepost-unit.XXXXXX";
  Place() { REQUIRE(::mkdtemp(path.data()) != nullptr); }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { std::filesystem::remove_all(path); }
};

State some_state() {
  State state{.phase = State::Phase::unconfirmed};
  state.plan.backend = config::Backend::nft;
  state.plan.apply = {{.why = "one", .command = {{"nft", "-f", "-"}, "table inet x\n\t\"quoted\"\n"}}};
  state.plan.remove = {{.why = "two",
                        .command = {{"ip", "rule", "del"}},
                        .condition = firewall::Condition{{"ip", "rule"}, "x"},
                        .when = false,
                        .may_fail = true}};
  state.previous = state.plan;
  state.previous->backend = config::Backend::iptables;
  state.before.sysctls["net.bridge.bridge-nf-call-iptables"] = "0";
  state.before.base_chains = {"ip nat"};
  state.token = "0123";
  state.deadline = 12345;
  return state;
}

TEST_CASE("what is in force is remembered") {
  const Place place;
  const std::string directory = place.path + "/state";
  REQUIRE(firewall::load_state(directory));
  CHECK_FALSE(*firewall::load_state(directory));
  const auto file = firewall::StateFile::lock(directory);
  REQUIRE(file);
  const State state = some_state();
  REQUIRE(file->save(state));
  const auto again = file->load();
  REQUIRE(again);
  REQUIRE(*again);
  CHECK((*again)->phase == state.phase);
  CHECK((*again)->plan == state.plan);
  REQUIRE((*again)->previous);
  CHECK(*(*again)->previous == *state.previous);
  CHECK((*again)->before == state.before);
  CHECK((*again)->token == state.token);
  CHECK((*again)->deadline == state.deadline);
  file->close(state);  // its time is over: nobody waits
  CHECK_FALSE(*firewall::load_state(directory));
  CHECK_FALSE(std::filesystem::exists(directory + "/firewall.json"));
}

TEST_CASE("rules are another's while the gatepost that has put them in runs") {
  State state = some_state();
  CHECK_FALSE(firewall::is_of_another(state, 1));  // asked for by hand
  state.owner = ::getpid();
  CHECK_FALSE(firewall::is_of_another(state, ::getpid()));
  CHECK_FALSE(firewall::is_of_another(state, 1));  // a number that is no gatepost's
  const Place place;
  const auto file = firewall::StateFile::lock(place.path);
  REQUIRE((file && file->save(state)));
  CHECK((*firewall::load_state(place.path))->owner == state.owner);
}

TEST_CASE("whoever waits for a confirmation hears of the end, and of nothing else") {
  const Place place;
  const auto file = firewall::StateFile::lock(place.path);
  REQUIRE(file);
  State state = some_state();
  state.phase = State::Phase::unconfirmed;
  state.deadline = static_cast<std::uint64_t>(::time(nullptr)) + 60;
  CHECK_FALSE(firewall::is_settled(place.path, state.token));  // no file
  REQUIRE(file->save(state));
  CHECK_FALSE(firewall::is_settled(place.path, state.token));
  CHECK(firewall::is_settled(place.path, "4567"));
  ::chmod(place.path.c_str(), 0777);
  CHECK_FALSE(firewall::is_settled(place.path, "4567"));
  ::chmod(place.path.c_str(), 0755);
  file->close(state);
  CHECK(firewall::is_settled(place.path, state.token));
  CHECK_FALSE(*firewall::load_state(place.path));
  file->heard("4567");
  CHECK(firewall::is_settled(place.path, state.token));
  file->heard(state.token);
  CHECK_FALSE(std::filesystem::exists(place.path + "/firewall.json"));
  state.phase = State::Phase::applied;
  REQUIRE(file->save(state));
  CHECK(firewall::is_settled(place.path, state.token));
  file->heard(state.token);
  REQUIRE(*firewall::load_state(place.path));
  CHECK((*firewall::load_state(place.path))->deadline == 0);  // and its end needs no word
}

TEST_CASE("who waits for rules that another one changes does so for a time, and then says who that is") {
  const Place place;
  const auto holder = firewall::StateFile::lock(place.path);
  REQUIRE(holder);
  const auto late = firewall::StateFile::lock(place.path, std::chrono::milliseconds(1));
  REQUIRE_FALSE(late);
  CHECK(late.error().why == firewall::NotLocked::Why::busy);
  const std::string& said = late.error().sentence;
  CHECK(said.find(" has held the lock of the rules for 1 s") != std::string::npos);
  CHECK(said.find(place.path + ": ") == 0);
  CHECK((said.find(fmt::format("(pid {})", ::getpid())) != std::string::npos ||
         said.find(": another process") != std::string::npos));  // where the file system has two numbers
}

TEST_CASE("everybody may read what is in force, whatever the umask of who put it there") {
  const Place place;
  const std::string directory = place.path + "/state";
  const auto mask = ::umask(077);
  const auto file = firewall::StateFile::lock(directory);
  REQUIRE(file);
  REQUIRE(file->save(some_state()));
  ::umask(mask);
  using std::filesystem::perms;
  CHECK(std::filesystem::status(directory).permissions() == perms(0755));
  CHECK(std::filesystem::status(directory + "/firewall.json").permissions() == perms(0644));
}

TEST_CASE("what others could have written is not believed") {
  const Place place;
  const auto file = firewall::StateFile::lock(place.path);
  REQUIRE(file);
  REQUIRE(file->save(some_state()));
  const std::string name = place.path + "/firewall.json";
  CHECK(firewall::load_state(place.path));
  ::chmod(name.c_str(), 0666);
  CHECK_FALSE(firewall::load_state(place.path));
  ::chmod(name.c_str(), 0644);
  ::chmod(place.path.c_str(), 0777);
  CHECK_FALSE(firewall::load_state(place.path));
  CHECK_FALSE(firewall::StateFile::lock(place.path));
  ::chmod(place.path.c_str(), 0755);
  CHECK(firewall::load_state(place.path));
  std::filesystem::rename(name, name + ".moved");
  std::filesystem::create_symlink(name + ".moved", name);
  CHECK_FALSE(firewall::load_state(place.path));
}

}  // namespace
