#include "proxy/io/tls_contexts.h"

#include <algorithm>

namespace io {
namespace {

std::shared_ptr<TicketKeys> former_keys(const std::string& listener, const TlsContexts* former,
                                        const config::Config* former_config) {
  if (former == nullptr || former_config == nullptr) return nullptr;
  for (std::size_t i = 0; i < former_config->listeners.size() && i < former->listeners.size(); ++i)
    if (former_config->listeners[i].name == listener && former->listeners[i]) return former->listeners[i]->tickets();
  return nullptr;
}

// Moves what one context found under its place in the config.
void take(const std::string& pointer, std::vector<TlsProblem>&& found, std::vector<TlsProblem>& problems) {
  for (TlsProblem& each : found) problems.emplace_back(pointer + each.pointer, std::move(each.text), each.warning);
}

}  // namespace

std::shared_ptr<const TlsContexts> TlsContexts::make(const config::Config& config, const TlsFiles& files,
                                                     std::vector<TlsProblem>& problems, const TlsContexts* former,
                                                     const config::Config* former_config) {
  auto contexts = std::make_shared<TlsContexts>();
  bool good = true;
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const config::Listener& listener = config.listeners[i];
    auto& context = contexts->listeners.emplace_back();
    if (!config::ends_tls(listener.tls.mode)) continue;
    std::vector<TlsProblem> found;
    context = TlsServerContext::make(listener.tls, listener.name, files,
                                     former_keys(listener.name, former, former_config), found);
    good = good && context;
    take("/listeners/" + std::to_string(i) + "/tls", std::move(found), problems);
  }
  for (const auto& [name, downstream] : config.downstreams) {
    if (downstream.tls.mode == config::DownstreamTlsMode::none) continue;
    std::vector<TlsProblem> found;
    auto context = TlsClientContext::make(downstream.tls, files, found);
    good = good && context;
    contexts->downstreams.emplace(name, std::move(context));
    take("/downstreams/" + name + "/tls", std::move(found), problems);
  }
  return good ? contexts : nullptr;
}

std::shared_ptr<const TlsClientContext> TlsContexts::downstream(std::string_view name) const {
  const auto found = downstreams.find(name);
  return found == downstreams.end() ? nullptr : found->second;
}

std::vector<TlsProblem> check_tls(const config::Config& config) {
  std::vector<TlsProblem> problems;
  const TlsFiles files = TlsFiles::read(config, problems);
  TlsContexts::make(config, files, problems);
  return problems;
}

}  // namespace io
