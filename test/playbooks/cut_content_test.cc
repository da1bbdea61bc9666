// The client's connection is cut at every twentieth of a message, and around its final dot (T:C4): the downstream gets
// nothing, the keeper gets nothing, nothing is left, and the log has one line that says so.
#include <doctest/doctest.h>

#include <set>

#include "test/playbooks/harness.h"

namespace {

using playbook::Manner;
using playbook::World;

enum class Cut { reset, close };

struct Setting {
  std::string_view name;
  std::size_t spool_memory;  // octets: more than the message, or a file takes it
  bool maildir;
  bool scans;
};
constexpr Setting settings[] = {{"in memory", 1'000'000, false, false},
                                {"in memory, scanned", 1'000'000, false, true},
                                {"in a file", 1000, false, false},
                                {"in a file, scanned", 1000, false, true},
                                {"for a maildir", 1'000'000, true, true}};

std::string message(std::size_t lines) {
  std::string text = "Subject: to be cut\r\n\r\n";
  for (std::size_t i = 0; i < lines; ++i)
    text += i % 7 == 0 ? "..two dots, and .\r\n" : "a line of text, and no more\r\n";
  return text + ".\r\n";
}

// Twentieths, and each octet of the last five but the whole.
std::set<std::size_t> places(std::size_t size) {
  std::set<std::size_t> found;
  for (std::size_t i = 0; i < 20; ++i) found.insert(size * i / 20);
  for (std::size_t behind = 1; behind <= 5; ++behind) found.insert(size - behind);
  return found;
}

void begin(World& world, const Setting& setting) {
  world.config.spool.memory = setting.spool_memory;
  world.scans = setting.scans;
  if (setting.maildir) {
    world.downstream_settings().servers.clear();
    world.downstream_settings().path = "/var/mail/%local";
  }
  const auto answer = [&world, &setting](std::string_view bytes) {
    if (!setting.maildir) world.downstream_sends(1, bytes);
  };
  world.start();
  answer("220 mta\r\n");
  world.client_sends("EHLO client.example.com\r\n");
  answer("250-mta\r\n250 PIPELINING\r\n");
  for (const std::string_view command : {"MAIL FROM:<anna@example.com>\r\n", "RCPT TO:<bert@example.net>\r\n"}) {
    world.client_sends(command);
    answer("250 Ok\r\n");
  }
  world.client_sends("DATA\r\n");
}

// Empty, or what went wrong.
std::string cut_at(const Setting& setting, Manner manner, Cut how, std::string_view sent) {
  World world(manner);
  begin(world, setting);
  const bool asked = world.client.received().find("\r\n354 ") != std::string::npos;
  if (!asked) return "no 354: " + world.client.received();
  world.client_sends(sent);
  how == Cut::reset ? world.client.reset() : world.client.finish();
  world.settle();
  if (!setting.maildir && world.downstream(1).end() == playbook::Peer::End::open)
    world.downstream_sends(1, "221 Bye\r\n");
  world.pass(std::chrono::minutes(10));
  if (world.handed_over() != 0) return "a cut message was handed over";
  if (!setting.maildir)
    for (const std::string& command : world.downstream_witness(1).commands())
      if (command == "DATA") return "the downstream was asked for DATA";
  if (!world.scanner.seen().empty()) return "a cut message was scanned";
  if (world.in_flight.ever() != 0) return "a cut message was in flight";
  if (world.log.empty() || world.log.back().find("outcome=client_gone") == std::string::npos)
    return "not told in the log";
  if (std::string broken = world.broken_rule(); !broken.empty()) return broken;
  return world.left_behind() + world.summary_rule();
}

TEST_CASE("a connection that is cut in the content leaves nothing") {
  Manner bytewise;
  bytewise.client_bytewise = true;
  Manner narrow;
  narrow.window = 16;
  std::size_t cuts = 0;
  for (const Setting& setting : settings) {
    for (const std::size_t lines : {std::size_t(0), std::size_t(1), std::size_t(150)}) {
      const std::string whole = message(lines);
      for (const Manner& manner : {Manner(), bytewise, narrow}) {
        for (const Cut how : {Cut::reset, Cut::close}) {
          for (const std::size_t place : places(whole.size())) {
            const std::string wrong = cut_at(setting, manner, how, std::string_view(whole).substr(0, place));
            CHECK_MESSAGE(wrong.empty(), std::string(setting.name)
                                             << ", cut behind " << place << " of " << whole.size() << ": " << wrong);
            ++cuts;
          }
        }
      }
    }
  }
  CHECK(cuts > 1000);
}

}  // namespace
