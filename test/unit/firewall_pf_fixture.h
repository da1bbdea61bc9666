// Addresses as text, for the tests of pf.
#pragma once

#include <netinet/in.h>

#include <string>

#include "config/endpoint.h"

namespace pf_test {

inline config::Endpoint at(const std::string& text) { return *config::parse_address(text); }
inline std::string text_of(const sockaddr_storage& address) {
  config::Endpoint endpoint;
  endpoint.address = address;
  endpoint.length = address.ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  return to_text(endpoint);
}

}  // namespace pf_test
