#include "proxy/keeper/maildir.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

namespace keeper {
namespace {

constexpr std::size_t max_name = 200;            // octets of a local part or domain
constexpr std::size_t max_component = 255;       // NAME_MAX
constexpr std::size_t max_path = 4000;           // PATH_MAX less what a message's name needs
constexpr std::int64_t stale_after = 36 * 3600;  // seconds
constexpr std::size_t max_remembered = 10'000;   // directories

bool safe_name(std::string_view name) {
  if (name.empty() || name.size() > max_name || name.front() == '.' || name.find("..") != std::string_view::npos)
    return false;
  return std::none_of(name.begin(), name.end(), [](char c) {
    const auto octet = static_cast<unsigned char>(c);
    return octet < 0x20 || octet == 0x7f || octet == '/';
  });
}

std::string lower_case(std::string_view text) {
  std::string out(text);
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return out;
}

bool components_fit(std::string_view path) {
  if (path.size() > max_path) return false;
  while (!path.empty()) {
    const std::size_t end = std::min(path.find('/'), path.size());
    if (end > max_component) return false;
    path.remove_prefix(std::min(end + 1, path.size()));
  }
  return true;
}

Failure bad_name(std::string_view why) { return {Answer::Status::bad_name, std::string(why)}; }

std::string parent_of(const std::string& path) {
  const std::size_t slash = path.find_last_of('/');
  return slash == std::string::npos ? "." : slash == 0 ? "/" : path.substr(0, slash);
}

bool is_directory(const std::string& path) {
  struct stat status {};
  return ::stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode);
}

std::expected<void, Failure> make_directory(const std::string& path, DirectorySyncs& syncs) {
  if (::mkdir(path.c_str(), 0700) == 0) {
    syncs.made_entry(parent_of(path));
    return {};
  }
  if (errno != EEXIST) return std::unexpected(failure(errno, "mkdir", path));
  syncs.found_entry(parent_of(path));
  return {};
}

std::expected<void, Failure> make_path(const std::string& path, DirectorySyncs& syncs) {
  for (std::size_t end = path.find('/', 1); end != std::string::npos; end = path.find('/', end + 1)) {
    const std::string part = path.substr(0, end);
    if (is_directory(part)) syncs.found_entry(parent_of(part));  // perhaps where mkdir would not say EEXIST, but EROFS
    else if (auto made = make_directory(part, syncs); !made) return made;
  }
  return make_directory(path, syncs);
}

}  // namespace

std::expected<std::string, Failure> expand(std::string_view pattern, const Recipient& recipient) {
  std::string path;
  while (!pattern.empty()) {
    const std::size_t literal = std::min(pattern.find('%'), pattern.size());
    path += pattern.substr(0, literal);
    pattern.remove_prefix(literal);
    if (pattern.empty()) break;
    if (pattern.starts_with("%local")) {
      if (!safe_name(recipient.local_part)) return std::unexpected(bad_name("the local part makes no safe file name"));
      path += recipient.local_part;
      pattern.remove_prefix(6);
    } else if (pattern.starts_with("%domain")) {
      if (!safe_name(recipient.domain)) return std::unexpected(bad_name("the domain makes no safe file name"));
      path += lower_case(recipient.domain);
      pattern.remove_prefix(7);
    } else if (pattern.starts_with("%%")) {
      path += '%';
      pattern.remove_prefix(2);
    } else {
      return std::unexpected(Failure{Answer::Status::failed, "the path pattern has an unknown %"});
    }
  }
  while (path.size() > 1 && path.back() == '/') path.pop_back();
  if (path.empty() || path.front() != '/')
    return std::unexpected(Failure{Answer::Status::failed, "the path pattern is not absolute"});
  if (!components_fit(path)) return std::unexpected(bad_name("the mailbox's path is too long"));
  return path;
}

std::expected<void, Failure> look_up(const std::string& mailbox, bool create) {
  struct stat status {};
  if (::stat(mailbox.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return {};
    return std::unexpected(failure(ENOTDIR, "mailbox", mailbox));
  }
  if (errno != ENOENT) return std::unexpected(failure(errno, "stat", mailbox));
  if (create) return {};
  return std::unexpected(Failure{Answer::Status::no_mailbox, "no mailbox " + mailbox});
}

void DirectorySyncs::found_entry(const std::string& directory) {
  if (synced_.contains(directory)) return;
  // Where we may not write, no keeper before us has made anything.
  if (::faccessat(AT_FDCWD, directory.c_str(), R_OK | W_OK | X_OK, AT_EACCESS) == 0) pending_.insert(directory);
}

void DirectorySyncs::synced(const std::string& directory) {
  if (pending_.erase(directory) == 0) return;
  if (synced_.size() >= max_remembered) synced_.clear();
  synced_.insert(directory);
}

std::set<std::string> DirectorySyncs::pending_above(const std::string& mailbox) const {
  std::set<std::string> out;
  for (const std::string& directory : pending_)
    if (directory == "/" || mailbox == directory || mailbox.starts_with(directory + "/")) out.insert(directory);
  return out;
}

std::expected<void, Failure> make_ready(const std::string& mailbox, bool create, DirectorySyncs& syncs) {
  if (auto there = look_up(mailbox, create); !there) return there;
  if (create) {
    if (auto made = make_path(mailbox, syncs); !made) return made;
  }
  for (const char* name : {"/tmp", "/new", "/cur"})
    if (auto made = make_directory(mailbox + name, syncs); !made) return made;
  return {};
}

void sweep_tmp(const std::string& mailbox, std::int64_t now_unix) {
  const std::string path = mailbox + "/tmp";
  // Not where a link leads: whoever owns the mailbox would choose what is removed.
  const int fd = ::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return;
  const std::unique_ptr<DIR, int (*)(DIR*)> directory(::fdopendir(fd), ::closedir);
  if (!directory) {
    ::close(fd);
    return;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    struct stat status {};
    if (::fstatat(dirfd(directory.get()), entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISREG(status.st_mode))
      continue;
    if (now_unix - status.st_mtim.tv_sec > stale_after) ::unlinkat(dirfd(directory.get()), entry->d_name, 0);
  }
}

UniqueNames::UniqueNames(std::string_view host) {
  for (const char c : host) {
    if (c == '/') host_ += "\\057";
    else if (c == ':') host_ += "\\072";
    else if (static_cast<unsigned char>(c) > 0x20 && c != ',') host_ += c;
  }
  if (host_.size() > 128) host_.resize(128);
  if (host_.empty()) host_ = "localhost";
}

std::string UniqueNames::next() {
  timeval now{};
  gettimeofday(&now, nullptr);
  return fmt::format("{}.M{:06}P{}Q{}.{}", now.tv_sec, now.tv_usec, getpid(), ++count_, host_);
}

}  // namespace keeper
