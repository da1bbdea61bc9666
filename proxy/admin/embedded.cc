#include "proxy/admin/embedded.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>

#include "embedded_signatures.h"
#include "proxy/admin/escape.h"
#include "proxy/supervisor/sockets.h"

namespace admin {
namespace {

constexpr std::uint16_t first_port = 2525, last_port = 2624;

int try_port4(std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return supervisor::probe(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

int try_port6(std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  address.sin6_addr = in6addr_loopback;
  return supervisor::probe(reinterpret_cast<const sockaddr*>(&address), sizeof address);
}

// Free on both loopback addresses, so that there is one number to remember.
std::optional<std::uint16_t> free_port(bool with_ipv6) {
  for (std::uint16_t port = first_port; port <= last_port; ++port)
    if (try_port4(port) == 0 && (!with_ipv6 || try_port6(port) == 0)) return port;
  return std::nullopt;
}

std::string default_state() {
  if (::geteuid() == 0) return "/var/lib/gatepost-demo";
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && *state == '/')
    return std::string(state) + "/gatepost-demo";
  const char* home = std::getenv("HOME");
  return std::string(home != nullptr && *home == '/' ? home : "/tmp") + "/.local/state/gatepost-demo";
}

// Ours, and passable for the three accounts that have their own directories in it.
std::expected<void, std::string> make_state(const std::string& path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  struct stat status {};
  if (::lstat(path.c_str(), &status) != 0)
    return std::unexpected(fmt::format("cannot make the directory {}: {}", path, error.message()));
  if (!S_ISDIR(status.st_mode) || status.st_uid != ::geteuid())
    return std::unexpected(fmt::format("{} is not a directory of ours; choose another one with --state", path));
  if (::chmod(path.c_str(), 0711) != 0) return std::unexpected(fmt::format("{}: {}", path, std::strerror(errno)));
  return {};
}

std::string listener(std::string_view name, std::string_view host, std::uint16_t port) {
  return fmt::format(R"({{ "name": "{}", "protocol": "smtp", "address": "{}:{}", "downstream": "mail" }})", name, host,
                     port);
}

std::string document(const std::string& state, std::uint16_t port, bool with_ipv6) {
  std::string text = "{\n  \"listeners\": [" + listener("loopback", "127.0.0.1", port);
  if (with_ipv6) text += ", " + listener("loopback6", "[::1]", port);
  text += fmt::format(
      "],\n  \"downstreams\": {{ \"mail\": {{ \"protocol\": \"smtp\", \"path\": {}, \"create\": true }} }},\n",
      json_string(state + "/mail/%domain/%local"));
  text += fmt::format("  \"scanners\": {{ \"clamav\": {{ \"engine\": \"libclamav\", \"signatures\": [{}] }} }},\n",
                      json_string(state + "/signatures"));
  text += fmt::format("  \"spool\": {{ \"directory\": {} }},\n", json_string(state + "/spool"));
  if (::geteuid() == 0)
    text += fmt::format("  \"users\": {{ \"proxy\": \"{}\", \"keeper\": \"{}\", \"scanner\": \"{}\" }},\n",
                        embedded_proxy_uid, embedded_keeper_uid, embedded_scanner_uid);
  return text + fmt::format("  \"state_directory\": {}\n}}\n", json_string(state + "/state"));
}

}  // namespace

std::expected<void, std::string> write_test_signatures(const std::string& directory) {
  std::error_code error;
  std::filesystem::create_directory(directory, error);
  if (::chmod(directory.c_str(), 0755) != 0)
    return std::unexpected(fmt::format("{}: {}", directory, std::strerror(errno)));
  const std::string path = directory + "/gatepost-test.ndb";
  std::ofstream file(path, std::ios::trunc);
  file << test_signatures;
  file.close();
  if (!file || ::chmod(path.c_str(), 0644) != 0) return std::unexpected(fmt::format("cannot write {}", path));
  return {};
}

std::expected<Embedded, std::string> embedded_defaults(std::string state) {
  if (state.empty()) state = default_state();
  std::error_code error;
  state = std::filesystem::absolute(state, error).lexically_normal().string();
  while (state.size() > 1 && state.back() == '/') state.pop_back();
  if (auto made = make_state(state); !made) return std::unexpected(made.error());
  if (auto written = write_test_signatures(state + "/signatures"); !written) return std::unexpected(written.error());
  Embedded out;
  const int ipv6 = try_port6(0);
  if (ipv6 != 0)
    out.warnings.push_back(fmt::format("no listener on [::1]: this machine has no IPv6 ({})", std::strerror(ipv6)));
  const auto port = free_port(ipv6 == 0);
  if (!port)
    return std::unexpected(
        fmt::format("no port from {} to {} is free on the loopback addresses", first_port, last_port));
  if (*port != first_port) out.warnings.push_back(fmt::format("port {} is taken: using port {}", first_port, *port));
  out.warnings.emplace_back(test_signatures_warning);
  out.text = document(state, *port, ipv6 == 0);
  return out;
}

}  // namespace admin
