#include "protocol/received.h"

#include <algorithm>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t max_text = 255;

// Names, address-literals and identifiers.
bool is_name_octet(char c) {
  return is_let_dig(c) || (c != '\0' && std::string_view(".-_:[]%=+/").find(c) != std::string_view::npos);
}

std::string name_text(std::string_view text, bool utf8) {
  std::string out;
  while (!text.empty()) {
    const std::size_t character = utf8 ? utf8_non_ascii(text) : 0;
    const std::size_t length = std::max<std::size_t>(character, 1);
    if (out.size() + length > max_text) break;
    if (character > 0 || is_name_octet(text.front())) out.append(text.substr(0, length));
    else out.push_back('?');
    text.remove_prefix(length);
  }
  return out;
}

// A path holds more characters than a name: it was parsed as an address, so it only must not break the line. Inside a
// quoted local part anything printable may stand.
std::string path_text(std::string_view path, bool utf8) {
  return path.size() <= 2 * max_text && is_printable(path) && (utf8 || is_ascii(path)) ? std::string(path) : "";
}

std::string literal(const IpAddress& ip) {
  return ip.family == IpAddress::Family::ipv6 ? "[IPv6:" + to_text(ip) + "]" : "[" + to_text(ip) + "]";
}

// Extended-Domain = Domain FWS "(" TCP-info ")"
std::string from_clause(const Received& received) {
  const bool utf8 = received.type.smtputf8;
  const std::string ip = received.client_ip ? literal(unmapped(*received.client_ip)) : "";
  const std::string name = name_text(received.client_name, utf8);
  std::string helo = name_text(received.helo, utf8);
  if (helo.empty()) helo = ip.empty() ? "localhost" : ip;
  const std::string info = name + (!name.empty() && !ip.empty() ? " " : "") + ip;
  return helo + (info.empty() ? "" : " (" + info + ")");
}

}  // namespace

std::string with_type(const TransmissionType& type) {
  const bool extended = type.lmtp || type.esmtp;
  if (!extended) return "SMTP";  // RFC 3848 has none for HELO
  std::string out = type.lmtp ? "LMTP" : type.smtputf8 ? "SMTP" : "ESMTP";
  if (type.smtputf8) out.insert(0, "UTF8");
  if (type.tls) out.push_back('S');
  if (type.authenticated) out.push_back('A');
  return out;
}

std::string format(const Received& received) {
  std::string out = "Received: from " + from_clause(received);
  if (!received.tls_version.empty())
    out.append("\r\n\t(using ")
        .append(name_text(received.tls_version, false))
        .append(" with cipher ")
        .append(name_text(received.tls_cipher, false) + ")");
  out.append("\r\n\tby ").append(name_text(received.hostname, false)).append(" (gatepost) with ");
  out.append(with_type(received.type)).append(" id ").append(name_text(received.id, false));
  const std::string path = path_text(received.forward_path, received.type.smtputf8);
  if (!path.empty()) out.append("\r\n\tfor ").append(path);
  if (!received.date.empty()) out.append(";\r\n\t").append(received.date).append("\r\n");
  return out;
}

}  // namespace protocol
