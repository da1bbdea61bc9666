// Whose mail a listener takes, in the words of who reads the log.
#pragma once

#include <string_view>

#include "config/config.h"

namespace config {

// "incoming" or "outgoing"; empty where clients connect knowingly and nobody has said which: there it is only the default.
inline std::string_view told_direction(const Listener& listener) {
  if (listener.direction == Direction::outgoing) return "outgoing";
  return listener.intercept == Intercept::none ? std::string_view{} : "incoming";
}

}  // namespace config
