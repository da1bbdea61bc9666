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

// Says it, and returns the exit status.
int firewall_failed(const firewall::Failure& failure, bool json);

int verify_command(const Arguments& arguments);  // command_verify.cc

}  // namespace admin
