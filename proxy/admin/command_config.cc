// check and config: what is read, what is wrong with it, what could be in it.
#include <fmt/format.h>
#include <sysexits.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

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

int check_as_json(const Arguments& arguments) {
  const auto loaded = config::load_file(arguments.config);
  const auto errors = loaded ? std::vector<config::Error>{} : loaded.error();
  const auto warnings = loaded ? loaded->warnings : std::vector<std::string>{};
  const bool printed =
      print(fmt::format("{{\"ok\":{},\"errors\":{},\"warnings\":{}}}\n", loaded.has_value(), array(errors, as_json),
                        array(warnings, [](const std::string& text) { return json_string(text); })));
  return !printed ? EX_IOERR : loaded ? EX_OK : EX_CONFIG;
}

}  // namespace

bool print(const std::string& text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0) return true;
  fmt::print(stderr, "gatepost: standard output: {}\n", std::strerror(errno));
  return false;
}

std::optional<config::Loaded> load_or_complain(const std::string& path) {
  auto loaded = config::load_file(path);
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
  for (const std::string& warning : loaded->warnings) text += "warning: " + warning + "\n";
  return print(text + arguments.config + ": ok\n") ? EX_OK : EX_IOERR;
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
