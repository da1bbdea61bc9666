#include "test/playbooks/settings_of_script.h"

#include <charconv>
#include <functional>
#include <map>

#include "test/playbooks/script.h"

namespace playbook {
namespace {

using Setter = std::function<void(World&, std::string_view)>;

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    throw BadScript("a number expected, not " + std::string(text));
  return number;
}

std::chrono::milliseconds time_of(std::string_view text) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration_of(text));
}

config::Action action_of(std::string_view text) {
  if (text == "refuse") return config::Action::refuse;
  if (text == "defer") return config::Action::defer;
  if (text == "relay") return config::Action::relay;
  throw BadScript("no such action: " + std::string(text));
}

// A setter for a member of one part of the configuration.
template <class Part, class Member, class Parse>
Setter member(Part& (*part)(World&), Member Part::*field, Parse parse) {
  return [part, field, parse](World& world, std::string_view value) {
    part(world).*field = static_cast<Member>(parse(value));
  };
}

config::Listener& listener(World& world) { return world.listener(); }
config::Downstream& downstream(World& world) { return world.downstream_settings(); }
config::Limits& limits(World& world) { return world.config.limits; }
config::Defaults& defaults(World& world) { return world.config.defaults; }
config::Unscannable& unscannable(World& world) { return world.config.defaults.unscannable; }
config::Spool& spool(World& world) { return world.config.spool; }
config::Scanner& first_scanner(World& world) {
  if (world.config.scanners.empty()) world.config.scanners.emplace_back().name = "clamav";
  return world.config.scanners.front();
}

config::HalfClose half_close_of(std::string_view text) {
  return text == "finish" ? config::HalfClose::finish : config::HalfClose::abort;
}

config::LineEnds line_ends_of(std::string_view text) {
  return text == "refuse" ? config::LineEnds::refuse : config::LineEnds::normalize;
}
config::Nul nul_of(std::string_view text) { return text == "pass" ? config::Nul::pass : config::Nul::refuse; }

std::map<std::string_view, Setter> make_setters() {
  using L = config::Listener;
  using D = config::Downstream;
  using M = config::Limits;
  using U = config::Unscannable;
  return {
      {"listener.command_timeout", member(listener, &L::command_timeout, time_of)},
      {"listener.data_timeout", member(listener, &L::data_timeout, time_of)},
      {"listener.data_idle_timeout", member(listener, &L::data_idle_timeout, time_of)},
      {"listener.min_data_rate", member(listener, &L::min_data_rate, number_of)},
      {"listener.early_talker_wait", member(listener, &L::early_talker_wait, time_of)},
      {"listener.max_errors", member(listener, &L::max_errors, number_of)},
      {"listener.max_junk", member(listener, &L::max_junk, number_of)},
      {"listener.max_recipients", member(listener, &L::max_recipients, number_of)},
      {"listener.max_message", member(listener, &L::max_message, number_of)},
      {"listener.half_close", member(listener, &L::half_close, half_close_of)},
      {"listener.line_ends", member(listener, &L::line_ends, line_ends_of)},
      {"listener.nul", member(listener, &L::nul, nul_of)},
      {"downstream.connect_timeout", member(downstream, &D::connect_timeout, time_of)},
      {"downstream.greeting_timeout", member(downstream, &D::greeting_timeout, time_of)},
      {"downstream.reply_timeout", member(downstream, &D::reply_timeout, time_of)},
      {"downstream.keepalive", member(downstream, &D::keepalive, time_of)},
      {"limits.answer_within", member(limits, &M::answer_within, time_of)},
      {"limits.relay_wait", member(limits, &M::relay_wait, time_of)},
      {"limits.min_relay_wait", member(limits, &M::min_relay_wait, time_of)},
      {"limits.scan_wait", member(limits, &M::scan_wait, time_of)},
      {"defaults.infected", member(defaults, &config::Defaults::infected, action_of)},
      {"defaults.suspicious", member(defaults, &config::Defaults::suspicious, action_of)},
      {"defaults.error", member(defaults, &config::Defaults::error, action_of)},
      {"defaults.unscannable.encrypted", member(unscannable, &U::encrypted, action_of)},
      {"defaults.unscannable.time", member(unscannable, &U::time, action_of)},
      {"spool.memory", member(spool, &config::Spool::memory, number_of)},
      {"spool.directory", [](World& world, std::string_view value) { world.config.spool.directory = value; }},
      {"scanner.max_file_size", member(first_scanner, &config::Scanner::max_file_size, number_of)},
      {"window.slots", [](World& world, std::string_view value) { world.in_flight.capacity = number_of(value); }},
      {"log.format",
       [](World& world, std::string_view value) {
         world.config.log.format = value == "json" ? config::LogFormat::json : config::LogFormat::text;
       }},
  };
}

template <class Enum>
Enum named(std::string_view text, int last) {
  for (int i = 0; i <= last; ++i)
    if (to_string(static_cast<Enum>(i)) == text) return static_cast<Enum>(i);
  throw BadScript("the scanner has no word " + std::string(text));
}

}  // namespace

void set_key(World& world, std::string_view key, std::string_view value) {
  static const std::map<std::string_view, Setter> setters = make_setters();
  const auto found = setters.find(key);
  if (found == setters.end()) throw BadScript("no such key: " + std::string(key));
  found->second(world, value);
}

io::Duration duration_of(std::string_view text) {
  if (text.ends_with("ms")) return std::chrono::milliseconds(number_of(text.substr(0, text.size() - 2)));
  if (text.ends_with('s')) return std::chrono::seconds(number_of(text.substr(0, text.size() - 1)));
  throw BadScript("a duration expected, not " + std::string(text));
}

scanner::Report report_of(std::string_view text) {
  scanner::Report report;
  const std::size_t end = std::min(text.find(' '), text.size());
  const std::string_view outcome = text.substr(0, end);
  const std::string_view detail = end == text.size() ? "" : text.substr(end + 1);
  if (outcome == "clean") return report;
  scanner::Finding finding;
  finding.engine = "clamav";
  finding.outcome = named<scanner::Outcome>(outcome, static_cast<int>(scanner::Outcome::infected));
  if (outcome == "unscannable")
    finding.unscannable = named<scanner::Unscannable>(detail, static_cast<int>(scanner::Unscannable::limit));
  else if (outcome == "error")
    finding.failure = named<scanner::Failure>(detail, static_cast<int>(scanner::Failure::disconnected));
  else finding.name = detail.starts_with('\'') ? octets_of(detail) : std::string(detail);
  report.findings.push_back(std::move(finding));
  return report;
}

keeper::Answer::Status status_of(std::string_view text) {
  using Status = keeper::Answer::Status;
  static const std::map<std::string_view, Status> names = {{"kept", Status::kept},
                                                           {"no_mailbox", Status::no_mailbox},
                                                           {"bad_name", Status::bad_name},
                                                           {"full", Status::full},
                                                           {"failed", Status::failed}};
  const auto found = names.find(text);
  if (found == names.end()) throw BadScript("the keeper has no word " + std::string(text));
  return found->second;
}

}  // namespace playbook
