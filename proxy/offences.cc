#include "proxy/offences.h"

#include <algorithm>

bool Offences::add(const supervisor::BanRequest& offence, io::TimePoint now) {
  const config::Listener& listener = config_->listeners.at(offence.listener);
  const config::BanRule& rule = listener.bans.rule_for(offence.what);
  if (rule.time.count() == 0) return false;
  const Key key(offence.listener, offence.what, offence.told,
                supervisor::client_network(listener, offence.client).network);
  constexpr std::chrono::hours longest_within{24};
  while (order_.size() >= most || (!order_.empty() && now - order_.front().second.at >= longest_within))
    forget_oldest();
  std::vector<Event>& events = counts_[key];
  std::erase_if(events, [&](const Event& each) { return now - each.at >= rule.within; });
  if (events.size() + 1 >= rule.after) {
    counts_.erase(key);
    return true;
  }
  const Event event{++numbers_, now};
  events.push_back(event);
  order_.emplace_back(key, event);
  return false;
}

void Offences::forget_oldest() {
  const auto [key, event] = order_.front();
  order_.pop_front();
  const auto found = counts_.find(key);
  if (found == counts_.end()) return;
  std::vector<Event>& events = found->second;
  if (!events.empty() && events.front().number == event.number) events.erase(events.begin());
  if (events.empty()) counts_.erase(found);
}
