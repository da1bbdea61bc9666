#include "config/endpoint.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstring>

#include "config/quote.h"

namespace config {
namespace {

sockaddr_in as_ipv4(const Endpoint& endpoint) {
  sockaddr_in address{};
  std::memcpy(&address, &endpoint.address, sizeof address);
  return address;
}

sockaddr_in6 as_ipv6(const Endpoint& endpoint) {
  sockaddr_in6 address{};
  std::memcpy(&address, &endpoint.address, sizeof address);
  return address;
}

std::optional<Endpoint> parse_ipv4(const HostPort& where, const std::string& text) {
  sockaddr_in address{};
  if (inet_pton(AF_INET, where.host.c_str(), &address.sin_addr) != 1) return std::nullopt;
  address.sin_family = AF_INET;
  address.sin_port = htons(where.port);
  Endpoint endpoint{text, {}, sizeof address};
  std::memcpy(&endpoint.address, &address, sizeof address);
  return endpoint;
}

// getaddrinfo, because inet_pton knows no scope ("fe80::1%eth0").
std::optional<Endpoint> parse_ipv6(const HostPort& where, const std::string& text) {
  addrinfo wanted{};
  wanted.ai_family = AF_INET6;
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &wanted, &found) != 0) return std::nullopt;
  Endpoint endpoint{text, {}, found->ai_addrlen};
  std::memcpy(&endpoint.address, found->ai_addr, found->ai_addrlen);
  freeaddrinfo(found);
  return endpoint;
}

bool is_host_name(std::string_view host) {
  if (host.empty() || host.size() > 253 || host.front() == '.' || host.front() == '-') return false;
  for (const char c : host) {
    const bool fits =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '-' || c == '_';
    if (!fits) return false;
  }
  return host.find("..") == std::string_view::npos;
}

// The last label of a name never begins with a digit (RFC 3696 section 2), so this was meant as an IPv4 address.
bool looks_like_ipv4(std::string_view host) {
  if (!host.empty() && host.back() == '.') host.remove_suffix(1);
  const std::string_view last = host.substr(host.rfind('.') + 1);
  return !last.empty() && last.front() >= '0' && last.front() <= '9';
}

}  // namespace

std::expected<HostPort, std::string> parse_host_port(std::string_view text) {
  HostPort where;
  std::size_t colon = text.rfind(':');
  if (!text.empty() && text.front() == '[') {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return std::unexpected(in_quotes(text) + " has no closing bracket");
    where.bracketed = true;
    where.host = text.substr(1, close - 1);
    colon = close + 1 < text.size() && text[close + 1] == ':' ? close + 1 : std::string_view::npos;
  } else {
    where.host = text.substr(0, colon);
    if (where.host.find(':') != std::string::npos)
      return std::unexpected(in_quotes(text) + " is not HOST:PORT; an IPv6 address stands in brackets, as in [::1]:25");
  }
  if (colon == std::string_view::npos) return std::unexpected(in_quotes(text) + " has no port; write HOST:PORT");
  if (where.host.empty())
    return std::unexpected(in_quotes(text) + " has no host; for all addresses write 0.0.0.0:PORT or [::]:PORT");
  const std::string_view port = text.substr(colon + 1);
  const auto [end, failure] = std::from_chars(port.data(), port.data() + port.size(), where.port);
  if (failure != std::errc{} || end != port.data() + port.size())
    return std::unexpected(in_quotes(port) + " is not a port; it is a number from 0 to 65535");
  return where;
}

std::expected<std::optional<Endpoint>, std::string> parse_literal(const HostPort& where, const std::string& text) {
  if (where.bracketed) {
    auto endpoint = parse_ipv6(where, text);
    if (!endpoint) return std::unexpected(in_quotes(where.host) + " is not an IPv6 address");
    return endpoint;
  }
  if (auto endpoint = parse_ipv4(where, text)) return endpoint;
  if (looks_like_ipv4(where.host)) return std::unexpected(in_quotes(where.host) + " is not an IPv4 address");
  if (!is_host_name(where.host))
    return std::unexpected(in_quotes(where.host) + " is neither an address nor a host name");
  return std::optional<Endpoint>{};
}

std::expected<Endpoint, std::string> parse_unix(std::string_view text) {
  const std::string_view path = text.substr(unix_prefix.size());
  sockaddr_un address{};
  if (!path.starts_with('/') || path.ends_with('/'))
    return std::unexpected(in_quotes(text) + " has no absolute path; write unix:/run/NAME/SOCKET");
  if (path.size() >= sizeof address.sun_path)
    return std::unexpected(fmt::format("{} is too long: the path of a socket has at most {} octets", in_quotes(text),
                                       sizeof address.sun_path - 1));
  const auto is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; };
  if (std::ranges::any_of(path, is_control)) return std::unexpected(in_quotes(text) + " holds a control character");
  address.sun_family = AF_UNIX;
  std::memcpy(address.sun_path, path.data(), path.size());
  Endpoint endpoint{std::string(text), {}, static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1)};
  std::memcpy(&endpoint.address, &address, sizeof address);
  return endpoint;
}

std::string_view path_of(const Endpoint& endpoint) {
  if (!endpoint.is_unix()) return {};
  const auto& address = reinterpret_cast<const sockaddr_un&>(endpoint.address);
  return {address.sun_path, ::strnlen(address.sun_path, sizeof address.sun_path)};
}

std::optional<Endpoint> parse_address(const std::string& text) {
  if (text.starts_with(unix_prefix)) {
    auto endpoint = parse_unix(text);
    return endpoint ? std::optional(std::move(*endpoint)) : std::nullopt;
  }
  const auto where = parse_host_port(text);
  if (!where) return std::nullopt;
  return parse_literal(*where, text).value_or(std::nullopt);
}

std::string to_text(const Endpoint& endpoint) {
  if (endpoint.is_unix()) return std::string(unix_prefix).append(path_of(endpoint));
  char host[NI_MAXHOST] = "";
  if (getnameinfo(endpoint.get(), endpoint.length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0)
    return endpoint.text;
  const bool ipv6 = endpoint.address.ss_family == AF_INET6;
  return fmt::format("{}{}{}:{}", ipv6 ? "[" : "", host, ipv6 ? "]" : "", port_of(endpoint));
}

std::uint16_t port_of(const Endpoint& endpoint) {
  if (endpoint.address.ss_family == AF_INET) return ntohs(as_ipv4(endpoint).sin_port);
  if (endpoint.address.ss_family == AF_INET6) return ntohs(as_ipv6(endpoint).sin6_port);
  return 0;
}

bool is_loopback(const Endpoint& endpoint) {
  if (endpoint.is_unix()) return true;
  if (endpoint.address.ss_family == AF_INET) return (ntohl(as_ipv4(endpoint).sin_addr.s_addr) >> 24U) == 127;
  if (endpoint.address.ss_family != AF_INET6) return false;
  const in6_addr address = as_ipv6(endpoint).sin6_addr;
  if (IN6_IS_ADDR_V4MAPPED(&address)) return address.s6_addr[12] == 127;
  return IN6_IS_ADDR_LOOPBACK(&address);
}

bool is_wildcard(const Endpoint& endpoint) {
  if (endpoint.address.ss_family == AF_INET) return as_ipv4(endpoint).sin_addr.s_addr == INADDR_ANY;
  const in6_addr six = as_ipv6(endpoint).sin6_addr;
  return endpoint.address.ss_family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&six);
}

bool same_address(const Endpoint& a, const Endpoint& b) {
  if (a.address.ss_family != b.address.ss_family || port_of(a) != port_of(b)) return false;
  if (a.address.ss_family == AF_INET) return as_ipv4(a).sin_addr.s_addr == as_ipv4(b).sin_addr.s_addr;
  if (a.is_unix()) return path_of(a) == path_of(b);
  const sockaddr_in6 left = as_ipv6(a), right = as_ipv6(b);
  return left.sin6_scope_id == right.sin6_scope_id &&
         std::memcmp(&left.sin6_addr, &right.sin6_addr, sizeof left.sin6_addr) == 0;
}

}  // namespace config
