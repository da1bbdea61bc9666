// What a client reads of the server behind, and what the log tells of the rest.
#include <doctest/doctest.h>

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

TEST_CASE("withheld keywords are told once for each listener, server and set") {
  session::WithheldLog log;
  CHECK(log.news("in", "192.0.2.1:25", {}).empty());
  CHECK(log.news("in", "192.0.2.1:25", {"BURL", "AUTH GSSAPI"}) == "192.0.2.1:25: BURL, AUTH GSSAPI");
  CHECK(log.news("in", "192.0.2.1:25", {"BURL", "AUTH GSSAPI"}).empty());
  CHECK_FALSE(log.news("in", "192.0.2.1:25", {"BURL"}).empty());
  CHECK_FALSE(log.news("in", "192.0.2.2:25", {"BURL"}).empty());
  CHECK_FALSE(log.news("out", "192.0.2.2:25", {"BURL"}).empty());
  // A server that invents keywords without end costs no memory.
  for (int i = 0; i < 3000; ++i) CHECK_FALSE(log.news("in", "192.0.2.1:25", {"X" + std::to_string(i)}).empty());
}

}  // namespace
