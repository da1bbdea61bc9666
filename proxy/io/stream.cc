#include "proxy/io/stream.h"

#include <array>

namespace io {

IoStatus write_at_once(Stream& stream, std::string_view& bytes) {
  while (!bytes.empty()) {
    const iovec part{const_cast<char*>(bytes.data()), bytes.size()};
    const IoResult result = stream.write(&part, 1);
    if (result.status != IoStatus::ok) return result.status;
    bytes.remove_prefix(result.count);
  }
  return IoStatus::ok;
}

Task<IoStatus> write_all(Stream& stream, Scope& scope, TimePoint until, std::string_view bytes) {
  while (true) {
    const IoStatus status = write_at_once(stream, bytes);
    if (status != IoStatus::would_block) co_return status;
    if (co_await Wait(scope, until, stream.writable) == Woken::deadline) co_return IoStatus::timeout;
  }
}

Scratch scratch() {
  static thread_local std::array<char, 65536> space;
  return {space.data(), space.size()};
}

}  // namespace io
