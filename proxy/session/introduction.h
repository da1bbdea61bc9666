// Identity in: what a peer in front of us says about its client (dialogue.md D1, D5; F:B6), and whom we believe it.
//
// Trust belongs to the address that speaks now. Once a listed peer has told another one, by PROXY header or by XCLIENT,
// that one must be listed itself to tell more: it may be anybody, speaking through a peer that passes commands on.
#pragma once

#include <cstddef>
#include <string_view>

#include "config/config.h"
#include "protocol/proxy_header.h"
#include "protocol/xclient.h"
#include "proxy/session/client_facts.h"

namespace session {

struct Trust {
  bool proxy = false;  // may begin with a PROXY header
  bool xclient = false;
  bool xforward = false;
  bool received = false;
};
// An address that is none (unknown, a UNIX socket) is trusted with nothing.
// Nothing is believed of a client whom the proxy in front did not name.
Trust trust_in(const config::Listener& listener, const ClientFacts& client);

// How many octets behind `so_far` belong to the PROXY header for certain: so many may be read and no more, for what
// follows it is the dialogue, or TLS. At least 1; not asked once the header is whole.
std::size_t certain_octets(std::string_view so_far);

// What was told takes the place of what the socket said.
void introduce(ClientFacts& client, const protocol::ProxyHeader& header);
void introduce(ClientFacts& client, const protocol::ClientIdentity& told);

}  // namespace session
