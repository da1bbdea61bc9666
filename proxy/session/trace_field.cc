#include "proxy/session/trace_field.h"

#include <ctime>

#include "protocol/date.h"

namespace session {

protocol::Received received_of(const ClientFacts& client, bool utf8, std::string_view hostname, std::string_view id) {
  protocol::Received received;
  received.helo = client.helo;
  received.client_name = client.name;
  received.client_ip = protocol::parse_ip(client.ip);
  received.type = transmission_type(client, utf8);
  if (client.tls) {
    received.tls_version = client.tls->version;
    received.tls_cipher = client.tls->cipher;
  }
  received.hostname = hostname;
  received.id = id;
  return received;
}

std::string trace_field(const ClientFacts& client, const protocol::Envelope& envelope, std::string_view hostname,
                        std::string_view id) {
  protocol::Received received = received_of(client, envelope.mail.parameters.smtputf8, hostname, id);
  if (envelope.recipients.size() == 1)
    received.forward_path = "<" + format(envelope.recipients.front().forward_path) + ">";
  received.date = protocol::format_date(std::time(nullptr));
  return format(received);
}

}  // namespace session
