// The proxy asks for a ban: who has done what. For how long, and whether at all, is the supervisor's to say, by the
// configuration: a proxy that is no longer ours can ban nobody whom the configuration spares, and for no other time.
#pragma once

#include <cstdint>
#include <optional>

#include "config/config.h"
#include "protocol/ip_address.h"
#include "proxy/supervisor/control.h"

namespace supervisor {

struct BanRequest {
  std::uint32_t listener = 0;  // its index in the configuration
  config::Offence what{};
  protocol::IpAddress client{};
  bool told = false;  // a peer in front has said so: the packets are that peer's, and nobody is banned
  bool operator==(const BanRequest&) const = default;
};

// Of Kind::offence, with the text "infected 192.0.2.1", or "infected 192.0.2.1 told".
Message message_of(const BanRequest& request);
// Nothing when it is none, or is about no listener or rule of this configuration.
std::optional<BanRequest> ban_request_in(const Message& message, const config::Config& config);

// What is counted, and banned, together: the client network of the listener; a single address where mail is outgoing,
// for there whole networks of our own clients share a prefix.
config::Netmask client_network(const config::Listener& listener, const protocol::IpAddress& client);

}  // namespace supervisor
