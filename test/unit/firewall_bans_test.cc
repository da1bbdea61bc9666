#include <doctest/doctest.h>

#include "firewall/bans.h"

namespace {

using firewall::Ban;
using std::chrono::seconds;

TEST_CASE("bans: as ipset writes them") {
  const std::string text =
      "create gatepost4-banned hash:net family inet hashsize 1024 maxelem 1000000 timeout 0 bucketsize 12\n"
      "add gatepost4-banned 192.0.2.1 timeout 3599\n"
      "add gatepost4-banned 198.51.100.0/24 timeout 0\n"
      "add gatepost4-other 203.0.113.9 timeout 5\n"
      "add gatepost4-banned 203.0.113.9 packets 0 bytes 0 timeout 7\n"
      "add gatepost4-banned\nadd\n\nadd gatepost4-banned 203.0.113.10 timeout\nadd gatepost4-banned 203.0.113.11";
  CHECK(firewall::bans_in(text, "gatepost4-banned") == std::vector<Ban>{{"192.0.2.1", seconds(3599)},
                                                                        {"198.51.100.0/24", seconds(0)},
                                                                        {"203.0.113.9", seconds(7)},
                                                                        {"203.0.113.10", seconds(0)},
                                                                        {"203.0.113.11", seconds(0)}});
  CHECK(firewall::bans_in("", "x").empty());
}

}  // namespace
