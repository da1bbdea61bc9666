// Spool: the bytes of one message while we hold them. Small ones in memory, larger ones in an unlinked file of the spool
// directory. Content is written once; scanner and keeper read the same bytes through a descriptor that they cannot
// change: a sealed memfd, or a second, read-only descriptor of the file.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <expected>
#include <memory>
#include <string>
#include <string_view>

#include "scanner/packet_socket.h"

struct XXH3_state_s;

namespace io {

// Shared by all loops of a process.
class SpoolSpace {
 public:
  // `prefix` is put in front of the content in every descriptor that is given out; it is never part of the content.
  SpoolSpace(std::string directory, std::uint64_t memory_per_message, std::uint64_t memory_total, std::string prefix);
  const std::string& prefix() const { return prefix_; }
  std::uint64_t memory_used() const { return used_.load(std::memory_order_relaxed); }

 private:
  friend class Spool;
  std::string directory_;
  std::uint64_t per_message_, total_;
  std::string prefix_;
  std::atomic<std::uint64_t> used_{0};
};

enum class SpoolError { full, failed };  // full: ENOSPC, EDQUOT (452 4.3.1); failed: anything else (451 4.3.0)
std::string_view to_string(SpoolError error);

class Spool {
 public:
  explicit Spool(SpoolSpace& space);
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Append to pending() and call commit(): it counts, hashes, and moves to disk what is too large for memory.
  std::string& pending() { return pending_; }
  std::expected<void, SpoolError> commit();
  // After the last commit: nothing may be appended any more.
  std::expected<void, SpoolError> finish();

  std::uint64_t size() const { return size_; }               // octets of content
  // Its first line would continue a header field that is put in front of it (RFC 5322 2.2.3).
  bool begins_with_blank() const { return first_ == ' ' || first_ == '\t'; }
  std::array<std::uint64_t, 2> hash() const;                 // 128-bit XXH3 of the content (after finish)
  bool in_memory() const { return !file_; }
  std::string_view memory() const { return pending_; }       // the whole content, when in_memory()
  int file() const { return file_.get(); }                   // content begins at file_offset(), when not in_memory()
  std::uint64_t file_offset() const { return prefix_size_; }
  const std::string& prefix() const { return space_.prefix(); }
  std::uint32_t prefix_size() const { return static_cast<std::uint32_t>(prefix_size_); }

  // A descriptor over prefix and content that the receiver can read only. Made on first use and kept.
  std::expected<int, SpoolError> shared_descriptor();

 private:
  std::expected<void, SpoolError> move_to_file();
  std::expected<void, SpoolError> write_pending();
  std::expected<void, SpoolError> make_memfd();
  void account();

  SpoolSpace& space_;
  std::string pending_;
  scanner::OwnedFd file_;
  scanner::OwnedFd shared_;
  std::unique_ptr<XXH3_state_s, void (*)(XXH3_state_s*)> hashing_;
  std::uint64_t size_ = 0;
  std::uint64_t hashed_ = 0;     // octets of pending_ that are counted and hashed
  std::uint64_t accounted_ = 0;  // of pending_, in space_.used_
  std::uint64_t prefix_size_;
  char first_ = '\0';  // octet of the content
};

}  // namespace io
