#include "proxy/session/client_facts.h"

#include <netinet/in.h>

#include <cstring>

#include "config/direction.h"
#include "config/endpoint.h"
#include "protocol/characters.h"
#include "proxy/io/tcp_stream.h"

namespace session {
namespace {

config::Endpoint endpoint_of(const sockaddr_storage& address) {
  config::Endpoint endpoint;
  endpoint.address = address;
  endpoint.length = sizeof address;
  return endpoint;
}

std::string ip_of(const sockaddr_storage& address) {
  if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return {};
  return io::format_ip(reinterpret_cast<const sockaddr*>(&address));
}

}  // namespace

bool passes_tls(const config::Listener& listener, const ClientFacts& client) {
  if (listener.tls.mode == config::ListenerTlsMode::pass) return true;
  if (!client.intercepted) return false;
  return config::contains(listener.tls.pass_sources, reinterpret_cast<const sockaddr*>(&client.intercepted->client)) ||
         config::contains(listener.tls.pass_destinations, client.intercepted->destination.get());
}

std::optional<io::TlsFacts> told_tls(const ClientFacts& client) {
  if (!client.front || !client.front->tls || !client.front->tls->tls) return std::nullopt;
  const protocol::ProxyTls& told = *client.front->tls;
  io::TlsFacts tls;
  tls.version = told.version;
  tls.cipher = told.cipher;
  tls.server_name = client.front->authority;
  tls.alpn = client.front->alpn;
  tls.resumed = told.certificate_in_session && !told.certificate;
  if (!told.certificate && !told.certificate_in_session) return tls;
  io::TlsCertificate& certificate = tls.peer.emplace();
  std::string name = told.common_name;
  for (char& c : name) c = protocol::to_lower(c);
  if (!name.empty()) certificate.names.push_back(std::move(name));
  certificate.verified = told.verify == 0;
  if (!certificate.verified) certificate.why_not = "the peer in front says so";
  return tls;
}

ClientFacts facts_of(const Arrival& arrival, const config::Listener& listener) {
  ClientFacts facts;
  facts.listener = listener.name;
  facts.lmtp = listener.protocol == config::Protocol::lmtp;
  facts.peer = io::format_address(reinterpret_cast<const sockaddr*>(&arrival.peer));
  facts.address = facts.peer;
  facts.ip = ip_of(arrival.peer);
  const config::Endpoint peer = endpoint_of(arrival.peer);
  facts.port = port_of(peer);
  facts.loopback = facts.ip.empty() || is_loopback(peer);  // a UNIX socket is on this host
  facts.peer_is_here = facts.loopback || arrival.from_here;
  facts.direction = config::told_direction(listener);
  facts.intercepted = arrival.intercepted;
  const sockaddr_storage& meant = arrival.intercepted ? arrival.intercepted->destination.address : arrival.local;
  facts.destination_ip = ip_of(meant);
  facts.destination_port = port_of(endpoint_of(meant));
  return facts;
}

protocol::TransmissionType transmission_type(const ClientFacts& client, bool utf8) {
  protocol::TransmissionType type;
  type.lmtp = client.lmtp;
  type.esmtp = client.esmtp;
  type.tls = client.tls.has_value();
  type.authenticated = client.authenticated || !client.login.empty();
  type.smtputf8 = utf8;
  return type;
}

}  // namespace session
