// What the log is told, how often, and what at the end.
#include <doctest/doctest.h>

#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "proxy/session/complaints.h"
#include "proxy/totals.h"
#include "scanner/packet_socket.h"

namespace {

using std::chrono::seconds;

TEST_CASE("complaints: once a minute each; past those that can be known all further ones are one") {
  session::Complaints complaints;
  io::TimePoint now{seconds(1000)};
  CHECK(complaints.may_be_told("a", now));
  CHECK_FALSE(complaints.may_be_told("a", now + seconds(59)));
  CHECK(complaints.may_be_told("a", now + seconds(60)));
  now += seconds(61);
  std::size_t told = 0;
  for (int i = 0; i < 5000; ++i) told += complaints.may_be_told(std::to_string(i), now) ? 1 : 0;
  CHECK(told == session::Complaints::most_known);
  CHECK_FALSE(complaints.may_be_told("a", now));
  CHECK(complaints.may_be_told("of the next minute", now + seconds(60)));
  CHECK_FALSE(complaints.may_be_told("of the next minute", now + seconds(61)));
  complaints.forget();
  CHECK(complaints.may_be_told("of the next minute", now + seconds(61)));
}

std::string content_of(int file) {
  std::string content(65536, ' ');
  const ssize_t got = ::pread(file, content.data(), content.size(), 0);
  content.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return content;
}

TEST_CASE("totals: what grew in an hour, and at the end all of it") {
  const scanner::OwnedFd file(::memfd_create("log", MFD_CLOEXEC));
  config::Config config;
  config.log.format = config::LogFormat::text;
  config.log.to = "stderr";
  config.listeners.resize(2);
  config.listeners[0].name = "in";
  config.listeners[1].name = "out";
  config.listeners[1].direction = config::Direction::outgoing;
  Refusals refusals;
  session::WithheldSets sets;
  session::WithheldLog withheld(sets);
  const io::TimePoint now{seconds(1000)};
  {
    admin::Log log(config.log, "gatepost/proxy", file.get(), 0);
    Totals totals(log, config, refusals, sets);
    totals.look(now);
    withheld.news("in", "mta", "192.0.2.1:25", {"BURL"});
    totals.look(now + Totals::between);
    withheld.news("in", "mta", "192.0.2.1:25", {"ETRN"});
    CHECK(content_of(file.get()).find("ETRN") == std::string::npos);
    withheld.news("out", "mta", "192.0.2.1:25", {"BURL"});
    refusals.add(Refusal::loop, 1, {}, now);
    refusals.add(Refusal::xclient_from, 0, {}, now);
    totals.end();
  }
  const std::string log = content_of(file.get());
  const auto count = [&](const std::string& text) {
    std::size_t found = 0;
    for (std::size_t at = log.find(text); at != std::string::npos; at = log.find(text, at + 1)) ++found;
    return found;
  };
  CAPTURE(log);
  CHECK(count("\"BURL\"") == 3);
  CHECK(count("\"ETRN\"") == 1);
  CHECK(count("event=withheld_total, listener=in, downstream=mta") == 3);
  CHECK(count("event=withheld_total, listener=out, direction=outgoing, downstream=mta") == 1);
  CHECK(count("event=refused_total, reason=loop, listener=out, direction=outgoing, clients=1") == 1);
  CHECK(count("event=identity_refused_total, reason=xclient_from, listener=in, attempts=1") == 1);
}

}  // namespace
