// Who speaks to servers with the addresses of clients.
#pragma once

#include "config/config.h"

namespace config {

// The server sees the client's own address: that is asked for, or left open where the connection comes as it was sent.
inline bool spoofs(const Downstream& downstream, const Listener& listener) {
  const bool as_it_was = listener.intercept == Intercept::tproxy || listener.intercept == Intercept::divert;
  return downstream.identity == Identity::spoof ||
         (downstream.identity == Identity::automatic && downstream.original && as_it_was);
}

}  // namespace config
