// What a child may do: nothing that its work does not need (T:H8).
#pragma once

#include <sys/types.h>

#include <expected>
#include <string>

#include "config/config.h"

namespace supervisor {

// In a child, once: as root becomes `account` for good (groups, gid, uid; refuses to stay root). Always: no capability
// in any set, no new privileges by exec, no core dump and no ptrace by others. The error is one sentence.
std::expected<void, std::string> drop_privileges(const config::Account& account);

// Ends the calling process when its parent, the process `parent`, dies. To be called after drop_privileges(), which
// makes the kernel forget it. False when the parent is already gone.
bool die_with(pid_t parent);

// Could a process of `account` write into this directory? Asked in a forked child that becomes the account, so that
// parents, groups and ACLs count as they will. For single-threaded callers.
bool may_write(const std::string& directory, const config::Account& account);

}  // namespace supervisor
