// Which keywords of which server are withheld from clients has been logged already: one line per listener, server and
// set.
#pragma once

#include <cstddef>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace session {

// Shared by all loops of the process; what it locks is held for as long as a look-up takes.
class WithheldLog {
 public:
  // What to log; empty: nothing is withheld, or it was told before.
  std::string news(std::string_view listener, std::string_view server, const std::vector<std::string>& keywords);

 private:
  static constexpr std::size_t most_told = 1000;  // then it begins anew
  std::mutex mutex_;
  std::set<std::string> told_;
};

}  // namespace session
