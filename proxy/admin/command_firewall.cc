// firewall plan|apply|confirm|remove: what the packet filter is told.
#include "proxy/admin/command_firewall.h"

#include <fmt/format.h>
#include <poll.h>
#include <sysexits.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>

#include "config/document.h"
#include "config/surroundings.h"
#include "firewall/apply.h"
#include "firewall/undisturbed.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

using firewall::Failure;
using firewall::Node;
using firewall::Step;

// Steps that are shown as they are run. From the first of them on signals wait: who is about to be interrupted shall hear
// what is in force now.
struct Shown {
  bool json = false;
  std::vector<Step> steps{};
  std::optional<firewall::Undisturbed> undisturbed{};
  firewall::Watch watch() {
    return [this](const Step& step) {
      if (!undisturbed) undisturbed.emplace();
      steps.push_back(step);
      if (!json) static_cast<void>(print(fmt::format("{}: {}\n", step.why, firewall::in_shell(step.command.argv))));
    };
  }
};

int status_of(Failure::Kind kind) {
  switch (kind) {
    case Failure::Kind::plan:
    case Failure::Kind::directory:
      return EX_CONFIG;
    case Failure::Kind::permission:
      return EX_NOPERM;
    case Failure::Kind::busy:
    case Failure::Kind::unconfirmed:
      return EX_TEMPFAIL;
    case Failure::Kind::not_in_force:
      return EX_UNAVAILABLE;
    case Failure::Kind::step:
      break;
  }
  return EX_OSERR;
}

void warn(const firewall::Plan& plan, bool json) {
  if (json) return;
  for (const std::string& sentence : plan.warnings) firewall_complain("warning: " + sentence);
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
    firewall_complain(facts.error());
    return EX_NOPERM;
  }
  return print(firewall::to_json(*facts)) ? EX_OK : EX_IOERR;
}

int plan_command(const Arguments& arguments) {
  if (arguments.show_facts) return show_facts();
  if (arguments.config.empty()) {
    firewall_complain("firewall plan needs -c FILE");
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
              fmt::format("gatepost firewall {} -c {}, by {}{}", arguments.show_remove ? "remove" : "apply",
                          arguments.config, firewall::to_string(plan->backend),
                          arguments.show_remove && !plan->step_aside.empty()
                              ? "; after what serves diverted connections it waits until they have ended"
                              : ""),
              1024);
  std::vector<Step> steps = plan->apply;
  if (arguments.show_remove) {
    steps = plan->step_aside;
    steps.insert(steps.end(), plan->remove.begin(), plan->remove.end());
  }
  return print(firewall::in_shell(steps, title)) ? EX_OK : EX_IOERR;
}

// On a terminal: somebody who can still press a key is not locked out.
int wait_for_confirmation(const Arguments& arguments, const std::string& directory) {
  const auto seconds = arguments.confirm_within.count();
  fmt::print(stderr, "Press Enter within {} s to keep these rules: ", seconds);
  pollfd key{STDIN_FILENO, POLLIN, 0};
  char read_char = 0;
  const int ready = ::poll(&key, 1, static_cast<int>(seconds) * 1000);
  const bool pressed = ready == 1 && ::read(STDIN_FILENO, &read_char, 1) == 1;
  const auto kept = pressed ? firewall::confirm(directory) : std::expected<bool, Failure>(false);
  if (!kept) return firewall_failed(kept.error(), false);
  const bool early = ready != 0 && !pressed;  // Ctrl-D, for one
  fmt::print(stderr, "{}\n", *kept   ? "They are kept."
                             : early ? "\nNot confirmed: they are taken back when the time is over."
                                     : "\nNot confirmed: they are taken back.");
  return *kept ? EX_OK : EX_TEMPFAIL;
}

// The command that does it, whatever the configuration says by then.
std::string confirmation(const std::string& directory) {
  std::vector<std::string> words{"gatepost", "firewall", "confirm"};
  if (directory != firewall::default_state_directory) words.insert(words.end(), {"--state", directory});
  return firewall::in_shell(words);
}

bool asks_on_terminal(const Arguments& arguments) {
  return arguments.confirm_within.count() > 0 && !arguments.json && ::isatty(STDIN_FILENO) != 0;
}

int put_into_force(const Arguments& arguments, const config::Config& config, const std::string& directory) {
  Shown shown{arguments.json};
  const auto plan = firewall::apply(config, {directory, arguments.confirm_within, shown.watch()});
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
  if (arguments.confirm_within.count() > 0 && !arguments.json && !asks_on_terminal(arguments))
    firewall_complain(fmt::format("the rules are taken back after {} s, unless \"{}\" is run",
                                  arguments.confirm_within.count(), confirmation(directory)));
  return EX_OK;
}

int apply_command(const Arguments& arguments) {
  const auto config = firewall_config(arguments);
  if (!config) return EX_CONFIG;
  const std::string directory = firewall_directory(arguments, *config);
  const int status = put_into_force(arguments, *config, directory);
  return status == EX_OK && asks_on_terminal(arguments) ? wait_for_confirmation(arguments, directory) : status;
}

// The end of confirm and remove: a yes, a no, or a failure.
int told(const std::expected<bool, Failure>& done, const Arguments& arguments, const char* yes, const char* no,
         int status) {
  if (!done) return firewall_failed(done.error(), arguments.json);
  const char* const words = *done ? yes : no;
  const std::string text =
      arguments.json ? config::format(Node::object().add("ok", Node::of(*done)).add("text", Node::of(words)))
                     : fmt::format("{}\n", words);
  return !print(text) ? EX_IOERR : *done ? EX_OK : status;
}

int confirm_command(const Arguments& arguments) {
  const Remembered where = remembered(arguments);
  if (is_lost(where)) return EX_CONFIG;
  return told(firewall::confirm(where.directory), arguments, "confirmed", "nothing waits to be confirmed",
              EX_UNAVAILABLE);
}

// Somebody else's word than the operator's, so that mail would go by us unscanned.
enum class Fate { goes, stays, breaks };  // breaks: it should stay, but is not whole
Fate fate_of_rules(const Arguments& arguments, const std::string& directory) {
  if (!arguments.unless_fail_closed) return Fate::goes;
  const auto state = firewall::load_state(directory);
  if (!state || !*state || !(*state)->plan.fail_closed || (*state)->phase == firewall::State::Phase::aside)
    return Fate::goes;
  return stays_closed(**state) ? Fate::stays : Fate::breaks;
}

std::string waited_for(const std::optional<firewall::Diverted>& found, std::chrono::seconds longest) {
  if (!found) return fmt::format("the kernel does not say what is diverted: waiting {} s for it", longest.count());
  return fmt::format("{} diverted connections go on; the rest of the rules goes with the last one, in {} s at the latest",
                     found->served + found->left, longest.count());
}

// Those that are diverted get time to end, where new ones go by.
std::expected<bool, Failure> remove_after_running(const Arguments& arguments, const std::string& directory, Shown& shown) {
  const bool terminal = !arguments.json && ::isatty(STDERR_FILENO) != 0;
  bool told = false;
  const auto tell = [&](const std::optional<firewall::Diverted>& found) {
    if (!arguments.json && (terminal || !told))
      fmt::print(stderr, "{}gatepost: {}{}", terminal ? "\r" : "", waited_for(found, arguments.drain), terminal ? " " : "\n");
    told = true;
  };
  const auto end_line = [&] {
    if (told && terminal) fmt::print(stderr, "\n");
    told = false;
  };
  const auto cut = [&](const firewall::Diverted& left) {
    end_line();
    firewall_complain(fmt::format("{} diverted connections may be cut off now", left.served + left.left));
  };
  auto removed = firewall::remove_when_unused(directory, {arguments.drain, tell, cut}, shown.watch());
  end_line();
  return removed;
}

// Nothing: there is no gentle way, or it has failed for a reason that does not keep the rules from going at once.
std::optional<std::expected<bool, Failure>> remove_gently(const Arguments& arguments, const std::string& directory,
                                                          Shown& shown) {
  if (arguments.drain.count() == 0) return std::nullopt;
  auto aside = firewall::step_aside(directory, shown.watch());
  // What cannot be locked or read will not go at once either.
  if (!aside && (aside.error().kind != Failure::Kind::step || !firewall::load_state(directory))) return aside;
  if (!aside)
    for (const std::string& sentence : aside.error().sentences) firewall_complain("all rules go at once: " + sentence);
  if (!aside || !*aside) return std::nullopt;
  shown.undisturbed.reset();
  return remove_after_running(arguments, directory, shown);
}

int remove_command(const Arguments& arguments) {
  const Remembered where = remembered(arguments);
  const Fate fate = fate_of_rules(arguments, where.directory);
  if (fate == Fate::stays)
    return told(false, arguments, "", "left in force: firewall.gate.on_failure is \"closed\"", EX_OK);
  if (fate == Fate::breaks)
    firewall_complain(
        "they were cut while they went in, so all of them go, although firewall.gate.on_failure is \"closed\": new "
        "connections go by gatepost, unscanned");
  Shown shown{arguments.json};
  if (const auto gently = remove_gently(arguments, where.directory, shown))
    return told(*gently, arguments, "removed",
                "others were at work meanwhile: what is in force now, if anything, is theirs", EX_TEMPFAIL);
  auto done = firewall::remove(where.directory, shown.watch());
  if (done && !*done && where.broken) return EX_CONFIG;
  if (done && !*done && where.config) done = firewall::remove_planned(*where.config, where.directory, shown.watch());
  return told(done, arguments, "removed", "nothing is in force", EX_OK);
}

// Of a file that cannot be used: an account may be gone since its rules were put into force. What it includes is not read.
std::string directory_in(const std::string& path) {
  std::ifstream file(path);
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  config::Problems problems({path});
  const auto document = config::parse(text, 0, problems);
  const Node* const section = document ? document->find("firewall") : nullptr;
  const std::string named = section != nullptr ? firewall::text_at(*section, "state_directory") : "";
  return named.starts_with('/') ? named : firewall::default_state_directory;
}

}  // namespace

void firewall_complain(const std::string& sentence) {
  std::string line;
  append_text(line, sentence, 4096);
  fmt::print(stderr, "gatepost: {}\n", line);
}

Remembered remembered(const Arguments& arguments) {
  Remembered where{arguments.state.empty() ? firewall::default_state_directory : arguments.state};
  if (arguments.config.empty()) return where;
  where.config = firewall_config(arguments);
  where.broken = where.config == nullptr;
  if (!where.broken) where.directory = firewall_directory(arguments, *where.config);
  if (where.broken && arguments.state.empty()) where.directory = directory_in(arguments.config);
  return where;
}

bool is_lost(const Remembered& where) {
  const auto state = firewall::load_state(where.directory);
  return where.broken && state && !*state;
}

std::string firewall_directory(const Arguments& arguments, const config::Config& config) {
  return arguments.state.empty() ? config.firewall.state_directory : arguments.state;
}

std::shared_ptr<const config::Config> firewall_config(const Arguments& arguments) {
  config::Surroundings machine = config::this_machine();
  machine.root = true;  // who serves; a plan is for everybody to see
  auto loaded = config::load_file(arguments.config, machine);
  if (loaded) return loaded->config;
  for (const config::Error& error : loaded.error()) fmt::print(stderr, "{}\n", config::to_text(error));
  firewall_complain(fmt::format("{} cannot be used", arguments.config));
  return nullptr;
}

int firewall_failed(const Failure& failure, bool json) {
  if (json) {
    const Node node = Node::object().add("ok", Node::of(false)).add("errors", firewall::texts(failure.sentences));
    if (!print(config::format(node))) return EX_IOERR;
  } else {
    for (const std::string& sentence : failure.sentences) firewall_complain(sentence);
  }
  return status_of(failure.kind);
}

int firewall_command(const Arguments& arguments) {
  using Action = Arguments::Firewall;
  // Before anything is tried that would fail half-way, with the words of another program.
  const bool changes = arguments.action != Action::plan && arguments.action != Action::status;
  if (changes && ::geteuid() != 0)
    return firewall_failed({Failure::Kind::permission, {"only root may change rules, or prove them"}}, arguments.json);
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
      return firewall_status(arguments);
    case Action::remove:
      return remove_command(arguments);
  }
  return EX_SOFTWARE;
}

}  // namespace admin
