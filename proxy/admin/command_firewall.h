// What the actions of the command firewall share.
#pragma once

#include <memory>
#include <string>

#include "config/config.h"
#include "firewall/apply.h"
#include "proxy/admin/arguments.h"

namespace admin {

// Where it is remembered what is in force: --state, else what the configuration says.
std::string firewall_directory(const Arguments& arguments, const config::Config& config);
// Null after all errors were written to standard error.
std::shared_ptr<const config::Config> firewall_config(const Arguments& arguments);

// For confirm, status and remove, which need the configuration for nothing else, if one is given.
struct Remembered {
  std::string directory;
  std::shared_ptr<const config::Config> config{};
  bool broken = false;  // the configuration; then the directory is what the file alone says, if it is JSON
};
Remembered remembered(const Arguments& arguments);
// The configuration is broken, and nothing is in force that would make up for it.
bool is_lost(const Remembered& where);

// One line on standard error.
void firewall_complain(const std::string& sentence);
// Says it, and returns the exit status.
int firewall_failed(const firewall::Failure& failure, bool json);

int firewall_status(const Arguments& arguments);  // command_status.cc
int verify_command(const Arguments& arguments);   // command_verify.cc

}  // namespace admin
