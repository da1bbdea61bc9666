// Which keywords are withheld from clients: one line per listener, server and set when it is first seen, and the number of
// greetings without them per listener, downstream and set.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

namespace session {

struct WithheldCount {
  std::string listener, downstream, keywords;
  std::uint64_t greetings;
};

// Shared by all loops of the process; a loop asks once for each set that is new to it.
class WithheldSets {
 public:
  using Counter = std::atomic<std::uint64_t>;
  // Sets of a listener that are counted apart; all further ones are one. A listener whose clients choose the server leaves
  // the others theirs.
  static constexpr std::size_t most = 1000;

  // True for who asks first.
  bool is_news(const std::string& text);
  Counter& counter(std::string_view listener, std::string_view downstream, std::string_view keywords);
  // Since the beginning: those that have grown since this was last asked for.
  std::vector<WithheldCount> grown();
  // Since the beginning: all.
  std::vector<WithheldCount> in_all() const;

 private:
  struct Entry {
    Counter greetings{0};
    std::uint64_t told = 0;
  };
  mutable std::mutex mutex_;
  std::set<std::string> told_;  // begins anew when it is full
  std::map<std::tuple<std::string, std::string, std::string>, Entry> counts_;
  std::map<std::string, std::size_t, std::less<>> sets_of_;  // each listener
};

// One loop's: no lock for what it knows.
class WithheldLog {
 public:
  static constexpr std::size_t most_octets = 512;  // of a set: what a line of the log shows. Servers write the rest, too
  explicit WithheldLog(WithheldSets& sets) : sets_(sets) {}
  // Counts a greeting. What to log; empty: nothing is withheld, or it was told before.
  std::string news(std::string_view listener, std::string_view downstream, std::string_view server,
                   const std::vector<std::string>& keywords);

 private:
  WithheldSets& sets_;
  std::map<std::string, WithheldSets::Counter*> known_;  // begins anew when it is full
};

}  // namespace session
