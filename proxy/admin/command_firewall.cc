// firewall plan|apply|confirm|status|remove: what the packet filter is told, and whether it listens.
#include "proxy/admin/command_firewall.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sysexits.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <optional>

#include "config/surroundings.h"
#include "firewall/apply.h"
#include "firewall/counters.h"
#include "firewall/passed_on.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

using firewall::Failure;
using firewall::Node;
using firewall::Step;

// One that is shown as it was run.
struct Shown {
  bool json = false;
  std::vector<Step> steps{};
  firewall::Watch watch() {
    return [this](const Step& step) {
      steps.push_back(step);
      if (!json) static_cast<void>(print(fmt::format("{}: {}\n", step.why, firewall::in_shell(step.command.argv))));
    };
  }
};

void complain(const std::string& sentence) {
  std::string line;
  append_text(line, sentence, 4096);
  fmt::print(stderr, "gatepost: {}\n", line);
}

int status_of(Failure::Kind kind) {
  switch (kind) {
    case Failure::Kind::plan:
      return EX_CONFIG;
    case Failure::Kind::permission:
      return EX_NOPERM;
    case Failure::Kind::unconfirmed:
      return EX_TEMPFAIL;
    case Failure::Kind::step:
      break;
  }
  return EX_OSERR;
}

void warn(const firewall::Plan& plan, bool json) {
  if (json) return;
  for (const std::string& sentence : plan.warnings) complain("warning: " + sentence);
}

std::expected<firewall::Plan, Failure> planned(const Arguments& arguments, const config::Config& config) {
  if (arguments.facts.empty()) return firewall::plan_here(config, firewall_directory(arguments, config));
  std::ifstream file(arguments.facts);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto fail = [](std::vector<std::string> sentences) {
    return std::unexpected(Failure{Failure::Kind::plan, std::move(sentences)});
  };
  if (!file && text.empty()) return fail({fmt::format("{}: {}", arguments.facts, std::strerror(errno))});
  const auto facts = firewall::facts_from_json(text, arguments.facts);
  if (!facts) return fail({facts.error()});
  auto plan = firewall::plan(config, *facts);
  if (!plan) return fail(std::move(plan.error()));
  return *std::move(plan);
}

int show_facts() {
  const auto facts = firewall::probe();
  if (!facts) {
    complain(facts.error());
    return EX_NOPERM;
  }
  return print(firewall::to_json(*facts)) ? EX_OK : EX_IOERR;
}

int plan_command(const Arguments& arguments) {
  if (arguments.show_facts) return show_facts();
  if (arguments.config.empty()) {
    complain("firewall plan needs -c FILE");
    return EX_USAGE;
  }
  const auto config = firewall_config(arguments);
  if (!config) return EX_CONFIG;
  const auto plan = planned(arguments, *config);
  if (!plan) return firewall_failed(plan.error(), arguments.json);
  warn(*plan, arguments.json);
  if (arguments.json) {
    Node node = Node::object().add("ok", Node::of(true)).add("plan", node_of(*plan));
    return print(config::format(node.add("warnings", firewall::texts(plan->warnings)))) ? EX_OK : EX_IOERR;
  }
  std::string title;
  append_text(title,
              fmt::format("gatepost firewall {} -c {}, by {}", arguments.show_remove ? "remove" : "apply",
                          arguments.config, firewall::to_string(plan->backend)),
              1024);
  return print(firewall::in_shell(arguments.show_remove ? plan->remove : plan->apply, title)) ? EX_OK : EX_IOERR;
}

// On a terminal: somebody who can still press a key is not locked out.
int wait_for_confirmation(const Arguments& arguments, const std::string& directory) {
  const auto seconds = arguments.confirm_within.count();
  if (::isatty(STDIN_FILENO) == 0 || arguments.json) {
    if (!arguments.json)
      complain(
          fmt::format("the rules are taken back after {} s, unless \"gatepost firewall confirm\" is run", seconds));
    return EX_OK;
  }
  fmt::print(stderr, "Press Enter within {} s to keep these rules: ", seconds);
  pollfd key{STDIN_FILENO, POLLIN, 0};
  char read_char = 0;
  const bool pressed =
      ::poll(&key, 1, static_cast<int>(seconds) * 1000) == 1 && ::read(STDIN_FILENO, &read_char, 1) == 1;
  const auto kept = pressed ? firewall::confirm(directory) : std::expected<bool, Failure>(false);
  if (!kept) return firewall_failed(kept.error(), false);
  fmt::print(stderr, "{}\n", *kept ? "They are kept." : "\nNot confirmed: they are taken back.");
  return *kept ? EX_OK : EX_TEMPFAIL;
}

int apply_command(const Arguments& arguments) {
  const auto config = firewall_config(arguments);
  if (!config) return EX_CONFIG;
  Shown shown{arguments.json};
  const std::string directory = firewall_directory(arguments, *config);
  const auto plan = firewall::apply(*config, {directory, arguments.confirm_within, shown.watch()});
  if (!plan) return firewall_failed(plan.error(), arguments.json);
  warn(*plan, arguments.json);
  const std::string text = arguments.json
                               ? config::format(Node::object()
                                                    .add("ok", Node::of(true))
                                                    .add("backend", Node::of(firewall::to_string(plan->backend)))
                                                    .add("ran", node_of(shown.steps))
                                                    .add("warnings", firewall::texts(plan->warnings)))
                               : fmt::format("in force, by {}\n", firewall::to_string(plan->backend));
  if (!print(text)) return EX_IOERR;
  return arguments.confirm_within.count() > 0 ? wait_for_confirmation(arguments, directory) : EX_OK;
}

// For confirm, status and remove, which need the configuration for nothing else, if one is given.
struct Remembered {
  std::string directory;
  std::shared_ptr<const config::Config> config{};
  bool broken = false;  // the configuration; then this is the default directory
};
Remembered remembered(const Arguments& arguments) {
  Remembered where{arguments.state.empty() ? firewall::default_state_directory : arguments.state};
  if (arguments.config.empty()) return where;
  where.config = firewall_config(arguments);
  where.broken = where.config == nullptr;
  if (!where.broken) where.directory = firewall_directory(arguments, *where.config);
  return where;
}

// The end of confirm and remove: a yes, a no, or a failure.
int told(const std::expected<bool, Failure>& done, const Arguments& arguments, const char* yes, const char* no,
         int status) {
  if (!done) return firewall_failed(done.error(), arguments.json);
  const std::string text = arguments.json ? config::format(Node::object().add("ok", Node::of(*done)))
                                          : fmt::format("{}\n", *done ? yes : no);
  return !print(text) ? EX_IOERR : *done ? EX_OK : status;
}

int confirm_command(const Arguments& arguments) {
  const Remembered where = remembered(arguments);
  if (where.broken) return EX_CONFIG;
  return told(firewall::confirm(where.directory), arguments, "confirmed", "nothing waits to be confirmed",
              EX_UNAVAILABLE);
}

// Somebody else's word than the operator's, so that mail would go by us unscanned.
enum class Fate { goes, stays, breaks };  // breaks: it should stay, but is not whole
Fate fate_of_rules(const Arguments& arguments, const std::string& directory) {
  if (!arguments.unless_fail_closed) return Fate::goes;
  const auto state = firewall::load_state(directory);
  if (!state || !*state || !(*state)->plan.fail_closed) return Fate::goes;
  return stays_closed(**state) ? Fate::stays : Fate::breaks;
}

int remove_command(const Arguments& arguments) {
  const Remembered where = remembered(arguments);
  const Fate fate = fate_of_rules(arguments, where.directory);
  if (fate == Fate::stays)
    return told(false, arguments, "", "left in force: firewall.gate.on_failure is \"closed\"", EX_OK);
  if (fate == Fate::breaks)
    complain(
        "they were cut while they went in, so all of them go, although firewall.gate.on_failure is \"closed\": new "
        "connections go by gatepost, unscanned");
  Shown shown{arguments.json};
  auto done = firewall::remove(where.directory, shown.watch());
  if (done && !*done && where.broken) return EX_CONFIG;
  if (done && !*done && where.config) done = firewall::remove_planned(*where.config, where.directory, shown.watch());
  return told(done, arguments, "removed", "nothing is in force", EX_OK);
}

// By a gate that is fail-open and did not answer; nothing where there is no such gate.
std::optional<std::uint64_t> unscanned(const firewall::State& state, const firewall::Counters& counters) {
  std::optional<std::uint64_t> all;
  for (const firewall::Diversion& each : state.plan.diversions)
    if (const auto found = counters.find(undecided_label(each)); found != counters.end())
      all = all.value_or(0) + found->second;
  return all;
}

// TLS that went through to the server since gatepost was started; by listener.
std::map<std::string, std::uint64_t> passed_on(const firewall::State& state, const std::string& directory) {
  std::vector<std::string> listeners;
  for (const firewall::Diversion& each : state.plan.diversions) listeners.push_back(each.listener);
  return firewall::passed_on(directory, listeners);
}

std::string table_of(const firewall::State& state, const firewall::Counters& counters, const std::string& directory) {
  std::string text = fmt::format("{:<24} {:<8} {:<5} {:>12}\n", "LISTENER", "SCOPE", "IP", "CONNECTIONS");
  for (const firewall::Diversion& each : state.plan.diversions) {
    const auto found = counters.find(each.label());
    text += fmt::format("{:<24} {:<8} IPv{} {:>13}\n", each.listener, firewall::to_string(each.scope),
                        number_of(each.version), found == counters.end() ? "no rule" : std::to_string(found->second));
  }
  for (const firewall::Diversion& each : state.plan.diversions)
    if (const auto found = counters.find(dropped_label(each)); found != counters.end())
      text += fmt::format("{} first packets were dropped on {} ({}, {}, IPv{})\n", found->second,
                          fmt::join(each.drop_interfaces, " and "), each.listener, firewall::to_string(each.scope),
                          number_of(each.version));
  if (const auto by = unscanned(state, counters))
    text += fmt::format("{} connections went by gatepost, unscanned, while its gate did not answer\n", *by);
  for (const auto& [listener, connections] : passed_on(state, directory))
    text += fmt::format("{} connections of {} went through in TLS, unscanned, since gatepost was started\n",
                        connections, listener);
  return text;
}

std::string json_of(const firewall::State& state, const firewall::Counters& counters, const std::string& directory,
                    bool intact) {
  Node rules = Node::array();
  for (const firewall::Diversion& each : state.plan.diversions) {
    Node rule = Node::object()
                    .add("listener", Node::of(each.listener))
                    .add("scope", Node::of(firewall::to_string(each.scope)))
                    .add("version", Node::of(static_cast<std::uint64_t>(number_of(each.version))));
    const auto found = counters.find(each.label());
    rule.add("in_force", Node::of(found != counters.end()));
    if (found != counters.end()) rule.add("connections", Node::of(found->second));
    if (const auto dropped = counters.find(dropped_label(each)); dropped != counters.end())
      rule.add("dropped", Node::of(dropped->second));
    rules.children.push_back(std::move(rule));
  }
  Node status = Node::object()
                    .add("applied", Node::of(true))
                    .add("intact", Node::of(intact))
                    .add("confirmed", Node::of(state.phase == firewall::State::Phase::applied))
                    .add("backend", Node::of(firewall::to_string(state.plan.backend)))
                    .add("rules", std::move(rules));
  if (const auto by = unscanned(state, counters)) status.add("unscanned", Node::of(*by));
  Node passed = Node::array();
  for (const auto& [listener, connections] : passed_on(state, directory))
    passed.children.push_back(
        Node::object().add("listener", Node::of(listener)).add("connections", Node::of(connections)));
  if (!passed.children.empty()) status.add("passed_on_in_tls", std::move(passed));
  return config::format(status);
}

int status_command(const Arguments& arguments) {
  const Remembered where = remembered(arguments);
  if (where.broken) return EX_CONFIG;
  const auto state = firewall::load_state(where.directory);
  if (!state) {
    complain(state.error());
    return EX_OSERR;
  }
  if (!*state) {
    const char* text = arguments.json ? "{\n  \"applied\": false\n}\n" : "nothing is in force\n";
    return print(text) ? EX_UNAVAILABLE : EX_IOERR;
  }
  const firewall::Counters counters = firewall::read_counters((*state)->plan);
  const bool intact =
      (*state)->phase != firewall::State::Phase::applying && firewall::missing_parts((*state)->plan).empty();
  std::string text;
  if (arguments.json) {
    text = json_of(**state, counters, where.directory, intact);
  } else {
    text = fmt::format("in force, by {}{}\n", firewall::to_string((*state)->plan.backend),
                       (*state)->phase == firewall::State::Phase::unconfirmed ? ", not confirmed yet"
                       : (*state)->phase == firewall::State::Phase::applying  ? ", not complete"
                                                                              : "") +
           table_of(**state, counters, where.directory);
    if (!intact) complain("parts of it are missing; \"gatepost firewall apply\" puts them back");
  }
  return !print(text) ? EX_IOERR : intact ? EX_OK : EX_UNAVAILABLE;
}

}  // namespace

std::string firewall_directory(const Arguments& arguments, const config::Config& config) {
  return arguments.state.empty() ? config.firewall.state_directory : arguments.state;
}

std::shared_ptr<const config::Config> firewall_config(const Arguments& arguments) {
  config::Surroundings machine = config::this_machine();
  machine.root = true;  // who serves; a plan is for everybody to see
  auto loaded = config::load_file(arguments.config, machine);
  if (loaded) return loaded->config;
  for (const config::Error& error : loaded.error()) fmt::print(stderr, "{}\n", config::to_text(error));
  complain(fmt::format("{} cannot be used", arguments.config));
  return nullptr;
}

int firewall_failed(const Failure& failure, bool json) {
  if (json) {
    const Node node = Node::object().add("ok", Node::of(false)).add("errors", firewall::texts(failure.sentences));
    if (!print(config::format(node))) return EX_IOERR;
  } else {
    for (const std::string& sentence : failure.sentences) complain(sentence);
  }
  return status_of(failure.kind);
}

int firewall_command(const Arguments& arguments) {
  using Action = Arguments::Firewall;
  switch (arguments.action) {
    case Action::plan:
      return plan_command(arguments);
    case Action::apply:
      return apply_command(arguments);
    case Action::confirm:
      return confirm_command(arguments);
    case Action::verify:
      return verify_command(arguments);
    case Action::status:
      return status_command(arguments);
    case Action::remove:
      return remove_command(arguments);
  }
  return EX_SOFTWARE;
}

}  // namespace admin
