// What a client is offered in our reply to EHLO or LHLO: what its downstream offers and we carry from end to end.
#pragma once

#include "protocol/capabilities.h"
#include "proxy/session/client_facts.h"
#include "proxy/session/services.h"

namespace session {

// The smallest of the downstream's limit of content, ours and the scanner's, in octets; 0 = none. It holds after HELO, too.
std::uint64_t content_limit(const Services& services, const config::Listener& listener,
                            const protocol::Capabilities& downstream);

// An SMTP client gets each LMTP reply by itself (dialogue.md D6, `single`).
bool takes_one_recipient(const Services& services, const config::Listener& listener);

// `starttls`: this listener has a certificate and the leg is in plain text.
protocol::Capabilities offer(const Services& services, const config::Listener& listener, const ClientFacts& client,
                             const protocol::Capabilities& downstream, bool starttls);

}  // namespace session
