#include "proxy/interception.h"

#include <netinet/in.h>

#include <algorithm>

#include "config/endpoint.h"
#include "firewall/original_destination.h"

namespace {

Refusal refusal_of(firewall::Stray stray) {
  switch (stray) {
    case firewall::Stray::port:
      return Refusal::port_not_intercepted;
    case firewall::Stray::network:
      return Refusal::destination_not_protected;
    case firewall::Stray::direct:
    case firewall::Stray::none:
      break;
  }
  return Refusal::not_intercepted;
}

}  // namespace

bool Interception::wanted() const {
  return std::ranges::any_of(config_->listeners,
                             [](const auto& each) { return each.intercept != config::Intercept::none; });
}

bool Interception::is_local(const sockaddr* address, io::TimePoint now) {
  const std::lock_guard lock(mutex_);
  return local_.holds(address, now);
}

std::expected<std::shared_ptr<const session::Intercepted>, Refusal> Interception::look(std::size_t listener, int socket,
                                                                                       const sockaddr_storage& peer,
                                                                                       io::TimePoint now) {
  const config::Listener& settings = config_->listeners[listener];
  if (own.holds(reinterpret_cast<const sockaddr*>(&peer))) return std::unexpected(Refusal::loop);
  const auto original = firewall::original_destination(socket, settings.intercept, pf_);
  if (!original) return std::unexpected(Refusal::not_intercepted);
  const auto is_ours = [&](const sockaddr* address) { return is_local(address, now); };
  const firewall::Stray stray = firewall::judge_destination(settings, config_->listeners, *original, is_ours);
  if (stray != firewall::Stray::none) return std::unexpected(refusal_of(stray));
  auto found = std::make_shared<session::Intercepted>();
  found->client = peer;
  found->destination.address = *original;
  found->destination.length = original->ss_family == AF_INET6 ? sizeof(sockaddr_in6) : sizeof(sockaddr_in);
  found->destination.text = to_text(found->destination);
  found->to_here = is_local(found->destination.get(), now);
  return found;
}
