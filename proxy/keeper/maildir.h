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

// The directories that are to be fsynced before what lies below them is durable: those in which this process made a
// directory, and, once, those in which it found one. A keeper that was killed may have made that and not synced it, and
// nothing on the disk tells.
class DirectorySyncs {
 public:
  void made_entry(const std::string& directory) { pending_.insert(directory); }
  void found_entry(const std::string& directory);
  // No longer pending: it is on the disk, or it is not there any more and whoever makes it anew says so.
  void synced(const std::string& directory);
  void gone(const std::string& directory) { pending_.erase(directory); }
  const std::set<std::string>& pending() const { return pending_; }
  // Those among them that the mailbox lies in, and itself.
  std::set<std::string> pending_above(const std::string& mailbox) const;

 private:
  std::set<std::string> pending_;
  std::set<std::string> synced_;  // since the start, or since the set was full
};

// Makes what is missing: with `create` the mailbox and the directories above it, always tmp, new and cur, all 0700.
std::expected<void, Failure> make_ready(const std::string& mailbox, bool create, DirectorySyncs& syncs);

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
