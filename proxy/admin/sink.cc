#include "proxy/admin/sink.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <ctime>

#include <fmt/format.h>

#include "proxy/admin/escape.h"

namespace admin {
namespace {

constexpr std::int64_t patience = 1000;  // ms a flush may wait for its reader

std::int64_t now_ms() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1000 + now.tv_nsec / 1'000'000;
}

int priority(Level level) { return level == Level::info ? LOG_INFO : level == Level::warning ? LOG_WARNING : LOG_ERR; }

// openlog(3) keeps the pointer.
const char* syslog_ident(const std::string& process) {
  static std::string ident;
  ident = process;
  return ident.c_str();
}

}  // namespace

Sink::Sink(const config::Log& settings, std::string process, int file)
    : format_(settings.format), process_(std::move(process)), file_(file) {
  if (file_ < 0) openlog(syslog_ident(process_), LOG_PID | LOG_NDELAY, LOG_MAIL);
  else look_at(file_);
  tzset();
}

void Sink::look_at(int file) {
  file_ = file;
  struct stat status {};
  if (fstat(file, &status) != 0) return;
  kind_ = S_ISSOCK(status.st_mode)                              ? Kind::socket
          : S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode) ? Kind::pipe
                                                                : Kind::file;
}

void Sink::use(scanner::OwnedFd file) {
  if (file_ < 0 || !file) return;
  look_at(file.get());
  owned_ = std::move(file);
  torn_ = false;
}

// As in RFC 3164 and in Postfix's logs, local time; own names, because strftime's follow the locale.
void Sink::put_text_time(std::int64_t unix_ms) {
  static constexpr const char* months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                           "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const std::int64_t second = unix_ms / 1000;
  if (second != second_) {
    const time_t when = second;
    tm local{};
    localtime_r(&when, &local);
    time_ = fmt::format("{} {:2} {:02}:{:02}:{:02} {}[{}]: ", months[local.tm_mon % 12], local.tm_mday, local.tm_hour,
                        local.tm_min, local.tm_sec, process_, getpid());
    second_ = second;
  }
  batch_ += time_;
}

void Sink::put_json_time(std::int64_t unix_ms) {
  const std::int64_t second = unix_ms / 1000;
  if (second != second_) {
    const time_t when = second;
    tm utc{};
    gmtime_r(&when, &utc);
    time_ = fmt::format("{{\"time\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.", utc.tm_year + 1900, utc.tm_mon + 1,
                        utc.tm_mday, utc.tm_hour, utc.tm_min, utc.tm_sec);
    second_ = second;
  }
  batch_ += time_;
  fmt::format_to(std::back_inserter(batch_), "{:03}Z\",\"process\":\"{}\",\"pid\":{},", unix_ms % 1000, process_,
                 getpid());
}

void Sink::put(Level level, std::int64_t unix_ms, std::string_view line) {
  if (format_ == config::LogFormat::json) {
    put_json_time(unix_ms);
    if (!line.empty()) line.remove_prefix(1);  // its '{'
  } else if (file_ >= 0) {
    put_text_time(unix_ms);
  }
  batch_ += line;
  if (file_ < 0) {
    syslog(priority(level), "%s", batch_.c_str());
    batch_.clear();
  } else {
    batch_ += '\n';
  }
}

bool Sink::wait_writable(std::int64_t& patience_ms) const {
  const std::int64_t before = now_ms();
  pollfd wait{file_, POLLOUT, 0};
  const int ready = poll(&wait, 1, static_cast<int>(std::max<std::int64_t>(patience_ms, 0)));
  patience_ms -= now_ms() - before;
  if (ready < 0) return errno == EINTR && patience_ms > 0;
  return ready > 0 && (wait.revents & POLLOUT) != 0;
}

// The octets to write next: whole lines, as many as the descriptor takes at once.
std::size_t Sink::piece(std::size_t from) const {
  const std::size_t rest = batch_.size() - from;
  if (kind_ != Kind::pipe || rest <= PIPE_BUF) return rest;
  const std::size_t end = batch_.rfind('\n', from + PIPE_BUF - 1);
  return end == std::string::npos || end < from ? PIPE_BUF : end - from + 1;
}

bool Sink::write_piece(std::size_t from, std::size_t length, std::size_t& written, std::int64_t& patience_ms) {
  // A blocking pipe that poll calls writable takes PIPE_BUF octets without blocking (pipe(7)).
  if (kind_ == Kind::pipe && !wait_writable(patience_ms)) return false;
  for (;;) {
    const ssize_t n = kind_ == Kind::socket ? send(file_, batch_.data() + from, length, MSG_DONTWAIT | MSG_NOSIGNAL)
                                            : ::write(file_, batch_.data() + from, length);
    if (n > 0) {
      written = static_cast<std::size_t>(n);
      return true;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN && patience_ms > 0 && wait_writable(patience_ms)) continue;
    return false;
  }
}

std::size_t Sink::flush() {
  if (batch_.empty()) return 0;
  const std::size_t skip = torn_ ? 1 : 0;
  if (torn_) batch_.insert(0, 1, '\n');
  std::int64_t patience_ms = patience;
  std::size_t at = 0;
  while (at < batch_.size()) {
    std::size_t written = 0;
    if (!write_piece(at, piece(at), written, patience_ms)) break;
    at += written;
  }
  const auto rest = batch_.begin() + static_cast<std::ptrdiff_t>(std::max(at, skip));
  const auto lost = static_cast<std::size_t>(std::count(rest, batch_.end(), '\n'));
  if (at > 0) torn_ = batch_[at - 1] != '\n';
  batch_.clear();
  return lost;
}

}  // namespace admin
