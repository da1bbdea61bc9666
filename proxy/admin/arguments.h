// The command line: words -> one value. The only part that knows CLI11.
#pragma once

#include <expected>
#include <string>
#include <vector>

namespace admin {

struct Arguments {
  enum class Command { serve, check, config, scan } command = Command::serve;
  std::string config;                   // -c; empty = none given
  std::string state;                    // serve --state; empty = the default place
  int ready_fd = -1;                    // serve --ready-fd
  std::string topic;                    // config: show, schema or manual
  bool json = false;                    // check, scan
  bool probe = false;                   // check
  std::vector<std::string> files;       // scan; "-" is standard input
  std::vector<std::string> signatures;  // scan
};

// The exit status when there is nothing left to do: 0 after --help and --version, 64 after a mistake, which has been
// said on standard error.
std::expected<Arguments, int> parse_arguments(int count, char** words);

}  // namespace admin
