#include "proxy/admin/arguments.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sysexits.h>

#include <CLI/CLI.hpp>
#include <array>
#include <string_view>

#include "config/nearest.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

constexpr std::array<std::string_view, 4> commands{"serve", "check", "config", "scan"};

constexpr const char* description =
    "gatepost: a transparent SMTP proxy that scans mail for viruses before the server behind it says yes.";

constexpr const char* footer = R"(Examples:
  gatepost serve                                  try it: two loopback ports, test signatures, maildirs
  gatepost serve -c /etc/gatepost/gatepost.json
  gatepost check -c /etc/gatepost/gatepost.json   all mistakes at once, with line and column
  gatepost config manual                          every key, with its default
  gatepost scan --signatures /var/lib/clamav message.eml
  gatepost scan - < message.eml

Signals to serve: TERM lets transactions finish, a second TERM or INT cuts them, USR1 opens the log file anew.

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

int wrong(const std::string& sentence) {
  fmt::print(stderr, "gatepost: {}\nTry gatepost --help.\n", sentence);
  return EX_USAGE;
}

bool is_command(std::string_view word) { return std::find(commands.begin(), commands.end(), word) != commands.end(); }

std::string one_line(const std::string& text) {
  std::string out;
  append_text(out, text, 512);
  return out;
}

}  // namespace

std::expected<Arguments, int> parse_arguments(int count, char** words) {
  if (count < 2) return std::unexpected(wrong("no command given: serve, check, config or scan"));
  const std::string_view first = words[1];
  if (!first.starts_with("-") && !is_command(first))
    return std::unexpected(wrong(fmt::format("there is no command \"{}\"{}", one_line(std::string(first)),
                                             config::did_you_mean(first, commands))));
  Options options;
  options.app.footer(footer);
  options.app.set_version_flag("--version", "gatepost " GATEPOST_VERSION);
  options.app.require_subcommand(1);
  add_serve(options);
  add_check(options);
  add_config(options);
  add_scan(options);
  try {
    options.app.parse(count, words);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) return std::unexpected(options.app.exit(error));  // --help, --version
    return std::unexpected(wrong(one_line(error.what())));
  }
  const Arguments& got = options.arguments;
  if (got.ready_fd >= 0 && ::fcntl(got.ready_fd, F_GETFD) < 0)
    return std::unexpected(wrong(fmt::format("--ready-fd: descriptor {} is not open", got.ready_fd)));
  return got;
}

}  // namespace admin
