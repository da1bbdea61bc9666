#include "proxy/session/offer.h"

#include <algorithm>

#include "proxy/session/disguise.h"
#include "proxy/session/introduction.h"

namespace session {
namespace {

using protocol::Capabilities;

constexpr std::uint32_t promised_recipients = 100;  // RFC 5321 4.5.3.1.8: fewer must be said

bool holds(const std::vector<std::string>& words, std::string_view word) {
  return std::ranges::find(words, word) != words.end();
}

// Passwords only where nobody listens (dialogue.md D2).
bool may_authenticate(const config::Listener& listener, const ClientFacts& client) {
  if (listener.auth == config::AuthOffer::never) return false;
  return listener.auth == config::AuthOffer::always || client.encrypted() || client.loopback;
}

// SMTP in front of LMTP: recipients may fare differently.
bool mixes_replies(const Services& services, const config::Listener& listener) {
  return listener.protocol == config::Protocol::smtp &&
         services.config->downstream_of(listener).protocol == config::Protocol::lmtp;
}

void withhold(Capabilities& offered, const std::vector<std::string>& keywords) {
  const auto keep = [&keywords](bool& flag, std::string_view keyword) { flag = flag && !holds(keywords, keyword); };
  keep(offered.pipelining, "PIPELINING");
  keep(offered.size, "SIZE");
  keep(offered.eight_bit_mime, "8BITMIME");
  keep(offered.smtputf8, "SMTPUTF8");
  keep(offered.dsn, "DSN");
  keep(offered.enhanced_status_codes, "ENHANCEDSTATUSCODES");
  keep(offered.chunking, "CHUNKING");
  keep(offered.binary_mime, "BINARYMIME");
  keep(offered.prdr, "PRDR");
  keep(offered.limits, "LIMITS");
  keep(offered.vrfy, "VRFY");
  keep(offered.etrn, "ETRN");
  if (!offered.chunking) offered.binary_mime = false;
  if (holds(keywords, "AUTH")) offered.auth.clear();
}

}  // namespace

bool takes_one_recipient(const Services& services, const config::Listener& listener) {
  return mixes_replies(services, listener) && listener.mixed_replies == config::MixedReplies::single;
}

std::uint64_t content_limit(const Services& services, const config::Listener& listener, const Capabilities& downstream) {
  std::uint64_t smallest = downstream.size_limit;
  const auto lower = [&smallest](std::uint64_t limit) {
    if (limit != 0 && (smallest == 0 || limit < smallest)) smallest = limit;
  };
  lower(listener.max_message);
  if (services.scanner != nullptr) lower(services.config->scanners.front().max_file_size);
  return smallest;
}

Capabilities offer(const Services& services, const config::Listener& listener, const ClientFacts& client,
                   const Capabilities& downstream, bool starttls) {
  protocol::Carry carry;
  carry.starttls = starttls;
  const Trust trust = trust_in(listener, client);
  carry.xclient = trust.xclient;
  carry.xforward = trust.xforward;
  carry.chunking = carry.binary_mime = true;
  carry.vrfy = holds(listener.forward_commands, "VRFY");
  carry.expn = holds(listener.forward_commands, "EXPN");
  carry.help = holds(listener.forward_commands, "HELP") || shows_server(services, listener);
  carry.etrn = holds(listener.forward_commands, "ETRN");
  carry.auth = !downstream.auth.empty() && may_authenticate(listener, client);
  carry.auth_allowed = listener.auth_mechanisms;
  const bool one_by_one = takes_one_recipient(services, listener);
  carry.limits = downstream.limits || one_by_one || listener.max_messages != 0 || listener.max_recipients < promised_recipients;
  Capabilities ours = protocol::carried(carry);
  ours.rcpt_max = one_by_one ? 1 : listener.max_recipients;
  ours.mail_max = listener.max_messages;
  Capabilities offered = intersection(ours, downstream);
  offered.prdr = mixes_replies(services, listener) && !one_by_one;
  offered.size_limit = content_limit(services, listener, downstream);
  withhold(offered, listener.withhold);
  return offered;
}

}  // namespace session
