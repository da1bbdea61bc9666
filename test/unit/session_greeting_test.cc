// What a client reads of the server behind, and what the log tells of the rest.
#include <doctest/doctest.h>

#include <algorithm>

#include "proxy/session/disguise.h"
#include "proxy/session/withheld_log.h"

namespace {

using protocol::Reply;
using Lines = std::vector<std::string>;

TEST_CASE("our EHLO reply in the server's shape") {
  const Lines servers{
      "mta at your service", "size 5000", "AUTH PLAIN GSSAPI", "X-OWN", "AUTH=PLAIN", "8bitMIME", "SIZE"};
  protocol::Capabilities offered;
  offered.size = offered.eight_bit_mime = offered.starttls = true;
  offered.auth = {"PLAIN"};
  offered.size_limit = 5000;
  const Lines same{"mta at your service", "size 5000", "AUTH PLAIN", "8bitMIME", "STARTTLS"};
  CHECK(session::disguised(Reply(250, std::nullopt, servers), offered) == Reply(250, std::nullopt, same));
  offered.size_limit = 100;
  const Lines smaller{"mta at your service", "SIZE 100", "AUTH PLAIN", "8bitMIME", "STARTTLS"};
  CHECK(session::disguised(Reply(250, std::nullopt, servers), offered) == Reply(250, std::nullopt, smaller));
  CHECK(session::disguised(Reply(250, std::nullopt, "mta"), protocol::Capabilities()) ==
        Reply(250, std::nullopt, "mta"));
}

TEST_CASE("withheld keywords are told once for each listener, server and set, whichever loop sees them") {
  session::WithheldSets sets;
  session::WithheldLog log(sets), of_another_loop(sets);
  CHECK(log.news("in", "mta", "192.0.2.1:25", {}).empty());
  CHECK(log.news("in", "mta", "192.0.2.1:25", {"BURL", "AUTH GSSAPI"}) == "192.0.2.1:25: BURL, AUTH GSSAPI");
  CHECK(log.news("in", "mta", "192.0.2.1:25", {"BURL", "AUTH GSSAPI"}).empty());
  CHECK(of_another_loop.news("in", "mta", "192.0.2.1:25", {"BURL", "AUTH GSSAPI"}).empty());
  CHECK_FALSE(log.news("in", "mta", "192.0.2.1:25", {"BURL"}).empty());
  CHECK_FALSE(log.news("in", "mta", "192.0.2.2:25", {"BURL"}).empty());
  CHECK_FALSE(log.news("out", "mta", "192.0.2.2:25", {"BURL"}).empty());
}

TEST_CASE("greetings without them are counted for each listener, downstream and set, and told where there were more") {
  session::WithheldSets sets;
  session::WithheldLog log(sets), of_another_loop(sets);
  CHECK(sets.grown().empty());
  for (const char* server : {"192.0.2.1:25", "192.0.2.2:25"}) log.news("in", "mta", server, {"BURL", "ETRN"});
  of_another_loop.news("in", "mta", "192.0.2.1:25", {"BURL", "ETRN"});
  log.news("out", "mta", "192.0.2.1:25", {"ETRN"});
  auto grown = sets.grown();
  REQUIRE(grown.size() == 2);
  CHECK(grown[0].listener == "in");
  CHECK(grown[0].downstream == "mta");
  CHECK(grown[0].keywords == "BURL, ETRN");
  CHECK(grown[0].greetings == 3);
  CHECK(grown[1].listener == "out");
  CHECK(grown[1].greetings == 1);
  log.news("in", "mta", "192.0.2.1:25", {"BURL", "ETRN"});
  grown = sets.grown();
  REQUIRE(grown.size() == 1);
  CHECK(grown[0].greetings == 4);
  CHECK(sets.grown().empty());
}

TEST_CASE("a server that invents keywords without end costs no memory, and all are counted") {
  session::WithheldSets sets;
  session::WithheldLog log(sets);
  for (int i = 0; i < 3000; ++i) CHECK_FALSE(log.news("in", "mta", "192.0.2.1:25", {"X" + std::to_string(i)}).empty());
  std::uint64_t greetings = 0;
  const auto grown = sets.grown();
  CHECK(grown.size() == session::WithheldSets::most + 1);
  for (const session::WithheldCount& each : grown) greetings += each.greetings;
  CHECK(greetings == 3000);
}

TEST_CASE("a set is no longer than a line of the log shows") {
  session::WithheldSets sets;
  session::WithheldLog log(sets);
  const std::vector<std::string> many(100'000, "LIMITS A");
  const std::string first = log.news("in", "mta", "192.0.2.1:25", many);
  CHECK(first.size() < 600);
  std::vector<std::string> others = many;
  others.push_back("BURL");
  CHECK(log.news("in", "mta", "192.0.2.1:25", others).empty());
  const auto grown = sets.grown();
  REQUIRE(grown.size() == 1);
  CHECK(grown[0].keywords.size() == session::WithheldLog::most_octets + 1);  // and so it is shown as cut
  CHECK(grown[0].greetings == 2);
}

TEST_CASE("a listener whose clients choose strange servers leaves the sets of others as they are") {
  session::WithheldSets sets;
  session::WithheldLog log(sets);
  for (int i = 0; i < 3000; ++i) log.news("out", "original", "192.0.2.1:25", {"X" + std::to_string(i)});
  log.news("in", "mta", "192.0.2.2:25", {"BURL"});
  const auto grown = sets.grown();
  CHECK(grown.size() == session::WithheldSets::most + 2);
  CHECK(grown.front().listener == "in");
  CHECK(grown.front().keywords == "BURL");
  const auto is_of_others = [](const session::WithheldCount& each) { return each.keywords == "others"; };
  const auto others = std::ranges::find_if(grown, is_of_others);
  REQUIRE(others != grown.end());
  CHECK(others->listener == "out");
  CHECK(others->greetings == 3000 - session::WithheldSets::most);
}

TEST_CASE("the numbers of the whole life have what has not grown since it was told") {
  session::WithheldSets sets;
  session::WithheldLog log(sets);
  log.news("in", "mta", "192.0.2.1:25", {"BURL"});
  CHECK(sets.grown().size() == 1);
  log.news("in", "mta", "192.0.2.1:25", {"ETRN"});
  const auto all = sets.in_all();
  REQUIRE(all.size() == 2);
  CHECK(all[0].keywords == "BURL");
  CHECK(all[0].greetings == 1);
  CHECK(sets.grown().size() == 1);
}

}  // namespace
