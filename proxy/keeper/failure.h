// Why something was not kept: what the client is to be told (by status), and a text for the log.
#pragma once

#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

#include "proxy/keeper/request.h"

namespace keeper {

struct Failure {
  Answer::Status status = Answer::Status::failed;
  std::string text;
};

// `error` is an errno; a full disk or quota is `full`, everything else `failed`.
inline Failure failure(int error, std::string_view what, std::string_view path) {
  const bool full = error == ENOSPC || error == EDQUOT;
  std::string text(what);
  text.append(" ").append(path).append(": ").append(std::strerror(error));
  return {full ? Answer::Status::full : Answer::Status::failed, std::move(text)};
}

// Repeats a call that a signal interrupted: no signal is ours to wait for here.
template <class Call>
auto uninterrupted(Call call) {
  for (;;) {
    const auto result = call();
    if (result >= 0 || errno != EINTR) return result;
  }
}

}  // namespace keeper
