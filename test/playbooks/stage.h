// Obeys the lines of one dialogue file in a world of its own.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "test/playbooks/harness.h"
#include "test/playbooks/script.h"

namespace playbook {

// The session did not do what the file says.
struct Mismatch {
  std::string what;
};

class Stage {
 public:
  explicit Stage(Manner manner) : world_(manner) {}
  World& world() { return world_; }

  void obey(const ScriptLine& line);  // throws Mismatch or BadScript
  // Everything that the session wrote has been named. Throws Mismatch.
  void nothing_more();

  // What is left of a line when one side has vanished: the other side and the rest of the world say what the file lets
  // them say, and nobody expects anything.
  enum class Gone { client, downstream };
  void obey_who_is_left(const ScriptLine& line, Gone gone);
  bool client_done() const { return client_done_; }  // the file has let it close or reset

 private:
  void clock(const ScriptLine& line);
  void client(std::string_view sign, const std::string& text);
  void downstream(std::size_t number, std::string_view sign, const std::string& text);
  void expect(const std::string& whom, Peer& peer, std::string_view sign, const std::string& text);
  void scanner(std::string_view sign, const std::string& text);
  void keeper(std::string_view sign, const std::string& text);
  void log(std::string_view sign, const std::string& text);
  World world_;
  std::string group_;  // of the client, not sent yet
  bool client_done_ = false;
};

}  // namespace playbook
