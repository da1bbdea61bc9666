// Listening sockets: made once by the supervisor, before it forks, and kept by it, so that a proxy that is replaced
// finds the same sockets and waiting clients are not turned away.
#pragma once

#include <sys/socket.h>

#include <expected>
#include <string>
#include <vector>

#include "config/config.h"
#include "proxy/supervisor/unix_socket.h"
#include "scanner/packet_socket.h"

namespace supervisor {

struct Listening {
  std::vector<std::vector<scanner::OwnedFd>> sockets;  // [loop][listener], in the order of the config; non-blocking
  std::vector<std::string> addresses;                  // per listener, with the real port
  std::vector<SocketFile> files;                       // of UNIX sockets: there as long as we listen
  scanner::OwnedFd pf;                                 // pf's device, where a listener asks it
};

// One SO_REUSEPORT socket per loop and listener; a UNIX socket is one for all loops, by descriptors of their own. With SO_REUSEPORT a second instance of the same user would get half of
// the connections without any error, so each address is first bound once without it. The error is one sentence that
// names the listener and its address.
std::expected<Listening, std::string> listen_on(const std::vector<config::Listener>& listeners, unsigned loops);

// Can this address be bound, alone? 0 or an errno (EADDRINUSE, EADDRNOTAVAIL, EAFNOSUPPORT, EACCES ...).
int probe(const sockaddr* address, socklen_t length);

// "192.0.2.1:25", "[2001:db8::1]:25".
std::string to_text(const sockaddr_storage& address);

}  // namespace supervisor
