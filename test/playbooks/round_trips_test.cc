// How often somebody waits for somebody in a session, counted: the client for us, and we for the downstream. With a
// server of its own a client waits once for each group of commands that it sends together (RFC 2920); so it does here.
#include <doctest/doctest.h>

#include <string>
#include <utility>
#include <vector>

#include "test/playbooks/harness.h"

namespace {

using playbook::Peer;
using playbook::World;
using Groups = std::vector<std::string>;

struct Trips {
  std::size_t client = 0;      // groups, each answered whole and in one piece before the next one
  std::size_t downstream = 0;  // times that the client's replies had to wait for the server
};

// A server that answers whatever has come, at once and together.
class Server {
 public:
  explicit Server(std::string keywords) : keywords_(std::move(keywords)) {}

  std::string answer(std::string heard) {
    std::string replies;
    for (heard = rest_ + heard, rest_.clear(); !heard.empty();) {
      if (expected_ > 0) {  // octets of a chunk
        const std::size_t taken = std::min(expected_, heard.size());
        heard.erase(0, taken);
        expected_ -= taken;
        if (expected_ == 0) replies += "250 2.0.0 Ok\r\n";
        continue;
      }
      const std::size_t end = heard.find(in_content_ ? "\r\n.\r\n" : "\r\n");
      if (end == std::string::npos) break;
      const std::string line = heard.substr(0, end);
      heard.erase(0, end + (in_content_ ? 5 : 2));
      replies += std::exchange(in_content_, false) ? "250 2.0.0 Ok\r\n" : reply_to(line);
    }
    rest_ = heard;
    return replies;
  }

 private:
  std::string reply_to(const std::string& line) {
    if (line.starts_with("EHLO")) return "250-mta\r\n" + keywords_ + "250 8BITMIME\r\n";
    if (line.starts_with("BDAT ")) {
      expected_ = std::stoul(line.substr(5));
      return {};
    }
    if (line == "DATA") {
      in_content_ = true;
      return "354 Go ahead\r\n";
    }
    return "250 2.0.0 Ok\r\n";
  }

  std::string keywords_, rest_;
  bool in_content_ = false;
  std::size_t expected_ = 0;
};

std::size_t replies_in(const std::string& text) {
  std::size_t count = 0;
  for (std::size_t line = 0; line + 4 <= text.size(); line = text.find("\r\n", line) + 2) count += text[line + 3] == ' ';
  return count;
}

std::size_t commands_in(const std::string& group, bool content) {
  if (content) return 1;
  const std::size_t chunk = group.find("BDAT ");
  std::size_t count = 0;
  for (std::size_t at = group.find("\r\n"); at != std::string::npos; at = group.find("\r\n", at + 2)) {
    ++count;
    if (chunk != std::string::npos && at > chunk) break;  // the octets of the chunk
  }
  return count;
}

// From EHLO to the reply to the end of data.
Trips count(const std::string& keywords, const Groups& groups, bool scans = false) {
  World world;
  world.scans = scans;
  world.start();
  world.downstream_sends(1, "220 mta\r\n");
  CHECK(replies_in(world.client.take(Peer::unlimited)) == 1);
  Server server(keywords);
  Trips trips;
  bool content = false;
  std::size_t pieces = 0;
  world.heard = [&pieces](std::string_view who, std::string_view) { pieces += who == "C" ? 1 : 0; };
  for (const std::string& group : groups) {
    CAPTURE(group);
    pieces = 0;
    world.client_sends(group);
    ++trips.client;
    while (replies_in(world.client.received()) < commands_in(group, content)) {
      if (world.scanner.open_jobs() > 0) world.scanner.report(scanner::Report());
      world.settle();
      const std::string heard = world.downstream(1).take(Peer::unlimited);
      CAPTURE(heard);
      REQUIRE_FALSE(heard.empty());  // else the client would wait for ever
      ++trips.downstream;
      world.downstream_sends(1, server.answer(heard));
    }
    CHECK(pieces == (group.find("BDAT") < group.find("Hello") && group.starts_with("MAIL") ? 2 : 1));  // before and after the chunk
    const std::string told = world.client.take(Peer::unlimited);
    CHECK(replies_in(told) == commands_in(group, content));
    content = told.starts_with("354 ") || told.find("\r\n354 ") != std::string::npos;
  }
  CHECK_FALSE(content);
  CHECK(world.messages_downstream() == 1);
  return trips;
}

const std::string ehlo = "EHLO client.example.com\r\n", mail = "MAIL FROM:<anna@example.com>\r\n",
                  rcpt = "RCPT TO:<bert@example.net>\r\n", more = "RCPT TO:<carl@example.net>\r\n", data = "DATA\r\n",
                  content = "Subject: x\r\n\r\nHello\r\n.\r\n", chunk = "BDAT 19 LAST\r\nSubject: x\r\n\r\nHello";
const std::string pipelining = "250-PIPELINING\r\n", chunking = "250-CHUNKING\r\n";

TEST_CASE("round trips: one command at a time, as many on either side as without us") {
  const Groups groups{ehlo, mail, rcpt, more, data, content};
  for (const bool scans : {false, true}) {
    const Trips trips = count("", groups, scans);
    CHECK(trips.client == groups.size());
    CHECK(trips.downstream == groups.size());  // DATA waits with us for the verdict: the 354 is ours, and theirs comes later
    CHECK(count(pipelining, groups, scans).downstream == groups.size());
  }
}

TEST_CASE("round trips: a group stays a group, and BDAT spares the wait for a 354") {
  const Groups groups{ehlo, mail + rcpt + more + data, content};
  for (const bool scans : {false, true}) {
    CHECK(count(pipelining + chunking, groups, scans).downstream == groups.size());
    // Without CHUNKING the server's 354 is one more: nothing of a message may go there before the verdict (D3).
    CHECK(count(pipelining, groups, scans).downstream == groups.size() + 1);
    CHECK(count(pipelining, groups, scans).client == groups.size());
  }
}

TEST_CASE("round trips: chunks of the client, with the envelope in one group") {
  const Trips apart = count(pipelining + chunking, {ehlo, mail + rcpt, chunk});
  CHECK(apart.client == 3);
  CHECK(apart.downstream == 3);
  const Trips together = count(pipelining + chunking, {ehlo, mail + rcpt + chunk});
  CHECK(together.client == 2);
  CHECK(together.downstream == 3);  // the recipients are asked about before the content is scanned
}

}  // namespace
