#include "scanner/message.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cerrno>
#include <limits>

namespace scanner {
namespace {

// Below this one pread is cheaper than mmap, page faults and munmap.
constexpr std::size_t max_copied = 256 * 1024;

}  // namespace

bool Message::open(int fd, std::uint64_t size) {
  close();
  return size <= max_copied ? copy(fd, static_cast<std::size_t>(size)) : map(fd, size);
}

void Message::view(std::string_view octets) {
  close();
  octets_ = octets;
}

void Message::close() {
  if (mapped_ != nullptr) ::munmap(mapped_, octets_.size());
  mapped_ = nullptr;
  octets_ = {};
}

bool Message::copy(int fd, std::size_t size) {
  if (copied_.empty()) copied_.resize(max_copied + 1);
  std::size_t got = 0;
  while (got <= size) {  // one octet more than expected shows a file that is longer
    const ssize_t n = ::pread(fd, copied_.data() + got, size + 1 - got, static_cast<off_t>(got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    if (n == 0) break;
    got += static_cast<std::size_t>(n);
    if (got == size) break;
  }
  if (got != size) return false;
  octets_ = {copied_.data(), size};
  return true;
}

bool Message::map(int fd, std::uint64_t size) {
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode)) return false;
  if (size > std::uint64_t{std::numeric_limits<std::ptrdiff_t>::max()} ||
      static_cast<std::uint64_t>(status.st_size) != size)
    return false;
  void* start = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd, 0);
  if (start == MAP_FAILED) return false;
  mapped_ = start;
  octets_ = {static_cast<const char*>(start), size};
  return true;
}

}  // namespace scanner
