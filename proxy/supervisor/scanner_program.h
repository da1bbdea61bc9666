// Starts gatepost-scanner (contract: scanner/job.h) for the supervisor and for `gatepost scan`.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <vector>

#include "config/config.h"
#include "scanner/job.h"
#include "scanner/packet_socket.h"

namespace supervisor {

// As a config describes it. uid and gid are 0 unless we are root. temporary_directory is left empty.
scanner::Settings scanner_settings(const config::Config& config, const config::Scanner& scanner);

struct ScannerProgram {
  pid_t pid = -1;
  std::vector<scanner::OwnedFd> sockets;  // our ends
  scanner::OwnedFd control;               // ours too: more sockets go through it (scanner::new_socket)
  scanner::OwnedFd said;                  // what it writes to standard error; non-blocking
};

// Started with `sockets` sockets; more may follow over `control`.
// The program is $GATEPOST_SCANNER, or lies where ours is installed (../libexec/gatepost/), beside ours, or in
// ../scanner/ as in the build tree. The error is one sentence. Our other descriptors must be close-on-exec.
std::expected<ScannerProgram, std::string> start_scanner(const scanner::Settings& settings, unsigned sockets);

}  // namespace supervisor
