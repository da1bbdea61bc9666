// The command line: words -> one value. The only part that knows CLI11.
#pragma once

#include <chrono>
#include <expected>
#include <string>
#include <vector>

namespace admin {

struct Arguments {
  enum class Command { serve, check, config, scan, firewall, bans } command = Command::serve;
  std::string config;                   // -c; empty = none given
  std::string state;                    // serve and firewall --state; empty = the default place
  int ready_fd = -1;                    // serve --ready-fd
  std::string topic;                    // config: show, schema or manual
  bool json = false;                    // check, scan, firewall, bans
  bool probe = false;                   // check
  std::vector<std::string> files;       // scan; "-" is standard input
  std::vector<std::string> signatures;  // scan
  enum class Firewall { plan, apply, confirm, verify, status, remove } action = Firewall::plan;
  std::string facts;                      // firewall plan --facts; empty = those of this host
  bool show_facts = false;                // firewall plan
  bool show_remove = false;               // firewall plan
  bool unless_fail_closed = false;        // firewall remove
  std::chrono::seconds drain{60};         // firewall remove; 0 = nobody is waited for
  std::chrono::seconds confirm_within{};  // firewall apply; 0 = for good
  enum class Bans { list, add, remove } bans = Bans::list;
  std::string network;              // bans add and remove
  std::chrono::seconds ban_for{};   // bans add; 0 = until removed
  std::string spoof_from, spoof_to;       // firewall verify; empty = not asked for
};

// The exit status when there is nothing left to do: 0 after --help and --version, 64 after a mistake, which has been
// said on standard error.
std::expected<Arguments, int> parse_arguments(int count, char** words);

}  // namespace admin
