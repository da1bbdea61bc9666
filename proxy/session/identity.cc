// What is told, and the pure half of deciding how. The examination and what is kept of it: identities.cc.
#include "proxy/session/identity.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "config/endpoint.h"
#include "config/spoofing.h"
#include "protocol/characters.h"
#include "proxy/io/source_address.h"

namespace session {

using protocol::Attribute;

namespace {

Attribute known_or_not(const std::string& text) {
  return text.empty() ? Attribute(Attribute::State::unavailable) : Attribute(text);
}

Attribute port_or_not(std::uint16_t port) { return known_or_not(port == 0 ? std::string() : std::to_string(port)); }

constexpr std::size_t most_text = 255;  // octets of a name in a header; longer ones are left out

std::string fitting(std::string text) { return text.size() > most_text ? std::string() : text; }

// CN of a subject as RFC 2253 writes it, escapes left as they are.
std::string common_name(std::string_view subject) {
  constexpr std::string_view tag = "CN=";
  while (!subject.empty()) {
    std::size_t end = 0;
    while (end < subject.size() && subject[end] != ',') end += subject[end] == '\\' ? 2 : 1;
    end = std::min(end, subject.size());
    const std::string_view part = subject.substr(0, end);
    if (part.starts_with(tag)) return fitting(std::string(part.substr(tag.size())));
    subject.remove_prefix(std::min(subject.size(), end + 1));
  }
  return {};
}

protocol::ProxyTls tls_of(const io::TlsFacts& tls) {
  protocol::ProxyTls told;
  told.tls = true;
  told.version = tls.version;
  told.cipher = tls.cipher;
  if (!tls.peer) return told;
  told.certificate = !tls.resumed;
  told.certificate_in_session = true;
  told.verify = tls.peer->verified ? 0 : 1;
  told.common_name = common_name(tls.peer->subject);
  return told;
}

// "Mon,", "Nov": a date says so in more than a number.
bool is_of_a_date(std::string_view word) {
  constexpr std::array names{"MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN", "JAN", "FEB", "MAR", "APR", "MAY", "JUN",
                             "JUL", "AUG", "SEP", "OCT", "NOV", "DEC", "GMT", "UTC", "EST", "EDT", "CET", "CEST"};
  const std::string name = protocol::upper(word.substr(0, word.find(',')));
  return std::ranges::find(names, name) != names.end();
}

std::string source_of(const Server& server) {
  std::string source = io::source_towards(server.endpoint);
  return source.empty() ? "GATEPOST'S ADDRESS" : source;
}

}  // namespace

std::string_view to_string(Channel channel) {
  switch (channel) {
    case Channel::undecided:
      return "auto";
    case Channel::none:
      return "none";
    case Channel::xforward:
      return "xforward";
    case Channel::xclient:
      return "xclient";
    case Channel::proxy_v1:
      return "proxy-v1";
    case Channel::proxy_v2:
      return "proxy-v2";
    case Channel::spoof:
      return "spoof";
  }
  return "none";
}

Channel channel_of(config::Identity identity) {
  switch (identity) {
    case config::Identity::automatic:
      return Channel::undecided;
    case config::Identity::proxy_v2:
      return Channel::proxy_v2;
    case config::Identity::proxy_v1:
      return Channel::proxy_v1;
    case config::Identity::xclient:
      return Channel::xclient;
    case config::Identity::xforward:
      return Channel::xforward;
    case config::Identity::none:
      return Channel::none;
    case config::Identity::spoof:
      return Channel::spoof;
  }
  return Channel::none;
}

bool are_strangers(const config::Downstream& downstream, const config::Listener& listener,
                   const Intercepted* intercepted) {
  const bool ours = intercepted != nullptr && intercepted->to_here;
  return downstream.original && listener.direction == config::Direction::outgoing && !ours;
}

Channel configured_channel(const config::Downstream& downstream, const config::Listener& listener,
                           const Intercepted* intercepted) {
  if (config::spoofs(downstream, listener)) return Channel::spoof;
  const Channel channel = channel_of(downstream.identity);
  if (!downstream.original || channel != Channel::undecided) return channel;
  return are_strangers(downstream, listener, intercepted) ? Channel::none : channel;
}

bool is_exempt(const config::Listener& listener) {
  using config::Intercept;
  const bool only_from_here =
      listener.intercept == Intercept::none ||
      (listener.intercept == Intercept::redirect && listener.scopes == std::vector{config::Scope::output});
  return only_from_here && config::is_loopback(listener.address) && listener.proxy_header == config::ProxyHeader::off &&
         listener.xclient_from.empty();
}

bool tells_address(const std::vector<std::string>& attributes) {
  return std::ranges::find(attributes, "ADDR") != attributes.end();
}

protocol::ProxyHeader proxy_header_of(const ClientFacts& client) {
  protocol::ProxyHeader header;
  const auto source = protocol::parse_ip(client.ip);
  const auto destination = protocol::parse_ip(client.destination_ip);
  if (source && destination) {
    header.source = protocol::SocketAddress(*source, client.port);
    header.destination = protocol::SocketAddress(*destination, client.destination_port);
  }
  if (client.tls) {
    header.tls = tls_of(*client.tls);
    header.authority = fitting(client.tls->server_name);
  } else if (client.front) {  // whoever ends TLS in front of us
    header.tls = client.front->tls;
    header.authority = client.front->authority;
    header.alpn = client.front->alpn;
  }
  if (client.front) header.unique_id = client.front->unique_id;  // of this connection, for the logs of all on its way
  return header;
}

protocol::ClientIdentity xclient_of(const ClientFacts& client, std::string_view helo, bool esmtp) {
  protocol::ClientIdentity identity;
  identity.name = known_or_not(client.name);
  identity.addr = known_or_not(client.ip);
  identity.port = port_or_not(client.port);
  identity.proto = Attribute(esmtp ? "ESMTP" : "SMTP");
  identity.helo = known_or_not(std::string(helo));
  identity.destaddr = known_or_not(client.destination_ip);
  identity.destport = port_or_not(client.destination_port);
  return identity;
}

protocol::ClientIdentity xforward_of(const ClientFacts& client) {
  protocol::ClientIdentity identity;
  identity.name = known_or_not(client.name);
  identity.addr = known_or_not(client.ip);
  identity.port = port_or_not(client.port);
  identity.proto = Attribute(client.esmtp ? "ESMTP" : "SMTP");
  identity.helo = known_or_not(client.helo);
  identity.source = Attribute(client.loopback ? "LOCAL" : "REMOTE");
  if (client.forwarded) merge(identity, *client.forwarded);
  return identity;
}

std::string mark_of_banner(const protocol::Reply& banner) {
  std::string mark;
  std::string_view rest = banner.lines().front();
  while (!rest.empty()) {
    const std::string_view word = rest.substr(0, rest.find(' '));
    rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    const bool changes = word.find(':') != std::string_view::npos || std::ranges::any_of(word, protocol::is_digit);
    if (!word.empty() && !changes && !is_of_a_date(word)) mark.append(word).append(" ");
  }
  return mark;
}

bool same_offer(protocol::Capabilities a, protocol::Capabilities b) {
  a.size_limit = b.size_limit = 0;
  return a == b;
}

std::string open_relay_sentence(const Server& server, const Standing& standing) {
  const std::string source = source_of(server);
  return fmt::format(
      "clients of downstream {} are turned away with 421, for behind gatepost its server {} would be an open relay: it "
      "takes {} for the client of all mail ({}). For Postfix, add to main.cf: smtpd_authorized_xclient_hosts = {} "
      "   For Exim, add a port to daemon_smtp_ports, here 10027, and to its main section: hosts_proxy = "
      "${{if ={{$received_port}}{{10027}}{{{}}}}} and in gatepost the server with that port and \"identity\": \"proxy-v2\". If it relays for nobody by address, and only "
      "does not say so, \"accept_source_loss\": true",
      server.settings->name, server.endpoint.text, source, standing.evidence, source, source);
}

std::string no_xclient_sentence(const Server& server) {
  const std::string source = source_of(server);
  return fmt::format(
      "clients of downstream {} are turned away with 421: its identity is xclient, and its server {} does not offer "
      "XCLIENT to {}. For Postfix, add to main.cf: smtpd_authorized_xclient_hosts = {}",
      server.settings->name, server.endpoint.text, source, source);
}

}  // namespace session
