// Where libclamav unpacks: private, in memory where possible, empty after every message.
#pragma once

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "scanner/packet_socket.h"

namespace scanner {

// The place of all workers. Removed, with what lies in it, when it is destroyed (in the process that made it).
class TemporaryPlace {
 public:
  // As root: mounts a tmpfs of at most `limit` octets over `directory`, whatever lies below, in a mount namespace of
  // our own. Where that is not possible, without a limit of our own: a new 0700 directory under `directory` when that
  // is a tmpfs already, else under /dev/shm, else under `directory` (empty = only /dev/shm). It belongs to uid:gid (0 =
  // ours). Call it while still privileged and single-threaded. The error is one sentence.
  static std::expected<TemporaryPlace, std::string> make(const std::string& directory, std::uint64_t limit,
                                                         std::uint32_t uid, std::uint32_t gid);
  TemporaryPlace(TemporaryPlace&&) = default;
  TemporaryPlace& operator=(TemporaryPlace&&) = delete;
  TemporaryPlace(const TemporaryPlace&) = delete;
  TemporaryPlace& operator=(const TemporaryPlace&) = delete;
  ~TemporaryPlace();

  const std::string& directory() const { return directory_; }
  const std::string& choice() const { return choice_; }  // one sentence for the log

 private:
  TemporaryPlace() = default;
  bool mount_over(const std::string& directory, std::uint64_t limit, std::uint32_t uid, std::uint32_t gid);
  bool make_under(const std::string& directory, std::uint32_t uid, std::uint32_t gid);

  std::string directory_;
  std::string choice_;
  OwnedFd lock_;  // held while we live; a directory that nobody holds was left by a killed scanner
  bool made_ = false;
  int maker_ = 0;  // process id
};

// The directory of one worker inside it.
class WorkDirectory {
 public:
  // Opens `path`, making it (0700) when it does not exist. false = errno says why.
  bool open(const std::string& path);
  const std::string& path() const { return path_; }
  // True when nothing is in it; two cheap system calls.
  bool is_empty() const;
  // Removes everything in it, without following links. false = something is left.
  bool empty_out() const;

 private:
  std::string path_;
  OwnedFd fd_;
};

}  // namespace scanner
