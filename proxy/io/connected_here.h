// What the kernel knows of TCP connections of this host (sock_diag(7)).
#pragma once

#include <sys/socket.h>

namespace io {

// Some socket of this host has these two ends, which are of one family: a connection that lives, or is being made. Not
// one that merely waits for its last packets to die, nor one that listens. False where the kernel does not say.
bool is_connected_here(const sockaddr* local, const sockaddr* remote);

}  // namespace io
