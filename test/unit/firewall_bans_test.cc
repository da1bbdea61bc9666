#include <doctest/doctest.h>

#include "firewall/ban_lists.h"

namespace {

using firewall::AddressRange;
using firewall::Ban;
using std::chrono::seconds;

config::Netmask net(const std::string& text) { return config::parse_netmask(text).value(); }

TEST_CASE("bans: as ipset writes them") {
  const std::string text =
      "create gatepost4-banned hash:net family inet hashsize 1024 maxelem 1000000 timeout 0 comment bucketsize 12\n"
      "add gatepost4-banned 192.0.2.1 timeout 3599\n"
      "add gatepost4-banned 198.51.100.0/24 timeout 0 comment \"infected, listener in\"\n"
      "add gatepost4-other 203.0.113.9 timeout 5\n"
      "add gatepost4-banned 203.0.113.9 packets 0 bytes 0 timeout 7 comment \"by hand timeout 9\"\n"
      "add gatepost4-banned\nadd\n\nadd gatepost4-banned 203.0.113.10 timeout\nadd gatepost4-banned 203.0.113.11";
  CHECK(firewall::bans_in(text, "gatepost4-banned") ==
        std::vector<Ban>{{"192.0.2.1", seconds(3599)},
                         {"198.51.100.0/24", seconds(0), "infected, listener in"},
                         {"203.0.113.9", seconds(7), "by hand timeout 9"},
                         {"203.0.113.10", seconds(0)},
                         {"203.0.113.11", seconds(0)}});
  CHECK(firewall::bans_in("", "x").empty());
  CHECK(firewall::bans_in("add x 192.0.2.1 comment \"", "x") == std::vector<Ban>{{"192.0.2.1", seconds(0)}});
}

TEST_CASE("bans: as nft writes them") {
  const std::string text =
      R"({"nftables": [{"metainfo": {"version": "1.0.6"}}, {"set": {"family": "inet", "name": "banned4", "elem": [)"
      R"({"elem": {"val": "192.0.2.1", "timeout": 3600, "expires": 3599, "comment": "infected, listener in"}},)"
      R"({"prefix": {"addr": "198.51.100.0", "len": 24}}, "203.0.113.9",)"
      R"({"elem": {"val": {"prefix": {"addr": "2001:db8::", "len": 64}}, "timeout": 2, "expires": 0}},)"
      R"({"elem": {"val": "203.0.113.10", "comment": "by hand"}}, 7, {"range": ["192.0.2.7", "192.0.2.9"]}, {"elem": 1}]}}]})";
  CHECK(firewall::bans_in_nft(text) == std::vector<Ban>{{"192.0.2.1", seconds(3599), "infected, listener in"},
                                                        {"198.51.100.0/24", seconds(0)},
                                                        {"203.0.113.9", seconds(0)},
                                                        {"2001:db8::/64", seconds(1)},
                                                        {"203.0.113.10", seconds(0), "by hand"}});
  const auto ranges = firewall::ranges_in_nft(text);
  CHECK(ranges.size() == 6);
  CHECK(ranges.back() == AddressRange{net("192.0.2.7").network, net("192.0.2.9").network});
  for (const char* odd : {"", "{", "[]", R"({"nftables": 1})", R"({"nftables": [{"set": {"elem": "x"}}]})",
                          R"({"nftables": [{"set": {}}]})"}) {
    CHECK(firewall::bans_in_nft(odd).empty());
    CHECK(firewall::ranges_in_nft(odd).empty());
  }
}

TEST_CASE("bans: what touches what") {
  const auto touch = [](const char* one, const char* other) {
    return firewall::touch(firewall::range_of(net(one)), firewall::range_of(net(other)));
  };
  CHECK(touch("192.0.2.0/24", "192.0.2.255"));
  CHECK(touch("192.0.2.255", "192.0.2.0/24"));
  CHECK(touch("0.0.0.0/0", "192.0.2.1"));
  CHECK_FALSE(touch("192.0.2.0/24", "192.0.3.0"));
  CHECK_FALSE(touch("192.0.2.0/25", "192.0.2.128/25"));
  CHECK(touch("2001:db8::/32", "2001:db8:ffff::1"));
  CHECK_FALSE(touch("2001:db8::/32", "192.0.2.1"));
  CHECK(overlap(net("192.0.2.0/24"), net("192.0.2.7")));
  CHECK(overlap(net("192.0.2.7"), net("192.0.2.0/24")));
  CHECK_FALSE(overlap(net("192.0.2.7"), net("192.0.2.8/29")));
}

TEST_CASE("bans: where a ban for an offence belongs") {
  const auto place = [](const char* network, const char* client, std::vector<Ban> banned, bool nested) {
    const auto found = firewall::place_of_offence(net(network), net(client), seconds(60), banned, nested);
    return found.before ? "before: " + found.before->network : found.network.text;
  };
  const auto both = [&](const char* network, const char* client, const std::vector<Ban>& banned) {
    const std::string one = place(network, client, banned, false), other = place(network, client, banned, true);
    return one == other ? one : "nft " + one + ", ipset " + other;
  };
  const char *alone = "192.0.2.7", *wide = "2001:db8::/64", *client = "2001:db8::7";
  CHECK(both(alone, alone, {}) == "192.0.2.7");
  CHECK(both(alone, alone, {{"192.0.2.8", seconds(0)}, {"x", seconds(0)}, {"2001:db8::/32", seconds(0)}}) == alone);
  // Nothing is made shorter.
  CHECK(both(alone, alone, {{alone, seconds(59)}}) == alone);
  for (const int left : {60, 61, 0}) {
    CHECK(both(alone, alone, {{alone, seconds(left)}}) == "before: 192.0.2.7");
    CHECK(both(alone, alone, {{"192.0.2.0/24", seconds(left)}}) == "before: 192.0.2.0/24");
    CHECK(both(wide, client, {{wide, seconds(left)}}) == "before: 2001:db8::/64");
  }
  CHECK(both(alone, alone, {{"192.0.2.0/24", seconds(59)}}) == "nft before: 192.0.2.0/24, ipset 192.0.2.7");
  // Nobody in a network keeps the others of it from being banned.
  CHECK(both(wide, client, {{"2001:db8::8", seconds(60)}, {client, seconds(1)}}) == wide);
  CHECK(both(wide, client, {{"2001:db8::8", seconds(61)}}) == "nft 2001:db8::7, ipset 2001:db8::/64");
  CHECK(both(wide, client, {{"2001:db8::8", seconds(0)}, {client, seconds(1)}}) ==
        "nft 2001:db8::7, ipset 2001:db8::/64");
  CHECK(both(wide, client, {{client, seconds(0)}}) == "nft before: 2001:db8::7, ipset 2001:db8::/64");
  CHECK(both(wide, client, {{"2001:db8::/96", seconds(0)}}) == "nft before: 2001:db8::/96, ipset 2001:db8::/64");
}

TEST_CASE("bans: a reason is nothing that a packet filter could obey") {
  CHECK(firewall::as_comment("infected, listener in-1.a_b") == "infected, listener in-1.a_b");
  CHECK(firewall::as_comment("a\" } ; flush ruleset\n$(x)\\") == "a_ _ _ flush ruleset___x__");
  CHECK(firewall::as_comment(std::string(500, 'x')).size() == 100);
}

}  // namespace
