// Which deliveries were accepted of messages that their client has to send again, because other recipients were not
// (dialogue.md D6). A key stands for one message to one recipient; what it is made of is the session's affair.
//
// One file of records, all of one size, each with a checksum: a record is there whole or not at all, and what a crash
// has torn is skipped without losing its neighbours. remember() and forget() append and fsync; when most records are
// dead, the living ones are written to a new file that takes the place of the old one. The index is in memory.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <expected>
#include <map>
#include <string>
#include <string_view>
#include <utility>

#include "proxy/keeper/request.h"
#include "scanner/packet_socket.h"

namespace keeper {

class Journal {
 public:
  static constexpr std::int64_t kept_seconds = 5 * 24 * 60 * 60;  // as long as senders try (RFC 5321 4.5.4.1)
  static constexpr std::size_t most_keys = 200'000;               // past it the oldest go

  // `path` is the file; its directory exists. Nothing is read before the first use.
  explicit Journal(std::string path, std::size_t most = most_keys) : path_(std::move(path)), most_(most) {}

  // The time is in seconds since 1970. The error says what failed, for the log; then nothing is known of any key.
  std::expected<bool, std::string> knows(std::string_view key, std::int64_t now);
  // Durable when this returns without an error. After an error the keys may be known or not.
  std::expected<void, std::string> remember(std::string_view keys, std::int64_t now);  // one behind the other
  std::expected<void, std::string> forget(std::string_view keys, std::int64_t now);

  // What the operator should hear of, once: records that were skipped, a file that was put aside, keys that had to go.
  std::string take_notice() { return std::exchange(notice_, {}); }
  std::size_t size() const { return known_.size(); }
  std::size_t held() const { return age_.size(); }  // in memory, for keys that are forgotten, too

 private:
  using Key = std::array<char, key_octets>;
  std::expected<void, std::string> ready(std::int64_t now);
  std::expected<void, std::string> load();
  std::expected<void, std::string> append(std::string_view records);
  std::expected<void, std::string> compact();
  void put_in_order();
  void take(const Key& key, std::int64_t time);
  void expire(std::int64_t now);
  void say(const std::string& sentence) { notice_ += (notice_.empty() ? "" : "; ") + sentence; }

  std::string path_;
  std::size_t most_;
  scanner::OwnedFd file_;                         // none: load before use
  bool suspect_ = false;                          // an append failed: the file is to be written anew
  std::uint64_t records_ = 0;                     // in the file, dead ones too
  std::map<Key, std::int64_t> known_;             // -> when
  std::deque<std::pair<std::int64_t, Key>> age_;  // oldest first; may hold keys that are forgotten
  std::string notice_;
};

}  // namespace keeper
