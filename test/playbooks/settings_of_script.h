// `set KEY VALUE` of a dialogue file: the configuration keys that dialogues change, by their names in the manual.
#pragma once

#include <string_view>

#include "proxy/io/loop.h"
#include "test/playbooks/harness.h"

namespace playbook {

void set_key(World& world, std::string_view key, std::string_view value);  // throws BadScript
io::Duration duration_of(std::string_view text);                           // "30s", "500ms"
scanner::Report report_of(std::string_view text);                          // "infected Eicar", "error crashed", "clean"
keeper::Answer::Status status_of(std::string_view text);                   // "no_mailbox"

}  // namespace playbook
