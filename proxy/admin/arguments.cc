#include "proxy/admin/arguments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <string_view>

#include "config/duration.h"
#include "config/nearest.h"
#include "firewall/bans.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

constexpr std::array<std::string_view, 6> commands{"serve", "check", "config", "scan", "firewall", "bans"};
// What has to follow some of them.
struct Actions {
  std::string_view command;
  std::vector<std::string_view> known;
  bool have_help = true;  // of their own
};
const std::array<Actions, 3> actions{{{"config", {"show", "schema", "manual"}, false},
                                      {"firewall", {"plan", "apply", "confirm", "verify", "status", "remove"}},
                                      {"bans", {"list", "add", "remove"}}}};

constexpr const char* description =
    "gatepost: a transparent SMTP proxy that scans mail for viruses before the server behind it says yes.";

constexpr const char* footer = R"(Examples:
  gatepost serve                                  try it: two loopback ports, test signatures, maildirs
  gatepost serve -c /etc/gatepost/gatepost.json
  gatepost check -c /etc/gatepost/gatepost.json   all mistakes at once, with line and column
  gatepost config manual                          every key, with its default
  gatepost scan --signatures /var/lib/clamav message.eml
  gatepost scan - < message.eml
  gatepost firewall --help                        intercept connections that are meant for others
  gatepost bans --help                            who is turned away by the kernel

Signals to serve: TERM lets transactions finish, a second TERM or INT cuts them, USR1 opens the log file anew, HUP reads
certificates and keys again and has servers examined anew (not the configuration: restart for that); USR2 is only logged,
signatures cannot be reloaded yet.

Exit status (sysexits.h): 0 all is well; 64 wrong command line; 70 a bug; 75 ended with transactions cut;
78 the configuration, a port or a directory cannot be used. scan: 0 all clean, 1 something infected or suspicious,
2 anything else.)";

struct Options {
  Arguments arguments;
  CLI::App app{description, "gatepost"};
};

void add_serve(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* serve = options.app.add_subcommand("serve", "run the proxy in the foreground");
  serve->add_option("-c,--config", to.config, "configuration file; without it embedded defaults for a first try")
      ->type_name("FILE");
  serve->add_option("--state", to.state, "without -c: directory for mail, spool and signatures")
      ->type_name("DIR")
      ->excludes("-c");
  serve->add_option("--ready-fd", to.ready_fd, "write one JSON line with the bound addresses there when all is ready")
      ->type_name("N")
      ->check(CLI::Range(0, 1 << 20));
  serve->callback([&to] { to.command = Arguments::Command::serve; });
}

void add_check(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* check = options.app.add_subcommand("check", "read the configuration, say all that is wrong with it");
  check->add_option("-c,--config", to.config, "configuration file")->type_name("FILE")->required();
  check->add_flag("--json", to.json, "one JSON object");
  check->add_flag("--probe", to.probe, "ask the servers too: what they offer, and whether they would be open relays");
  check->callback([&to] { to.command = Arguments::Command::check; });
}

void add_config(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* config = options.app.add_subcommand("config", "what can be configured, and what is");
  config
      ->add_option("TOPIC", to.topic,
                   "show: what -c FILE amounts to, defaults filled in; schema: JSON Schema; manual: table of keys")
      ->required()
      ->check(CLI::IsMember({"show", "schema", "manual"}));
  config->add_option("-c,--config", to.config, "configuration file, for show")->type_name("FILE");
  config->add_flag("--json", to.json, "no effect: show and schema are JSON");
  config->callback([&to] { to.command = Arguments::Command::config; });
}

void add_scan(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* scan = options.app.add_subcommand("scan", "scan files with a scanner of its own, started for this");
  scan->add_option("FILE", to.files, "messages or other files; - is standard input")->required();
  scan->add_option("-c,--config", to.config, "use the scanner of this configuration")->type_name("FILE");
  scan->add_option("--signatures", to.signatures,
                   "signature file or directory, may be repeated; default /var/lib/clamav, else test signatures")
      ->type_name("PATH")
      ->allow_extra_args(false)
      ->excludes("-c");
  scan->add_flag("--json", to.json, "one JSON object per file");
  scan->callback([&to] { to.command = Arguments::Command::scan; });
}

constexpr const char* firewall_footer = R"(Examples:
  gatepost firewall plan -c FILE                         what apply would run, as a shell script
  gatepost firewall plan -c FILE --remove                what takes it back
  gatepost firewall apply -c FILE --confirm-within 60s   over ssh: it is taken back unless you confirm
  gatepost firewall confirm -c FILE
  gatepost firewall verify -c FILE                       proves with connections that it works, or says what is wrong
  gatepost firewall status -c FILE
  gatepost firewall remove -c FILE                       without a trace, when what is diverted has ended, or after 60 s
  gatepost firewall remove -c FILE --drain 5m            the same after 5 minutes; 0s cuts off at once

Exit status: 0 all is well; 69 not applied, or verify has found something wrong; 71 a step failed, and what was done was
undone; 75 not confirmed, or others were at work while remove waited; 77 not root; 78 the configuration cannot be put into rules here.)";

void add_firewall_plan(CLI::App& firewall, Arguments& to) {
  CLI::App* plan = firewall.add_subcommand("plan", "show what apply would run; changes nothing");
  plan->add_option("-c,--config", to.config, "configuration file")->type_name("FILE");
  plan->add_option("--facts", to.facts, "plan for the host that this file describes, instead of this one")
      ->type_name("FILE");
  plan->add_flag("--show-facts", to.show_facts, "only what is known of this host, as such a file");
  plan->add_flag("--remove", to.show_remove, "what remove would run");
  plan->callback([&to] { to.action = Arguments::Firewall::plan; });
}

void add_firewall_apply(CLI::App& firewall, Arguments& to) {
  CLI::App* apply = firewall.add_subcommand("apply", "put the rules into force, or leave everything as it was");
  apply->add_option("-c,--config", to.config, "configuration file")->type_name("FILE")->required();
  apply
      ->add_option_function<std::string>(
          "--confirm-within",
          [&to](const std::string& text) {
            const auto duration = config::parse_duration(text);
            if (!duration || *duration < std::chrono::seconds(1) || *duration > std::chrono::hours(24))
              throw CLI::ValidationError("--confirm-within", "expects a time between 1s and 24h, such as 60s");
            to.confirm_within = std::chrono::ceil<std::chrono::seconds>(*duration);
          },
          "take them back after this time, unless confirmed")
      ->type_name("TIME");
  apply->callback([&to] { to.action = Arguments::Firewall::apply; });
}

void add_firewall_verify(CLI::App& firewall, Arguments& to) {
  CLI::App* verify = firewall.add_subcommand("verify", "prove that connections are intercepted");
  verify->add_option("-c,--config", to.config, "configuration file")->type_name("FILE")->required();
  CLI::Option* from = verify
                          ->add_option("--spoof-from", to.spoof_from,
                                       "also: with this source address, which is not ours, connect to --spoof-to")
                          ->type_name("ADDRESS");
  CLI::Option* target =
      verify->add_option("--spoof-to", to.spoof_to, "a server elsewhere")->type_name("HOST:PORT")->needs(from);
  from->needs(target);
  verify->callback([&to] { to.action = Arguments::Firewall::verify; });
}

void add_firewall_remove(CLI::App& firewall, Arguments& to) {
  CLI::App* remove = firewall.add_subcommand("remove", "take the rules back, without a trace");
  remove->add_option("-c,--config", to.config, "for its firewall.state_directory, and for rules that are not remembered: those that it would make")
      ->type_name("FILE");
  remove->add_flag("--unless-fail-closed", to.unless_fail_closed,
                   "leave rules with a gate whose on_failure is \"closed\"; for a service manager, when gatepost has ended");
  remove
      ->add_option_function<std::string>(
          "--drain",
          [&to](const std::string& text) {
            const auto duration = config::parse_duration(text);
            if (!duration || *duration > std::chrono::hours(24))
              throw CLI::ValidationError("--drain", "expects a time up to 24h, such as 5m, or 0s");
            to.drain = std::chrono::ceil<std::chrono::seconds>(*duration);
          },
          "new connections go by at once; wait so long for those that are diverted, before they are cut off (60s)")
      ->type_name("TIME");
  remove->callback([&to] { to.action = Arguments::Firewall::remove; });
}

void add_firewall(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* firewall = options.app.add_subcommand(
      "firewall", "rules of the packet filter: plan, apply, confirm, verify, status, remove");
  firewall->footer(firewall_footer);
  firewall->require_subcommand(1);
  add_firewall_plan(*firewall, to);
  add_firewall_apply(*firewall, to);
  add_firewall_verify(*firewall, to);
  CLI::App* confirm = firewall->add_subcommand("confirm", "keep what apply --confirm-within has put into force");
  confirm->callback([&to] { to.action = Arguments::Firewall::confirm; });
  CLI::App* status =
      firewall->add_subcommand("status", "whether rules are in force, and how many connections each has diverted");
  status->callback([&to] { to.action = Arguments::Firewall::status; });
  for (CLI::App* each : {confirm, status})
    each->add_option("-c,--config", to.config, "configuration file, for its firewall.state_directory")->type_name("FILE");
  add_firewall_remove(*firewall, to);
  for (CLI::App* each : firewall->get_subcommands({})) {
    each->add_flag("--json", to.json, "one JSON object");
    each->add_option("--state", to.state,
                     "where it is remembered what is in force; default: the configuration's, or /run/gatepost")
        ->type_name("DIR");
  }
  firewall->callback([&to] { to.command = Arguments::Command::firewall; });
}

constexpr const char* bans_footer = R"(Examples:
  gatepost bans list                         who is banned, for how long, and why
  gatepost bans add 192.0.2.1 --for 12h      its new connections are reset; without --for until it is removed
  gatepost bans add 2001:db8::/64
  gatepost bans remove 192.0.2.1

The lists are the kernel's and need no gatepost that runs; firewall.bans.on makes the rules look at them.
Exit status: 0 all is well; 64 wrong command line; 69 no such list, or never to be banned; 77 not root.)";

void add_bans(Options& options) {
  Arguments& to = options.arguments;
  CLI::App* bans = options.app.add_subcommand("bans", "clients that get no connection: list, add, remove");
  bans->footer(bans_footer);
  bans->require_subcommand(1);
  bans->add_subcommand("list", "who is banned, and for how long")->callback([&to] { to.bans = Arguments::Bans::list; });
  CLI::App* add = bans->add_subcommand("add", "new connections of a client are reset, from now on");
  add->add_option_function<std::string>(
         "--for",
         [&to](const std::string& text) {
           const auto duration = config::parse_duration(text);
           if (!duration || *duration < std::chrono::seconds(1) || *duration > firewall::longest_ban)
             throw CLI::ValidationError("--for", "expects a time from 1s to 596h, such as 1h");
           to.ban_for = std::chrono::ceil<std::chrono::seconds>(*duration);
         },
         "how long; without it until it is removed")
      ->type_name("TIME");
  add->callback([&to] { to.bans = Arguments::Bans::add; });
  CLI::App* remove = bans->add_subcommand("remove", "the client may connect again");
  remove->callback([&to] { to.bans = Arguments::Bans::remove; });
  for (CLI::App* each : {add, remove})
    each->add_option("NETWORK", to.network, "an address, or a network such as 192.0.2.0/24")->required();
  for (CLI::App* each : bans->get_subcommands({})) each->add_flag("--json", to.json, "one JSON object");
  bans->callback([&to] { to.command = Arguments::Command::bans; });
}

template <class Words>
bool has(const Words& known, std::string_view word) {
  return std::ranges::find(known, word) != known.end();
}

// A word that should be one of these, and is none.
template <class Words>
bool is_mistaken(std::string_view word, const Words& known) {
  return !word.starts_with("-") && !has(known, word);
}

std::string one_line(const std::string& text) {
  std::string out;
  append_text(out, text, 512);
  return out;
}

// The command line before it is parsed: which command is meant, as far as that can be told.
class Meant {
 public:
  Meant(int count, char** words) : first_(count > 1 ? words[1] : ""), second_(count > 2 ? words[2] : "-") {
    const auto found = std::ranges::find(actions, first_, &Actions::command);
    if (found != actions.end()) actions_ = &*found;
  }

  // A sentence; empty: nothing is wrong with the names of commands.
  std::string mistake() const {
    if (first_.empty()) return "no command given: serve, check, config, scan, firewall or bans";
    if (is_mistaken(first_, commands)) return unknown(first_, config::did_you_mean(first_, commands));
    if (actions_ == nullptr) return {};
    if (second_ == "-") return fmt::format("no command given after \"{}\": {}", first_, fmt::join(actions_->known, ", "));
    if (!is_mistaken(second_, actions_->known)) return {};
    return unknown(fmt::format("{} {}", first_, second_), config::did_you_mean(second_, actions_->known));
  }
  int wrong(const std::string& sentence) const {
    std::string command = "gatepost";
    if (has(commands, first_)) command += fmt::format(" {}", first_);
    if (actions_ != nullptr && actions_->have_help && has(actions_->known, second_)) command += fmt::format(" {}", second_);
    fmt::print(stderr, "gatepost: {}\nTry {} --help.\n", sentence, command);
    return EX_USAGE;
  }

 private:
  static std::string unknown(std::string_view words, const std::string& meant) {
    return fmt::format("there is no command \"{}\"{}", one_line(std::string(words)), meant);
  }
  std::string_view first_, second_;
  const Actions* actions_ = nullptr;
};

}  // namespace

std::expected<Arguments, int> parse_arguments(int count, char** words) {
  const Meant meant(count, words);
  if (const std::string mistake = meant.mistake(); !mistake.empty()) return std::unexpected(meant.wrong(mistake));
  Options options;
  options.app.footer(footer);
  options.app.set_version_flag("--version", "gatepost " GATEPOST_VERSION);
  options.app.require_subcommand(1);
  add_serve(options);
  add_check(options);
  add_config(options);
  add_scan(options);
  add_firewall(options);
  add_bans(options);
  try {
    options.app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return std::unexpected(options.app.exit(error));  // --help, --version
    return std::unexpected(meant.wrong(one_line(error.what())));
  }
  const Arguments& got = options.arguments;
  if (got.ready_fd >= 0 && ::fcntl(got.ready_fd, F_GETFD) < 0)
    return std::unexpected(meant.wrong(fmt::format("--ready-fd: descriptor {} is not open", got.ready_fd)));
  return got;
}

}  // namespace admin
