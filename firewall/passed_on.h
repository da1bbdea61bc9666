// Connections whose TLS was passed on to the server, so that nobody has scanned what is inside: counted by listener,
// where `gatepost firewall status` finds the numbers. They are in a file that the supervisor makes and maps before it
// forks; the proxy adds to them without a lock or a system call, and they outlive it.
#pragma once

#include <array>
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
  // In the place of a file of an earlier start; the directory is made when it is missing. Null where this configuration
  // passes nothing on. The error: a sentence.
  static std::expected<std::unique_ptr<PassedOn>, std::string> create(const config::Config& config);
  ~PassedOn();
  PassedOn(const PassedOn&) = delete;
  PassedOn& operator=(const PassedOn&) = delete;

  void add(std::size_t listener);  // by its place in the file

 private:
  // A cache line each: loops do not wait for each other.
  struct alignas(64) Slot {
    std::atomic<std::uint64_t> connections;
    std::array<char, 56> name;  // of the listener, zero-terminated, cut; empty where nothing is passed on
  };
  PassedOn(Slot* slots, std::size_t count) : slots_(slots), count_(count) {}
  Slot* slots_;
  std::size_t count_;
};

// Since gatepost was started last, of those of these listeners that are in the file. Whoever has taken over the proxy
// can write there, too: numbers are all that is believed.
std::map<std::string, std::uint64_t> passed_on(const std::string& directory, const std::vector<std::string>& listeners);

}  // namespace firewall
