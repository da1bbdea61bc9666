// Programs of the system (nft, iptables, ip, ...) run as they are, never through a shell: found on a fixed path, with
// an environment of two variables, in a process group of their own, so that a Ctrl-C on the terminal does not hit them
// in the middle of their work.
#pragma once

#include <string>
#include <vector>

namespace firewall {

class NetworkNamespace;

struct Command {
  std::vector<std::string> argv;  // the program by its bare name
  std::string input{};            // standard input
  bool operator==(const Command&) const = default;
};

struct Outcome {
  int status =
      -1;  // exit status; 127: there is no such program; 128 + N: killed by signal N, or (137) ran for too long
  std::string out, err;
  bool ok() const { return status == 0; }
};

inline constexpr int command_seconds = 60;  // a program that takes longer is killed

// Where a program is, or "".
std::string find_program(const std::string& name);

// Blocks until the program has ended. `inside`: the network it runs in; null = that of the caller.
Outcome run(const Command& command, const NetworkNamespace* inside = nullptr);
// The same without input, and only what it said: "" when it failed.
std::string output_of(std::vector<std::string> argv, const NetworkNamespace* inside = nullptr);

// As it would be typed into a shell.
std::string in_shell(const std::vector<std::string>& argv);

}  // namespace firewall
