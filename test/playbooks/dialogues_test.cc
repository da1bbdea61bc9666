// Every file of test/dialogues is a case of its own: as it is, and again with the bytes of either peer arriving one by
// one, and with peers that read little at a time.
#include <doctest/doctest.h>

#include <string>
#include <vector>

#include "test/playbooks/dialogue.h"

namespace {

using playbook::Play;
using playbook::Script;

void check(const Script& script, const Play& play, const char* manner) {
  const playbook::Outcome outcome = playbook::run(script, play);
  CHECK_MESSAGE(outcome.failure.empty(), outcome.failure << " (" << manner << ")\n" << outcome.transcript);
}

void play_in_every_manner(const Script& script) {
  check(script, Play(), "bytes as written");
  if (script.once) return;
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

struct Dialogue {
  std::filesystem::path file;
  std::string name;
};
const std::vector<Dialogue>& dialogues() {
  static const std::vector<Dialogue> all = [] {
    std::vector<Dialogue> found;
    for (const std::filesystem::path& file : playbook::script_files(DIALOGUES)) found.emplace_back(file, file.stem());
    return found;
  }();
  return all;
}

// A case has no argument: its name says which file it is.
void current_case() {
  const std::string name = doctest::getContextOptions()->currentTest->m_name;
  for (const Dialogue& dialogue : dialogues())
    if (dialogue.name == name) return play_in_every_manner(playbook::read_script(dialogue.file));
  FAIL("no such dialogue");
}

// As TEST_CASE does it, once per file.
[[maybe_unused]] const bool registered = [] {
  using doctest::detail::TestCase;
  for (const Dialogue& dialogue : dialogues()) {
    const TestCase one(current_case, dialogue.file.c_str(), 1, doctest::detail::TestSuite());
    doctest::detail::regTest(TestCase(one) * dialogue.name.c_str());
  }
  return true;
}();

TEST_CASE("the dialogues were found") { CHECK_FALSE(dialogues().empty()); }

}  // namespace
