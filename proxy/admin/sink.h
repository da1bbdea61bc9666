// Where finished lines go: a descriptor (stderr or a file) or syslog(3), facility mail. One thread at a time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "config/config.h"
#include "proxy/admin/log.h"
#include "scanner/packet_socket.h"

namespace admin {

class Sink {
 public:
  // `file` stays the caller's; -1 = syslog.
  Sink(const config::Log& settings, std::string process, int file);

  // Adds time and process to a line of Record and keeps it for flush(); syslog has it at once.
  void put(Level level, std::int64_t unix_ms, std::string_view line);

  // One write(2) for all of them (pieces of at most PIPE_BUF octets into a pipe, so that processes do not mix their
  // lines). Waits at most a second for a reader that does not read. Returns the number of lines that were lost.
  std::size_t flush();

  // From now on this descriptor, closed when the next one comes.
  void use(scanner::OwnedFd file);

 private:
  enum class Kind { file, pipe, socket };
  void look_at(int file);
  void put_text_time(std::int64_t unix_ms);
  void put_json_time(std::int64_t unix_ms);
  std::size_t piece(std::size_t from) const;
  bool write_piece(std::size_t from, std::size_t length, std::size_t& written, std::int64_t& patience_ms);
  bool wait_writable(std::int64_t& patience_ms) const;

  config::LogFormat format_;
  std::string process_;
  int file_;
  scanner::OwnedFd owned_;
  Kind kind_ = Kind::file;
  std::string batch_;
  bool torn_ = false;         // the last line written is incomplete: begin a new one first
  std::int64_t second_ = -1;  // of the text in time_
  std::string time_;
};

}  // namespace admin
