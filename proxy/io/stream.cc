#include "proxy/io/stream.h"

#include <array>

namespace io {

Task<IoStatus> write_all(Stream& stream, Scope& scope, TimePoint until, std::string_view bytes) {
  while (!bytes.empty()) {
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    const IoResult result = stream.write(&part, 1);
    if (result.status == IoStatus::ok) {
      bytes.remove_prefix(result.count);
    } else if (result.status != IoStatus::would_block) {
      co_return result.status;
    } else if (co_await Wait(scope, until, stream.writable) == Woken::deadline) {
      co_return IoStatus::timeout;
    }
  }
  co_return IoStatus::ok;
}

Scratch scratch() {
  static thread_local std::array<char, 65536> space;
  return {space.data(), space.size()};
}

}  // namespace io
