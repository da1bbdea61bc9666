#include <fmt/format.h>
#include <sysexits.h>

#include "proxy/admin/commands.h"
#include "proxy/admin/embedded.h"
#include "proxy/serve.h"
#include "proxy/supervisor/supervisor.h"

namespace admin {
namespace {

std::optional<config::Loaded> load_embedded(const std::string& state) {
  auto embedded = embedded_defaults(state);
  if (!embedded) {
    fmt::print(stderr, "gatepost: {}\n", embedded.error());
    return std::nullopt;
  }
  auto loaded = config::load_text(embedded->text, "embedded defaults");
  if (!loaded) {
    for (const config::Error& error : loaded.error()) fmt::print(stderr, "gatepost: {}\n", config::to_text(error));
    return std::nullopt;
  }
  loaded->warnings.insert(loaded->warnings.end(), embedded->warnings.begin(), embedded->warnings.end());
  return *std::move(loaded);
}

}  // namespace

int serve_command(const Arguments& arguments, std::function<int(ProxyStart)> run_proxy) {
  auto loaded = arguments.config.empty() ? load_embedded(arguments.state) : load_or_complain(arguments.config);
  if (!loaded) return EX_CONFIG;
  supervisor::ServeOptions options;
  options.config = loaded->config;
  options.warnings = std::move(loaded->warnings);
  options.ready_fd = arguments.ready_fd;
  return supervisor::serve(std::move(options), std::move(run_proxy));
}

}  // namespace admin
