// Sockets that may speak for somebody else: made by root, used by processes that can do no such thing themselves.
#pragma once

#include <expected>

#include "config/config.h"

namespace firewall {

// For a listener to which TPROXY hands connections of any address. The error is an errno.
std::expected<void, int> make_transparent(int listening_socket, int family);
// A TCP socket, not connected, that may be bound to any source address; its port is chosen when it connects
// (IP_BIND_ADDRESS_NO_PORT) and its packets carry the mark `own` (marks.h). Needs CAP_NET_ADMIN. The descriptor is the
// caller's; the error is an errno.
std::expected<int, int> transparent_socket(int family);

}  // namespace firewall
