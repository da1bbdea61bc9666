// Starts gatepost-scanner (contract: scanner/job.h) for the supervisor and for `gatepost scan`.
#pragma once

#include <expected>
#include <string>

#include "config/config.h"
#include "proxy/supervisor/program.h"
#include "scanner/job.h"

namespace supervisor {

// As a config describes it. uid and gid are 0 unless we are root. temporary_directory is left empty.
scanner::Settings scanner_settings(const config::Config& config, const config::Scanner& scanner);

// Started with `sockets` sockets; more may follow over its control socket (scanner::new_socket). The error is one
// sentence; our other descriptors must be close-on-exec.
std::expected<Program, std::string> start_scanner(const scanner::Settings& settings, unsigned sockets);

}  // namespace supervisor
