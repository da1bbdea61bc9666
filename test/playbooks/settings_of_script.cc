#include "test/playbooks/settings_of_script.h"

#include <charconv>
#include <map>

#include "config/settings.h"
#include "config/value.h"
#include "test/playbooks/script.h"

namespace playbook {
namespace {

std::uint64_t number_of(std::string_view text) {
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size())
    throw BadScript("a number expected, not " + std::string(text));
  return number;
}

// The struct that a section of the table describes, in the one listener, downstream and scanner of a dialogue.
void* owner_of(World& world, std::string_view section) {
  if (section == "listeners") return &world.listener();
  if (section == "downstreams") return &world.downstream_settings();
  if (section != "scanners") return nullptr;
  if (world.config.scanners.empty()) world.config.scanners.emplace_back().name = "clamav";
  return &world.config.scanners.front();
}

// "listener" stands for "listeners": there is one.
const config::Section* section_of(const config::Section& parent, std::string_view name) {
  for (const config::Section& section : parent.sections)
    if (section.key == name || section.key == std::string(name) + "s") return &section;
  return nullptr;
}

// A JSON value, or a text that needs no quotes: 3, true, 30s, ["DSN"].
config::Node value_of(std::string_view text) {
  config::Problems ignored({"value"});
  if (auto node = config::parse(text, 0, ignored)) return std::move(*node);
  return config::Node::of(text);
}

template <class Enum>
Enum named(std::string_view text, int last) {
  for (int i = 0; i <= last; ++i)
    if (to_string(static_cast<Enum>(i)) == text) return static_cast<Enum>(i);
  throw BadScript("the scanner has no word " + std::string(text));
}

}  // namespace

void set_key(World& world, std::string_view key, std::string_view value) {
  if (key == "window.slots") {
    world.in_flight.capacity = number_of(value);
    return;
  }
  if (key == "learning") {
    world.learns = value == "true";
    return;
  }
  if (key == "client.from_here") {
    world.arrival.from_here = value == "true";
    return;
  }
  const config::Section* section = &config::root();
  void* owner = &world.config;
  std::string_view rest = key;
  for (std::size_t dot = rest.find('.'); dot != std::string_view::npos && section != nullptr; dot = rest.find('.')) {
    section = section_of(*section, rest.substr(0, dot));
    void* const only = section == nullptr ? nullptr : owner_of(world, section->key);
    if (section != nullptr) owner = only != nullptr ? only : section->open(owner, "");
    rest.remove_prefix(dot + 1);
  }
  config::Problems problems({std::string(key)});
  if (section != nullptr)
    for (const config::Setting& setting : section->settings) {
      if (setting.key != rest) continue;
      read_value(setting, owner, value_of(value), config::Path(), config::this_machine(), problems);
      if (problems.any()) throw BadScript(std::string(key) + ": " + problems.errors().front().text);
      return;
    }
  throw BadScript("no such key: " + std::string(key));
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
