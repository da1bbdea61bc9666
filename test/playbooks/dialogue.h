// Runs a dialogue file against one session in a world of its own.
#pragma once

#include <string>

#include "test/playbooks/harness.h"
#include "test/playbooks/script.h"

namespace playbook {

// What happens in the middle of a dialogue: the session is stopped, or destroyed where it stands, an allocation fails,
// or one of its peers vanishes (the youngest connection downstream) while the others go on as the file says.
enum class Blow { none, stop, destroy, starve, client_reset, client_close, downstream_reset, downstream_close };

struct Play {
  Manner manner;
  Blow blow = Blow::none;
  std::size_t blow_at = 0;  // the step after which it falls; starve: the allocation that fails
};

struct Outcome {
  std::string failure;     // empty: all went as written and no rule was broken
  std::string transcript;  // what happened, with the lines of the file
  std::size_t steps = 0;
  std::size_t octets = 0;  // on the wire, from and to the session
  bool struck = false;     // the blow fell before the dialogue was over
};

Outcome run(const Script& script, const Play& play);

}  // namespace playbook
