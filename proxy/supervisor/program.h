// Starts the programs beside ours (gatepost-scanner, gatepost-gate): found where we are installed, told their settings
// by a descriptor, spoken to over sockets, heard by their standard error.
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "scanner/packet_socket.h"

namespace supervisor {

struct ProgramPlace {
  const char* called;       // the scanner
  const char* name;         // gatepost-scanner
  const char* variable;     // of the environment: where else it is
  const char* build_place;  // seen from ours in the build tree
};

struct Program {
  pid_t pid = -1;
  std::vector<scanner::OwnedFd> sockets;  // our ends
  scanner::OwnedFd control;               // ours too
  scanner::OwnedFd said;                  // what it writes to standard error; non-blocking
};

// It lies where the variable says, where ours is installed (../libexec/gatepost/), beside ours, or in the build tree.
// It is run with --settings FD, --control FD and, if there are any, --sockets FD,FD. The error is one sentence. Our
// other descriptors must be close-on-exec.
std::expected<Program, std::string> start_program(const ProgramPlace& place, std::string_view settings,
                                                  unsigned sockets);

}  // namespace supervisor
