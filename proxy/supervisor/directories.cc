#include "proxy/supervisor/directories.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "proxy/supervisor/privileges.h"
#include "scanner/packet_socket.h"

namespace supervisor {
namespace {

std::unexpected<std::string> trouble(const std::string& path, const char* what) {
  return std::unexpected(fmt::format("{} {}: {}", what, path, std::strerror(errno)));
}

// The part of a maildir pattern before the first component that holds a %.
std::string fixed_part(const std::string& pattern) {
  const std::size_t percent = pattern.find('%');
  if (percent == std::string::npos) return std::filesystem::path(pattern).parent_path().string();
  const std::size_t slash = pattern.rfind('/', percent);
  return slash == std::string::npos || slash == 0 ? "/" : pattern.substr(0, slash);
}

std::expected<void, std::string> make_directory(const std::string& path, const config::Account& account,
                                                unsigned mode) {
  std::error_code error;
  const std::string parent = std::filesystem::path(path).parent_path().string();
  if (!parent.empty()) std::filesystem::create_directories(parent, error);  // what fails shows in the next call
  if (::mkdir(path.c_str(), 0700) != 0) return trouble(path, "cannot make the directory");
  const scanner::OwnedFd directory(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!directory) return trouble(path, "cannot open the directory");
  if (::geteuid() == 0 && ::fchown(directory.get(), account.uid, account.gid) != 0)
    return trouble(path, "cannot give away");
  if (::fchmod(directory.get(), mode) != 0) return trouble(path, "cannot set the mode of");
  return {};
}

}  // namespace

std::expected<void, std::string> provide_directory(const std::string& path, const config::Account& account,
                                                   unsigned mode, const std::string& who) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) {
    if (errno != ENOENT) return trouble(path, "cannot use the directory");
    if (auto made = make_directory(path, account, mode); !made) return made;
  } else if (!S_ISDIR(status.st_mode)) {
    return std::unexpected(fmt::format("{} is not a directory", path));
  }
  if (may_write(path, account)) return {};
  return std::unexpected(fmt::format(
      "{} (uid {}) may not write into {}: give the directory to it (chown), and let it through the directories above",
      who, account.uid, path));
}

std::expected<void, std::string> provide_directories(const config::Config& config) {
  // Spool files have no names, so letting the scanner through to its own corner shows it nothing.
  if (auto done = provide_directory(config.spool.directory, config.proxy_account, 0711, "the proxy"); !done)
    return done;
  if (auto done = provide_directory(config.state_directory, config.keeper_account, 0711, "the keeper"); !done)
    return done;
  for (const auto& [name, downstream] : config.downstreams) {
    if (!downstream.path || !downstream.create) continue;
    if (auto done = provide_directory(fixed_part(*downstream.path), config.keeper_account, 0700, "the keeper"); !done)
      return std::unexpected(fmt::format("downstream \"{}\": {}", name, done.error()));
  }
  return {};
}

std::string provide_scanner_directory(const config::Config& config) {
  if (::geteuid() != 0) return config.spool.directory;
  const std::string path = config.spool.directory + "/scanner";
  return provide_directory(path, config.scanner_account, 0700, "the scanner") ? path : std::string();
}

}  // namespace supervisor
