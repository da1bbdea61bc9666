// Maildirs: where a recipient's mailbox lies, that it is there, and what one message in it is called
// (https://cr.yp.to/proto/maildir.html).
#pragma once

#include <cstdint>
#include <expected>
#include <set>
#include <string>
#include <string_view>

#include "proxy/keeper/failure.h"
#include "proxy/keeper/request.h"

namespace keeper {

// The pattern with %local, %domain (in lower case) and %% filled in. What could lead out of the place that the
// administrator meant is bad_name, never repaired: a local part or domain that is empty, begins with a dot, holds "..",
// '/', NUL or another control character, or has more than 200 octets; a result with a component over 255 octets.
// Any other % in the pattern is failed.
std::expected<std::string, Failure> expand(std::string_view pattern, const Recipient& recipient);

// Does the mailbox exist, or may it be made? no_mailbox when neither.
std::expected<void, Failure> look_up(const std::string& mailbox, bool create);

// Makes what is missing: with `create` the mailbox and the directories above it, always tmp, new and cur, all 0700.
// Directories that got a new entry are added to `changed`; they are to be fsynced before anything in them is durable.
std::expected<void, Failure> make_ready(const std::string& mailbox, bool create, std::set<std::string>& changed);

// Removes files in tmp/ that are older than 36 hours: deliveries that a crash cut off.
void sweep_tmp(const std::string& mailbox, std::int64_t now_unix);

// Names that no other delivery to the same mailbox has: `time.M<usec>P<pid>Q<count>.<host>`.
class UniqueNames {
 public:
  explicit UniqueNames(std::string_view host);
  std::string next();

 private:
  std::string host_;  // '/' as \057 and ':' as \072
  std::uint64_t count_ = 0;
};

}  // namespace keeper
