#include "proxy/session/withheld_log.h"

namespace session {

namespace {

// So much of it that the log shows the cut.
std::string text_of(const std::vector<std::string>& keywords) {
  std::string set;
  for (const std::string& keyword : keywords) {
    set.append(set.empty() ? "" : ", ").append(keyword);
    if (set.size() > WithheldLog::most_octets) break;
  }
  if (set.size() > WithheldLog::most_octets) set.resize(WithheldLog::most_octets + 1);
  return set;
}

}  // namespace

bool WithheldSets::is_news(const std::string& text) {
  const std::lock_guard lock(mutex_);
  if (told_.size() >= most) told_.clear();
  return told_.insert(text).second;
}

WithheldSets::Counter& WithheldSets::counter(std::string_view listener, std::string_view downstream,
                                             std::string_view keywords) {
  const std::lock_guard lock(mutex_);
  std::tuple key{std::string(listener), std::string(downstream), std::string(keywords)};
  auto found = counts_.find(key);
  if (found == counts_.end()) {
    std::size_t& sets = sets_of_.try_emplace(std::string(listener)).first->second;
    if (sets < most) ++sets;
    else key = {std::string(listener), "others", "others"};
    found = counts_.try_emplace(std::move(key)).first;
  }
  return found->second.greetings;
}

std::vector<WithheldCount> WithheldSets::grown() {
  const std::lock_guard lock(mutex_);
  std::vector<WithheldCount> counts;
  for (auto& [key, entry] : counts_) {
    const std::uint64_t greetings = entry.greetings.load(std::memory_order_relaxed);
    if (greetings == entry.told) continue;
    entry.told = greetings;
    counts.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), greetings});
  }
  return counts;
}

std::vector<WithheldCount> WithheldSets::in_all() const {
  const std::lock_guard lock(mutex_);
  std::vector<WithheldCount> counts;
  counts.reserve(counts_.size());
  for (const auto& [key, entry] : counts_) {
    const std::uint64_t greetings = entry.greetings.load(std::memory_order_relaxed);
    counts.push_back({std::get<0>(key), std::get<1>(key), std::get<2>(key), greetings});
  }
  return counts;
}

std::string WithheldLog::news(std::string_view listener, std::string_view downstream, std::string_view server,
                              const std::vector<std::string>& keywords) {
  if (keywords.empty()) return {};
  const std::string set = text_of(keywords);
  std::string text = std::string(server).append(": ").append(set);
  const std::string key = std::string(listener).append(" ").append(text);
  auto known = known_.find(key);
  const bool is_new = known == known_.end();
  if (is_new) {
    if (known_.size() >= WithheldSets::most) known_.clear();
    known = known_.emplace(key, &sets_.counter(listener, downstream, set)).first;
  }
  known->second->fetch_add(1, std::memory_order_relaxed);
  return is_new && sets_.is_news(key) ? text : std::string();
}

}  // namespace session
