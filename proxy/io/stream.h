// Stream: a connection as bytes, without blocking. TCP here; TLS and the tests' in-memory pair are further kinds.
//
// read() and write() never wait: they say would_block, and `readable` or `writable` is raised when trying again makes
// sense. The coroutine functions below wait; nothing else does. After would_block a write, if it is tried again at all,
// begins with the same octets (TLS may hold them encrypted already).
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <sys/types.h>
#include <sys/uio.h>

#include "proxy/io/wait.h"

namespace io {

enum class IoStatus {
  ok,
  would_block,
  closed,   // orderly end of the peer's bytes (read), or the peer is gone (write)
  reset,    // RST or any other error; with TLS also a FIN without close_notify: the bytes may have been cut
  timeout,  // only from the waiting functions
};
struct IoResult {
  IoStatus status = IoStatus::ok;
  std::size_t count = 0;  // octets moved, with ok
};

class Stream {
 public:
  Stream() = default;
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;
  virtual ~Stream() = default;

  virtual IoResult read(char* into, std::size_t room) = 0;
  // The caller needs more octets than have come and is about to read() and wait for them: an end that came together with
  // the last ones, without an event of its own, is found by this read().
  virtual void look_again() {}
  virtual IoResult write(const iovec* parts, int count) = 0;
  // The end of this stream follows the next write() at once: both may go in one packet.
  virtual void last_words() {}
  // From a file at `offset` (not advanced); at most `count` octets.
  virtual IoResult send_file(int fd, off_t offset, std::size_t count) = 0;
  // The next close sends RST: the peer must not take what it has for complete (T:C4).
  virtual void abort_on_close() = 0;
  virtual std::string peer() const = 0;   // "192.0.2.1:4711", "[2001:db8::1]:4711"
  // Ends the sending side in order (TCP FIN); reading goes on.
  virtual void shutdown_write() = 0;

  Signal readable;
  Signal writable;
};

// Writes what can be written without waiting and advances `bytes` past it. ok: nothing is left; would_block: the rest
// waits for `writable`.
IoStatus write_at_once(Stream& stream, std::string_view& bytes);

// Writes all of `bytes` before `until`; the bytes must live until the task ends.
Task<IoStatus> write_all(Stream& stream, Scope& scope, TimePoint until, std::string_view bytes);

// The scratch space of this thread for read(): its content is gone with the next read of anybody.
struct Scratch {
  char* data;
  std::size_t size;
};
Scratch scratch();

}  // namespace io
