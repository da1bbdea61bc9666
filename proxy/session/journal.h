// The keeper's journal (keeper/journal.h) as one delivery uses it: which recipients have this message from an earlier
// attempt of the same client (dialogue.md D6).
//
// A key is SHA-256 over downstream, reverse-path, SHA-256 of the content, and forward-path: somebody who could make two
// messages of one key could have the other one withheld.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "proxy/session/downstream.h"

namespace session {

class Journal {
 public:
  Journal(const Services& services, const Parcel& parcel, io::Scope& scope)
      : services_(services), parcel_(parcel), scope_(scope) {}

  // For each recipient: '1' has it, '0' not. Nothing: the journal cannot be asked.
  io::Task<std::optional<std::string>> recall(std::string downstream, io::TimePoint until);
  // After recall(): those with '1' have it now, durably; false: perhaps not.
  io::Task<bool> remember(std::string which, io::TimePoint until);
  std::string keys_of(std::string_view which) const;

 private:
  io::Task<std::string> content_digest();
  io::Task<std::optional<std::string>> ask(keeper::Request::Kind kind, std::string keys, io::TimePoint until);

  const Services& services_;
  const Parcel& parcel_;
  io::Scope& scope_;
  std::string keys_;  // of all recipients, one behind the other
};

// The client knows how it ended and will not come again: an entry that stayed would keep an identical later message from
// its recipient. A keeper that is away or busy is asked again for 10 s. False: the entry may have stayed.
io::Task<bool> forget(const Services& services, std::string keys, io::Scope& scope);

}  // namespace session
