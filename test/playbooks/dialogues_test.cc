// Every file of test/dialogues, as it is, and again with the bytes of either peer arriving one by one.
#include <doctest/doctest.h>

#include <cstdlib>

#include "test/playbooks/dialogue.h"

namespace {

using playbook::Play;
using playbook::Script;

// DIALOGUE=name runs one file alone.
bool wanted(const Script& script) {
  const char* only = std::getenv("DIALOGUE");
  return only == nullptr || script.name == only;
}

void check(const Script& script, const Play& play, const char* manner) {
  const playbook::Outcome outcome = playbook::run(script, play);
  CHECK_MESSAGE(outcome.failure.empty(), outcome.failure << " (" << manner << ")\n" << outcome.transcript);
}

TEST_CASE("dialogues") {
  const auto scripts = playbook::read_scripts(DIALOGUES);
  CHECK(scripts.size() > 60);
  for (const Script& script : scripts) {
    if (!wanted(script)) continue;
    check(script, Play(), "bytes as written");
    if (script.once) continue;
    Play narrow;
    narrow.manner.window = 16;
    check(script, narrow, "peers that take sixteen octets at a time");
    Play client;
    client.manner.client_bytewise = true;
    check(script, client, "client octet by octet");
    Play downstream;
    downstream.manner.downstream_bytewise = true;
    check(script, downstream, "downstream octet by octet");
  }
}

}  // namespace
