#include "scanner/temporary.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <linux/magic.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace scanner {
namespace {

constexpr const char* memory_directory = "/dev/shm";

bool is_tmpfs(const std::string& directory) {
  struct statfs status {};
  return ::statfs(directory.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

// No limit of our own holds there; what the file system gives us, others may use up.
std::string shared_room(const std::string& directory) {
  struct statfs status {};
  if (::statfs(directory.c_str(), &status) != 0 || status.f_blocks == 0) return ", without a limit";
  return fmt::format(", with {} MiB free and shared with others",
                     std::uint64_t{status.f_bavail} * static_cast<std::uint64_t>(status.f_bsize) >> 20);
}

std::string prefix_for(std::uint32_t uid) { return fmt::format("gatepost-scanner.{}.", uid); }

// A scanner that was killed could not remove its directory; the lock tells it from one in use.
void remove_abandoned(const std::string& parent, std::uint32_t uid) {
  std::error_code ignored;
  const std::string prefix = prefix_for(uid);
  for (const auto& entry : std::filesystem::directory_iterator(parent, ignored)) {
    if (!entry.path().filename().string().starts_with(prefix)) continue;
    const OwnedFd fd(::open(entry.path().c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    struct stat status {};
    if (!fd || ::fstat(fd.get(), &status) != 0 || status.st_uid != uid) continue;
    if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) std::filesystem::remove_all(entry.path(), ignored);
  }
}

bool has_entries(int directory) {
  alignas(8) char space[512];  // room for `.`, `..` and at least one long name
  if (::lseek(directory, 0, SEEK_SET) != 0) return true;
  const long got = ::syscall(SYS_getdents64, directory, space, sizeof space);
  if (got < 0) return true;
  for (long at = 0; at < got;) {  // struct linux_dirent64: ino 8, off 8, reclen 2, type 1, name
    unsigned short length = 0;
    std::memcpy(&length, space + at + 16, sizeof length);
    const char* name = space + at + 19;
    if (std::strcmp(name, ".") != 0 && std::strcmp(name, "..") != 0) return true;
    at += length;
  }
  return false;
}

}  // namespace

std::expected<TemporaryPlace, std::string> TemporaryPlace::make(const std::string& directory, std::uint64_t limit,
                                                                std::uint32_t uid, std::uint32_t gid) {
  if (uid == 0) uid = ::geteuid();
  if (gid == 0) gid = ::getegid();
  TemporaryPlace place;
  place.maker_ = ::getpid();
  if (!directory.empty() && ::geteuid() == 0 && place.mount_over(directory, limit, uid, gid)) {
    place.choice_ = fmt::format("temporary files are kept in memory, in a private tmpfs of {} MiB", limit >> 20);
    return place;
  }
  if ((!directory.empty() && is_tmpfs(directory) && place.make_under(directory, uid, gid)) ||
      place.make_under(memory_directory, uid, gid)) {
    place.choice_ =
        fmt::format("temporary files are kept in memory, in {}{}", place.directory_, shared_room(place.directory_));
    return place;
  }
  if (!directory.empty() && place.make_under(directory, uid, gid)) {
    place.choice_ =
        fmt::format("temporary files are kept on disk, in {}: small messages take twice as long", place.directory_);
    return place;
  }
  return std::unexpected(fmt::format("no temporary directory can be made in {}{}{}: {}", memory_directory,
                                     directory.empty() ? "" : " or ", directory, std::strerror(errno)));
}

bool TemporaryPlace::mount_over(const std::string& directory, std::uint64_t limit, std::uint32_t uid,
                                std::uint32_t gid) {
  struct stat status {};
  if (::stat(directory.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) return false;
  if (::unshare(CLONE_NEWNS) != 0) return false;
  // What the host mounts later (a new signature volume) still reaches us; what we mount reaches nobody.
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_SLAVE, nullptr) != 0) return false;
  const std::string options = fmt::format("size={},mode=0700,uid={},gid={}", limit, uid, gid);
  if (::mount("gatepost-scanner", directory.c_str(), "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options.c_str()) != 0)
    return false;
  directory_ = directory;
  return true;
}

bool TemporaryPlace::make_under(const std::string& directory, std::uint32_t uid, std::uint32_t gid) {
  remove_abandoned(directory, uid);
  std::string path = directory + "/" + prefix_for(uid) + "XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) return false;
  const OwnedFd fd(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const bool ours =
      fd && ::flock(fd.get(), LOCK_EX | LOCK_NB) == 0 && (uid == ::geteuid() || ::fchown(fd.get(), uid, gid) == 0);
  if (!ours) {
    const int why = errno;
    ::rmdir(path.c_str());
    errno = why;
    return false;
  }
  lock_.reset(::dup(fd.get()));
  directory_ = path;
  made_ = true;
  return true;
}

TemporaryPlace::~TemporaryPlace() {
  if (!made_ || directory_.empty() || maker_ != ::getpid()) return;
  std::error_code ignored;
  std::filesystem::remove_all(directory_, ignored);
}

bool WorkDirectory::open(const std::string& path) {
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) return false;
  fd_.reset(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  path_ = path;
  return static_cast<bool>(fd_);
}

bool WorkDirectory::is_empty() const { return !has_entries(fd_.get()); }

bool WorkDirectory::empty_out() const {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(path_, ignored))
    std::filesystem::remove_all(entry.path(), ignored);
  return is_empty();
}

}  // namespace scanner
