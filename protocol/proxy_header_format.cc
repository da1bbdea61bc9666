#include <algorithm>
#include <stdexcept>

#include "protocol/proxy_header.h"
#include "protocol/proxy_layout.h"

namespace protocol {
namespace {

using namespace proxy_layout;

void append_number(std::string& out, std::uint32_t value, int octets) {
  while (octets-- > 0) out.push_back(static_cast<char>((value >> (8 * octets)) & 0xffU));
}

void append_tlv(std::string& out, Type type, std::string_view value) {
  if (value.empty()) return;
  if (value.size() > max_tlvs) throw std::invalid_argument("TLV of a PROXY header too long");
  out.push_back(static_cast<char>(type));
  append_number(out, static_cast<std::uint32_t>(value.size()), 2);
  out.append(value);
}

void append_tls(std::string& out, const ProxyTls& tls) {
  std::string value;
  value.push_back(static_cast<char>((tls.tls ? client_ssl : 0U) | (tls.certificate ? client_cert_conn : 0U) |
                                    (tls.certificate_in_session ? client_cert_sess : 0U)));
  append_number(value, tls.verify, 4);
  for (const TlsText& text : tls_texts) append_tlv(value, text.type, tls.*text.member);
  append_tlv(out, Type::ssl, value);
}

void append_path(std::string& out, std::string_view path) {
  path = path.substr(0, unix_block / 2);
  out.append(path).append(unix_block / 2 - path.size(), '\0');
}

// Source and destination of one family.
struct Ends {
  SocketAddress source;
  SocketAddress destination;
};
Ends ends_of(const ProxyHeader& header) {
  Ends ends{*header.source, *header.destination};
  if (ends.source.ip.family == ends.destination.ip.family) return ends;
  ends.source.ip = mapped(ends.source.ip);
  ends.destination.ip = mapped(ends.destination.ip);
  return ends;
}

Family append_addresses(std::string& out, const ProxyHeader& header) {
  if (header.source && header.destination) {
    const Ends ends = ends_of(header);
    const bool ipv6 = ends.source.ip.family == IpAddress::Family::ipv6;
    for (const SocketAddress* end : {&ends.source, &ends.destination})
      std::for_each_n(end->ip.octets.begin(), ipv6 ? 16 : 4,
                      [&](std::uint8_t c) { out.push_back(static_cast<char>(c)); });
    for (const SocketAddress* end : {&ends.source, &ends.destination}) append_number(out, end->port, 2);
    return ipv6 ? Family::tcp6 : Family::tcp4;
  }
  if (header.unix_source.empty() && header.unix_destination.empty()) return Family::unspec;
  append_path(out, header.unix_source);
  append_path(out, header.unix_destination);
  return Family::unix_stream;
}

std::string format_v1(const ProxyHeader& header) {
  if (header.local || !header.source || !header.destination) return "PROXY UNKNOWN\r\n";
  const Ends ends = ends_of(header);
  const bool ipv6 = ends.source.ip.family == IpAddress::Family::ipv6;
  return std::string("PROXY ") + (ipv6 ? "TCP6 " : "TCP4 ") + to_text(ends.source.ip) + " " +
         to_text(ends.destination.ip) + " " + std::to_string(ends.source.port) + " " +
         std::to_string(ends.destination.port) + "\r\n";
}

std::string format_v2(const ProxyHeader& header, bool checksum) {
  std::string rest;
  Family family = Family::unspec;
  std::size_t addresses = 0;
  if (!header.local) {
    family = append_addresses(rest, header);
    addresses = rest.size();
    for (const Text& text : texts) append_tlv(rest, text.type, header.*text.member);
    if (header.tls) append_tls(rest, *header.tls);
    if (checksum) append_tlv(rest, Type::crc32c, std::string_view("\0\0\0\0", 4));
  }
  if (rest.size() - addresses > max_tlvs || header.unique_id.size() > max_unique_id)
    throw std::invalid_argument("TLVs of a PROXY header too long");
  std::string out(signature);
  out.push_back(header.local ? command_local : command_proxy);
  out.push_back(static_cast<char>(family));
  append_number(out, static_cast<std::uint32_t>(rest.size()), 2);
  out.append(rest);
  if (checksum && !header.local) {
    const std::uint32_t sum = ~crc32c(crc32c_begin, out);
    out.resize(out.size() - 4);
    append_number(out, sum, 4);
  }
  return out;
}

}  // namespace

std::string format(const ProxyHeader& header, ProxyVersion version, bool checksum) {
  if (version == ProxyVersion::either) throw std::invalid_argument("one version of the PROXY protocol is sent");
  return version == ProxyVersion::v1 ? format_v1(header) : format_v2(header, checksum);
}

}  // namespace protocol
