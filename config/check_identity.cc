// Who may tell us who the client is, and how the servers are told (dialogue.md D5).
#include <fmt/format.h>

#include "config/check.h"
#include "config/quote.h"

namespace config {
namespace {

void check_listener(const Listener& listener, const std::string& pointer, Problems& problems) {
  if (problems.failed(pointer)) return;
  const bool on = listener.proxy_header != ProxyHeader::off;
  if (on && listener.proxy_from.empty())
    problems.error(pointer + "/proxy_header",
                   "needs proxy_from, the addresses of the proxies in front: nobody else may say who the client is");
  if (!on && !listener.proxy_from.empty())
    problems.error(pointer + "/proxy_from", "needs proxy_header: without it nobody sends a PROXY header");
}

void check_downstream(const Downstream& downstream, const std::string& pointer, Problems& problems) {
  if (problems.failed(pointer)) return;
  const bool told_by_us = downstream.identity != Identity::automatic && downstream.identity != Identity::none;
  if (downstream.path && told_by_us)
    problems.error(pointer + "/identity", "belongs to a downstream with servers: a maildir is told nothing");
  if (downstream.tell_tls && downstream.identity != Identity::proxy_v2)
    problems.error(pointer + "/tell_tls", "needs \"identity\": \"proxy-v2\", the only one that can tell of TLS");
  const std::size_t recipients = downstream.relay_probe_recipients.size();
  if (recipients > 3)  // an empty list was refused when it was read
    problems.error(pointer + "/relay_probe_recipients",
                   fmt::format("has {} mailboxes; one to three are asked for", recipients));
}

}  // namespace

void check_identity(const Config& config, Problems& problems) {
  for (std::size_t i = 0; i < config.listeners.size(); ++i)
    check_listener(config.listeners[i], "/listeners/" + std::to_string(i), problems);
  for (const auto& [name, downstream] : config.downstreams)
    check_downstream(downstream, "/downstreams/" + escape_pointer(name), problems);
}

}  // namespace config
