// Whom the client of an intercepted connection means to reach, for the choice of a certificate; empty: it means us.
#pragma once

#include <sys/socket.h>

#include <optional>
#include <string>
#include <vector>

namespace io {

struct TlsMeant {
  std::optional<sockaddr_storage> destination{};
  std::vector<std::string> names{};  // by which that server's own certificate calls it, if that is verified
};

}  // namespace io
