// HOST:PORT texts -> socket addresses: "127.0.0.1:2525", "[::1]:25", "mx.example.org:25".
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"

namespace config {

struct HostPort {
  std::string host;  // without brackets
  std::uint16_t port = 0;
  bool bracketed = false;  // must be an IPv6 literal then
};

// The error is a sentence that says how to write it. Port 0 is a port here.
std::expected<HostPort, std::string> parse_host_port(std::string_view text);
// The address when `host` is a literal (no look-up); nothing when it is a name; the error when it is neither:
// "127.1" and "0x7f.1" are names that getaddrinfo would quietly take for addresses. `text` is kept in the Endpoint.
std::expected<std::optional<Endpoint>, std::string> parse_literal(const HostPort& where, const std::string& text);

// "127.0.0.1:25", "[::1]:25", whatever the text in the config was.
std::string to_text(const Endpoint& endpoint);
std::uint16_t port_of(const Endpoint& endpoint);
bool is_loopback(const Endpoint& endpoint);               // 127/8, ::1, and 127/8 mapped into IPv6
bool same_address(const Endpoint& a, const Endpoint& b);  // address, port and IPv6 scope

}  // namespace config
