#include "proxy/supervisor/tls_material.h"

#include <algorithm>
#include <cstring>

#include "proxy/io/tls_contexts.h"

namespace supervisor {
namespace {

bool uses_tls(const config::Config& config) {
  const auto listens = [](const config::Listener& each) { return config::ends_tls(each.tls.mode); };
  const auto connects = [](const auto& each) { return each.second.tls.mode != config::DownstreamTlsMode::none; };
  return std::ranges::any_of(config.listeners, listens) || std::ranges::any_of(config.downstreams, connects);
}

}  // namespace

std::expected<TlsMaterial, std::vector<std::string>> read_tls(const config::Config& config) {
  TlsMaterial material;
  if (!uses_tls(config)) return material;
  std::vector<io::TlsProblem> problems;
  const io::TlsFiles files = io::TlsFiles::read(config, problems);
  const auto contexts = io::TlsContexts::make(config, files, problems);
  std::vector<std::string> errors;
  for (const io::TlsProblem& each : problems)
    (each.warning ? material.warnings : errors).push_back(each.pointer + ": " + each.text);
  if (!contexts || !errors.empty()) return std::unexpected(std::move(errors));
  auto sealed = files.seal();
  if (!sealed) return std::unexpected(std::vector{std::string("keys cannot be handed on: ") + std::strerror(sealed.error())});
  material.sealed = std::move(*sealed);
  return material;
}

}  // namespace supervisor
