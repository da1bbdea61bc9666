// What is left of a process that only answers the packet queues.
#pragma once

#include <cstdint>
#include <expected>
#include <string>

namespace gate {

// From here on: that account (0 = the caller's), CAP_NET_ADMIN and no other capability, none by exec either, no core
// dumps of it, no ptrace by its equals. The error is a sentence.
std::expected<void, std::string> keep_net_admin_alone(std::uint32_t uid, std::uint32_t gid);

// From here on any system call ends the process by SIGSYS but those for sockets and descriptors that are open, memory,
// time and its own end (seccomp). Nothing can be opened, and no socket made.
std::expected<void, std::string> filter_system_calls();

}  // namespace gate
