// Writing octets to a file: regular, in memory, or anything else that does not ask to be waited for.
#pragma once

#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace io {

// All of `first`, then all of `second`; false with errno set (how much was written is then unknown).
inline bool write_file(int fd, std::string_view first, std::string_view second = {}) {
  while (!first.empty() || !second.empty()) {
    const iovec parts[2] = {{const_cast<char*>(first.data()), first.size()},
                            {const_cast<char*>(second.data()), second.size()}};
    const ssize_t written = ::writev(fd, parts, 2);
    if (written < 0 && errno == EINTR) continue;
    if (written == 0) errno = EIO;
    if (written <= 0) return false;
    const auto of_first = std::min(first.size(), static_cast<std::size_t>(written));
    first.remove_prefix(of_first);
    second.remove_prefix(static_cast<std::size_t>(written) - of_first);
  }
  return true;
}

}  // namespace io
