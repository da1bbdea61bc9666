// Connections whose TLS was passed on to the server, so that nobody has scanned what is inside: counted by listener,
// where `gatepost firewall status` finds the numbers.
//
// The numbers are in memory without a name, whose size nobody can change: the supervisor makes it before it forks, the
// proxy adds to it without a lock or a system call. The supervisor copies them into a file, which is only ever replaced
// as a whole; nothing depends on it, whatever becomes of it.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.h"

namespace firewall {

class PassedOn {
 public:
  // With a file in the place of that of an earlier start; the directory is made when it is missing. Null where this
  // configuration passes nothing on. The error: a sentence.
  static std::expected<std::unique_ptr<PassedOn>, std::string> create(const config::Config& config);
  ~PassedOn();
  PassedOn(const PassedOn&) = delete;
  PassedOn& operator=(const PassedOn&) = delete;

  void add(std::size_t listener);  // by its place in the configuration
  // The file says what is counted now; it is not touched when it said so already. The error: a sentence.
  std::expected<void, std::string> save();

 private:
  // A cache line each: loops do not wait for each other.
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> connections;
  };
  PassedOn(std::string file, std::vector<std::string> names, Slot* slots)
      : file_(std::move(file)), names_(std::move(names)), slots_(slots) {}
  std::string file_, saved_{};
  std::vector<std::string> names_;  // of the listeners; empty where nothing is passed on
  Slot* slots_;
};

// Since gatepost was started last, as of a second ago; of those of these listeners that are in the file.
std::map<std::string, std::uint64_t> passed_on(const std::string& directory, const std::vector<std::string>& listeners);

}  // namespace firewall
