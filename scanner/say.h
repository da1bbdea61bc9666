// One sentence on stderr, which the supervisor passes through. Dropped rather than waited for when nobody reads it.
#pragma once

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>
#include <string>

namespace scanner {

inline void say_line(std::string line) {
  line.push_back('\n');
  pollfd ready{STDERR_FILENO, POLLOUT, 0};
  if (::poll(&ready, 1, 0) != 1 || (ready.revents & POLLOUT) == 0) return;
  if (::write(STDERR_FILENO, line.data(), line.size()) < 0) return;  // there is no other place to say it
}

template <class... Args>
void say(fmt::format_string<Args...> text, Args&&... args) {
  say_line(fmt::format(text, std::forward<Args>(args)...));
}

}  // namespace scanner
