// The subcommands. Each returns the exit status; results go to standard output, errors to standard error.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "config/load.h"
#include "proxy/admin/arguments.h"

struct ProxyStart;

namespace admin {

int serve_command(const Arguments& arguments, std::function<int(ProxyStart)> run_proxy);
int check_command(const Arguments& arguments);
int config_command(const Arguments& arguments);
int scan_command(const Arguments& arguments);
int firewall_command(const Arguments& arguments);
int bans_command(const Arguments& arguments);

// Nothing after all errors were written to standard error.
std::optional<config::Loaded> load_or_complain(const std::string& path);

// False (and a sentence on standard error) when standard output does not take the text: a full disk is not success.
bool print(const std::string& text);

}  // namespace admin
