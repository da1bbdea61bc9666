#include "config/surroundings.h"

#include <netdb.h>
#include <pwd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cstring>

namespace config {
namespace {

std::string own_hostname() {
  std::array<char, 256> name{};
  if (gethostname(name.data(), name.size() - 1) != 0) return {};
  return name.data();
}

std::expected<std::vector<Endpoint>, std::string> resolve(const HostPort& where, const std::string& text) {
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int failure = getaddrinfo(where.host.c_str(), std::to_string(where.port).c_str(), &wanted, &found);
  if (failure != 0) return std::unexpected(failure == EAI_SYSTEM ? std::strerror(errno) : gai_strerror(failure));
  std::vector<Endpoint> endpoints;
  for (const addrinfo* each = found; each != nullptr; each = each->ai_next) {
    if (each->ai_family != AF_INET && each->ai_family != AF_INET6) continue;
    Endpoint endpoint{text, {}, each->ai_addrlen};
    std::memcpy(&endpoint.address, each->ai_addr, each->ai_addrlen);
    endpoints.push_back(endpoint);
  }
  freeaddrinfo(found);
  return endpoints;
}

// Grows until the entry fits; directory services may have long ones.
template <class Ask>
std::optional<Account> passwd_entry(Ask ask) {
  std::vector<char> space(1024);
  passwd entry{};
  passwd* found = nullptr;
  int failure = ask(&entry, space, &found);
  while (failure == ERANGE && space.size() < (1U << 20U)) {
    space.resize(space.size() * 2);
    failure = ask(&entry, space, &found);
  }
  if (failure != 0 || found == nullptr) return std::nullopt;
  return Account{entry.pw_uid, entry.pw_gid};
}

std::optional<Account> account(const std::string& name) {
  return passwd_entry([&](passwd* entry, std::vector<char>& space, passwd** found) {
    return getpwnam_r(name.c_str(), entry, space.data(), space.size(), found);
  });
}

std::optional<std::uint32_t> group_of(std::uint32_t uid) {
  const auto entry = passwd_entry([&](passwd* place, std::vector<char>& space, passwd** found) {
    return getpwuid_r(uid, place, space.data(), space.size(), found);
  });
  return entry ? std::optional(entry->gid) : std::nullopt;
}

bool exists(const std::string& path) {
  struct stat status {};
  return stat(path.c_str(), &status) == 0;
}

}  // namespace

Surroundings this_machine() {
  return {own_hostname(), geteuid() == 0, {geteuid(), getegid()}, resolve, account, group_of, exists};
}

}  // namespace config
