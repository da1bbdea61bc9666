// The addresses that the names of servers have now, for all sessions of one loop.
//
// They are kept for their time to live, at least a second and at most an hour; then the first who wants them asks again
// and all others wait for the same answer. When the DNS gives none (no answer in time, server failure, bogus), the old
// addresses serve for one hour more, without anybody waiting, and the log hears of it once; a denial (no such name, no
// address) ends them at once.
#pragma once

#include <expected>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "proxy/io/resolver.h"
#include "proxy/io/waiters.h"

namespace io {

class AddressCache {
 public:
  static constexpr std::chrono::seconds least_kept{1};
  static constexpr std::chrono::hours most_kept{1}, stale_for{1};
  // How long an answer holds of which one half (A or AAAA) could not be had.
  static constexpr std::chrono::seconds half_kept{30};
  // Once one half is there, the other is waited for so long: some servers never answer questions for AAAA.
  static constexpr std::chrono::seconds second_half_wait{1};
  static constexpr std::size_t most_addresses = 32;  // of one name and family; the rest is left out

  // `say` gets a sentence when the DNS begins to fail for a name that is still served, and when it is back.
  AddressCache(Loop& loop, Resolver& resolver, std::function<void(const std::string&)> say)
      : loop_(loop), resolver_(resolver), say_(std::move(say)) {}

  // Socket addresses with the port of `server`, which is a name; IPv6 first, each family in the order of its answer.
  // The error says why there is none. For the names of the configuration: what has been asked for is never forgotten.
  using Addresses = std::expected<std::vector<config::Endpoint>, std::string>;
  Task<Addresses> addresses(config::Endpoint server, Scope& scope, TimePoint until);

 private:
  class Asking;
  struct Entry {
    std::vector<AddressRecord> addresses;
    TimePoint fresh_until{}, stale_until{}, quiet_until{};  // quiet: do not ask again so soon
    bool failing = false;                                   // the last question had no answer
    bool asking = false;
    std::string trouble = "could not be asked for";
    Waiters waiters;
  };
  Task<> ask(std::string name, Entry& entry);
  void learn(const std::string& name, Entry& entry, const Query& six, const Query& four);
  void fail(const std::string& name, Entry& entry, std::string why);

  Loop& loop_;
  Resolver& resolver_;
  std::function<void(const std::string&)> say_;
  std::map<std::string, Entry> entries_;  // by name in lower case
};

}  // namespace io
