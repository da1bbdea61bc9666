// Certificates and keys of a config: read by whoever may, tried, and sealed for the proxy, which may not read them itself.
#pragma once

#include <expected>
#include <string>
#include <vector>

#include "config/config.h"
#include "scanner/packet_socket.h"

namespace supervisor {

struct TlsMaterial {
  scanner::OwnedFd sealed;            // io::TlsFiles; none where the config names no TLS
  std::vector<std::string> warnings;  // "/listeners/0/tls/...: the certificate expires in 3 days"
};
// The error: everything that is wrong, one sentence each.
std::expected<TlsMaterial, std::vector<std::string>> read_tls(const config::Config& config);

}  // namespace supervisor
