#include "proxy/session/withheld_log.h"

namespace session {

std::string WithheldLog::news(std::string_view listener, std::string_view server,
                              const std::vector<std::string>& keywords) {
  if (keywords.empty()) return {};
  std::string text(server);
  char separator = ':';
  for (const std::string& keyword : keywords) {
    text.append(1, separator).append(" ").append(keyword);
    separator = ',';
  }
  const std::lock_guard lock(mutex_);
  if (told_.size() >= most_told) told_.clear();
  return told_.insert(std::string(listener) + " " + text).second ? text : std::string();
}

}  // namespace session
