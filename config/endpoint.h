// Texts -> socket addresses: "127.0.0.1:2525", "[::1]:25", "mx.example.org:25", "unix:/run/lmtp.sock".
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

inline constexpr std::string_view unix_prefix = "unix:";
// Of a text that begins with it. A path is absolute and has at most 107 octets (unix(7)), none of them a control
// character.
std::expected<Endpoint, std::string> parse_unix(std::string_view text);
std::string_view path_of(const Endpoint& endpoint);  // empty when it is not UNIX
// What to_text() has made, or another text without a name in it; nothing when it is none.
std::optional<Endpoint> parse_address(const std::string& text);

// "127.0.0.1:25", "[::1]:25", "unix:/run/lmtp.sock", whatever the text in the config was.
std::string to_text(const Endpoint& endpoint);
std::uint16_t port_of(const Endpoint& endpoint);          // 0 of UNIX
bool is_loopback(const Endpoint& endpoint);               // 127/8, ::1, 127/8 mapped into IPv6, and UNIX
bool is_wildcard(const Endpoint& endpoint);               // 0.0.0.0, ::
bool same_address(const Endpoint& a, const Endpoint& b);  // address, port and IPv6 scope; path

}  // namespace config
