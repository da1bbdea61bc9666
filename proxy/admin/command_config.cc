// check and config: what is read, what is wrong with it, what could be in it.
#include <fmt/format.h>
#include <sysexits.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "config/surroundings.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"
#include "proxy/io/tls_contexts.h"
#include "proxy/admin/name_check.h"
#include "proxy/admin/probe.h"

namespace admin {
namespace {

// This machine, whose certificates and keys are looked at, too.
config::Surroundings with_certificates() {
  config::Surroundings machine = config::this_machine();
  machine.tls = [](const config::Config& config) {
    std::vector<config::Finding> findings;
    for (io::TlsProblem& each : io::check_tls(config))
      findings.push_back({std::move(each.pointer), std::move(each.text), each.warning});
    return findings;
  };
  return machine;
}

std::string as_json(const config::Error& error) {
  return fmt::format(R"({{"file":{},"line":{},"column":{},"pointer":{},"text":{}}})", json_string(error.file),
                     error.line, error.column, json_string(error.pointer), json_string(error.text));
}

template <class List, class Format>
std::string array(const List& list, Format format) {
  std::string out = "[";
  for (const auto& one : list) out += (out.size() > 1 ? "," : "") + format(one);
  return out + "]";
}

std::vector<std::string> warnings_of(const config::Loaded& loaded) {
  std::vector<std::string> all = loaded.warnings;
  for (std::string& sentence : unresolved_servers(*loaded.config)) all.push_back(std::move(sentence));
  return all;
}

int status_of(const Probed& probed) { return probed.relays ? EX_CONFIG : probed.unreached ? EX_UNAVAILABLE : EX_OK; }

int check_as_json(const Arguments& arguments) {
  const auto loaded = config::load_file(arguments.config, with_certificates());
  const auto errors = loaded ? std::vector<config::Error>{} : loaded.error();
  const auto warnings = loaded ? warnings_of(*loaded) : std::vector<std::string>{};
  Probed probed;
  if (loaded && arguments.probe) probed = probe_servers(loaded->config);
  const std::string servers = probed.json.empty() ? "" : ",\"servers\":" + probed.json;
  const bool printed = print(fmt::format("{{\"ok\":{},\"errors\":{},\"warnings\":{}{}}}\n", loaded && !probed.relays,
                                         array(errors, as_json),
                                         array(warnings, [](const std::string& text) { return json_string(text); }),
                                         servers));
  return !printed ? EX_IOERR : loaded ? status_of(probed) : EX_CONFIG;
}

}  // namespace

bool print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return true;
  fmt::print(stderr, "gatepost: standard output: {}\n", std::strerror(errno));
  return false;
}

std::optional<config::Loaded> load_or_complain(const std::string& path) {
  auto loaded = config::load_file(path, with_certificates());
  if (loaded) return *std::move(loaded);
  for (const config::Error& error : loaded.error()) fmt::print(stderr, "{}\n", config::to_text(error));
  fmt::print(stderr, "gatepost: {} cannot be used: {} error{}\n", path, loaded.error().size(),
             loaded.error().size() == 1 ? "" : "s");
  return std::nullopt;
}

int check_command(const Arguments& arguments) {
  if (arguments.json) return check_as_json(arguments);
  const auto loaded = load_or_complain(arguments.config);
  if (!loaded) return EX_CONFIG;
  std::string text;
  for (const std::string& warning : warnings_of(*loaded)) text += "warning: " + warning + "\n";
  Probed probed;
  if (arguments.probe) probed = probe_servers(loaded->config);
  text += probed.text;
  text += arguments.config + (probed.relays ? ": this would be an open relay\n" : ": ok\n");
  return print(text) ? status_of(probed) : EX_IOERR;
}

int config_command(const Arguments& arguments) {
  std::string text;
  if (arguments.topic == "schema") {
    text = config::schema();
  } else if (arguments.topic == "manual") {
    text = config::manual();
  } else if (arguments.config.empty()) {
    fmt::print(stderr, "gatepost: config show needs -c FILE\n");
    return EX_USAGE;
  } else {
    const auto loaded = load_or_complain(arguments.config);
    if (!loaded) return EX_CONFIG;
    text = config::show(*loaded->config);
  }
  if (!text.ends_with('\n')) text += '\n';
  return print(text) ? EX_OK : EX_IOERR;
}

}  // namespace admin
