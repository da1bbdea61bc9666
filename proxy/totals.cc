#include "proxy/totals.h"

#include <algorithm>

void log_refused(admin::Log& log, unsigned ring, const config::Config& config, const Admission& admission,
                 const RefusedClients& refused) {
  const bool introduction = is_of_introduction(refused.reason);
  const std::string_view reply = farewell(refused.reason);
  admin::Record record = log.record(admin::Level::warning);
  record.text("event", introduction ? "identity_refused" : "refused").text("reason", to_string(refused.reason));
  record.listener(config.listeners[refused.listener]);
  if (is_for_network(refused.reason)) record.text("network", admission.text_of(refused.listener, refused.network));
  record.number(introduction ? "attempts" : "clients", refused.count);
  if (!reply.empty()) record.quoted("reply", reply.substr(0, reply.size() - 2));
  log.write(ring, admin::Level::warning, std::move(record));
}

void Totals::look(io::TimePoint now) {
  if (due_ == io::TimePoint{}) due_ = now + between;
  if (now < due_) return;
  due_ = now + between;
  log_withheld(withheld_.grown());
}

void Totals::log_withheld(const std::vector<session::WithheldCount>& counts) {
  for (const session::WithheldCount& count : counts) {
    const auto listener = std::ranges::find(config_.listeners, count.listener, &config::Listener::name);
    if (listener == config_.listeners.end()) continue;  // cannot be: those of sessions are counted
    admin::Record record = log_.record(admin::Level::info);
    record.text("event", "withheld_total").listener(*listener).text("downstream", count.downstream);
    record.quoted("keywords", count.keywords).number("greetings", count.greetings);
    log_.write(0, admin::Level::info, std::move(record));
  }
}

void Totals::end() {
  log_withheld(withheld_.in_all());
  for (const RefusedInAll& refused : refusals_.in_all()) {
    admin::Record record = log_.record(admin::Level::info);
    record.text("event", is_of_introduction(refused.reason) ? "identity_refused_total" : "refused_total");
    record.text("reason", to_string(refused.reason)).listener(config_.listeners[refused.listener]);
    record.number(is_of_introduction(refused.reason) ? "attempts" : "clients", refused.count);
    log_.write(0, admin::Level::info, std::move(record));
  }
}
