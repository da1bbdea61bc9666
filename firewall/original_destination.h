// Where a client meant to go whose connection the packet filter has handed to us, and whether it may go there: never a
// relay for any TCP connection that somebody makes to our port.
#pragma once

#include <sys/socket.h>

#include <expected>
#include <functional>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace firewall {

// redirect: what connection tracking knows (SO_ORIGINAL_DST, IP6T_SO_ORIGINAL_DST); tproxy and divert: the local
// address of the socket itself; pf_rdr: what `pf`, its device (pf_device.h), knows. The error is an errno: ENOENT when nobody
// has redirected this connection, ENOPROTOOPT when the kernel does not track connections, ENOTSUP for a way that this
// system does not have.
std::expected<sockaddr_storage, int> original_destination(int socket, config::Intercept how, int pf = -1);

enum class Stray {
  none,
  direct,   // made to a listener of ours itself
  port,     // not one of the ports of this listener
  network,  // incoming mail for a host that is not protected
};
std::string_view to_string(Stray stray);

// `is_local`: an address of this host. `original` is AF_INET or AF_INET6, an IPv4 one perhaps mapped.
Stray judge_destination(const config::Listener& listener, const std::vector<config::Listener>& all,
                        const sockaddr_storage& original, const std::function<bool(const sockaddr*)>& is_local);

}  // namespace firewall
