// One line per event, Postfix-like text or JSON, attacker-controlled text escaped (T:I5).
//
// Each loop formats into its own bounded ring (no lock that another thread holds for long, no allocation per line
// beyond the line itself); one writer thread empties the rings to stderr, syslog or a file. Full = drop and count, and
// the count is logged when there is room again. Processes with one thread (supervisor, keeper) use the same class with
// one ring.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "config/config.h"

namespace admin {

enum class Level { info, warning, error };

// One log line being built: `ID: key=value, key=value` or one JSON object. Order of calls = order of fields.
class Record {
 public:
  Record(config::LogFormat format, Level level,
         std::string_view trace_id);  // empty id = an event of the program itself
  Record& text(std::string_view key,
               std::string_view value);  // status=clean; quoted "..." where it holds spaces or commas
  Record& path(std::string_view key, std::string_view value);    // from=<a@b>; JSON without the brackets
  Record& quoted(std::string_view key, std::string_view value);  // reply="250 2.0.0 Ok"
  Record& number(std::string_view key, std::uint64_t value);
  Record& seconds(std::string_view key, double value);  // three decimals
  // Whose client a line is about, and whose mail that is (config::told_direction): no key where that is empty.
  Record& listener(std::string_view name, std::string_view direction);
  Record& listener(const config::Listener& which);
  Record& message(std::string_view sentence);           // free text of a program event; JSON key "message"
  // The finished line without '\n': printable, valid UTF-8, at most 8 KiB (values cut at 512 octets, sentences at
  // 2,048, with "..." at the end; fields that do not fit any more are left out and `truncated=true` says so), one line.
  // JSON: a whole object with "level" and, where there is one, "id"; write() adds "time" and "process" in front.
  std::string take() &&;

 private:
  void begin(std::string_view key, std::string_view value);
  Record& plain(std::string_view key, std::string_view value);
  Record& field(std::string_view key, std::string_view value, std::string_view open, std::string_view close,
                std::string_view also);
  Record& settle(std::size_t start, bool was_first);

  config::LogFormat format_;
  std::string line_;
  bool first_ = true;
  bool cut_ = false;
};

class Log {
 public:
  // `process` is the tag: "gatepost", "gatepost/proxy", "gatepost/keeper". `file` is the descriptor to write to (stderr
  // or the opened log file; -1 with syslog; stays the caller's). `rings` = threads that log; ring 0 belongs to the
  // starting thread. 0 rings = no writer thread: write() writes at once, waiting at most a second for the reader. That
  // is for the supervisor, which forks and must be single-threaded then.
  Log(const config::Log& settings, std::string process, int file, unsigned rings);
  ~Log();  // writes what is left
  Log(const Log&) = delete;
  Log& operator=(const Log&) = delete;

  Record record(Level level, std::string_view trace_id = {}) const;
  void write(unsigned ring, Level level, Record&& record);  // never blocks (see `rings`); drops when the ring is full
  void say(unsigned ring, Level level, std::string_view sentence);  // record().message() and write()
  void reopen(int file);                                            // takes the descriptor; used after USR1
  std::uint64_t dropped() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Text for logs and JSON: control characters, invalid UTF-8 and quotes escaped (\r, \n, \x1b ...), cut at `limit`
// octets.
std::string escaped(std::string_view raw, std::size_t limit = 512);

}  // namespace admin
