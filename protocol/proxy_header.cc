// The reader. What both directions know of version 2 is in proxy_layout.h.
#include "protocol/proxy_header.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocol/characters.h"
#include "protocol/proxy_layout.h"

namespace protocol {
namespace {

using namespace proxy_layout;

constexpr std::size_t max_v1 = 107;  // octets with CRLF
constexpr std::string_view v1_prefix = "PROXY ";

using Outcome = std::expected<std::optional<ProxyHeader>, ProxyHeaderError>;
using Problem = std::optional<ProxyHeaderError>;

std::unexpected<ProxyHeaderError> error(std::string_view reason) { return std::unexpected(ProxyHeaderError{reason}); }

// Takes the word up to the next single space.
std::string_view take_word(std::string_view& text) {
  const std::string_view word = text.substr(0, text.find(' '));
  text.remove_prefix(std::min(word.size() + 1, text.size()));
  return word;
}

std::optional<IpAddress> v1_address(std::string_view text, bool ipv6) {
  const std::optional<IpAddress> ip = ipv6 ? parse_ipv6(text) : parse_ipv4(text);
  if (ip && !ipv6 && to_text(*ip) != text) return std::nullopt;  // leading zeros
  return ip;
}

std::optional<std::uint16_t> v1_port(std::string_view text) {
  const std::optional<std::uint64_t> port = decimal(text);
  if (!port || *port > 65535 || (text.size() > 1 && text.front() == '0')) return std::nullopt;
  return static_cast<std::uint16_t>(*port);
}

// Behind "PROXY ", without CRLF.
Outcome parse_v1(std::string_view line) {
  if (line == "UNKNOWN" || line.starts_with("UNKNOWN ")) return ProxyHeader();  // its rest is to be ignored
  if (std::count(line.begin(), line.end(), ' ') != 4) return error("not the five words of a PROXY line");
  const std::string_view transport = take_word(line);
  if (transport != "TCP4" && transport != "TCP6") return error("neither TCP4, TCP6 nor UNKNOWN in a PROXY line");
  const bool ipv6 = transport == "TCP6";
  const auto source = v1_address(take_word(line), ipv6);
  const auto destination = v1_address(take_word(line), ipv6);
  if (!source || !destination) return error("bad IP address in a PROXY line");
  const auto source_port = v1_port(take_word(line));
  const auto destination_port = v1_port(line);
  if (!source_port || !destination_port) return error("bad port in a PROXY line");
  ProxyHeader header;
  header.source = SocketAddress{unmapped(*source), *source_port};
  header.destination = SocketAddress{unmapped(*destination), *destination_port};
  return header;
}

std::size_t number(std::string_view octets) {
  std::size_t value = 0;
  for (const char c : octets) value = value * 256 + static_cast<unsigned char>(c);
  return value;
}

// Length of the address block; nothing where family and transport are none that we know.
std::optional<std::size_t> address_length(char family) {
  switch (static_cast<Family>(family)) {
    case Family::unspec:
      return 0;
    case Family::tcp4:
      return ipv4_block;
    case Family::tcp6:
      return ipv6_block;
    case Family::unix_stream:
      return unix_block;
  }
  return std::nullopt;
}

Problem check_start(std::string_view start) {
  const char command = start[signature.size()];
  if ((command & 0xf0) != 0x20) return ProxyHeaderError{"unknown version of the PROXY protocol"};
  if (command != command_local && command != command_proxy)
    return ProxyHeaderError{"neither LOCAL nor PROXY in a PROXY v2 header"};
  const std::size_t length = number(start.substr(signature.size() + 2, 2));
  if (length > unix_block + max_tlvs) return ProxyHeaderError{"PROXY v2 header too long"};
  if (command == command_local) return std::nullopt;  // whatever follows is skipped
  const std::optional<std::size_t> addresses = address_length(start[signature.size() + 1]);
  if (!addresses) return ProxyHeaderError{"family or transport of a PROXY v2 header is not one for a stream"};
  if (length < *addresses) return ProxyHeaderError{"PROXY v2 header too short for its addresses"};
  if (length - *addresses > max_tlvs) return ProxyHeaderError{"PROXY v2 header too long"};
  return std::nullopt;
}

SocketAddress socket_address(std::string_view ip, std::string_view port) {
  SocketAddress address;
  address.ip.family = ip.size() == 4 ? IpAddress::Family::ipv4 : IpAddress::Family::ipv6;
  std::transform(ip.begin(), ip.end(), address.ip.octets.begin(), [](char c) { return static_cast<std::uint8_t>(c); });
  address.ip = unmapped(address.ip);
  address.port = static_cast<std::uint16_t>(number(port));
  return address;
}

void take_addresses(ProxyHeader& header, Family family, std::string_view block) {
  if (family == Family::unix_stream) {
    const auto path = [](std::string_view field) { return std::string(field.substr(0, field.find('\0'))); };
    header.unix_source = path(block.substr(0, unix_block / 2));
    header.unix_destination = path(block.substr(unix_block / 2));
  } else if (family != Family::unspec) {
    const std::size_t size = family == Family::tcp4 ? 4 : 16;
    header.source = socket_address(block.substr(0, size), block.substr(2 * size, 2));
    header.destination = socket_address(block.substr(size, size), block.substr(2 * size + 2, 2));
  }
}

struct Tlv {
  Type type;
  std::string_view value;
};

// Takes one TLV off the front; nothing where it is cut short.
std::optional<Tlv> take_tlv(std::string_view& rest) {
  if (rest.size() < tlv_start) return std::nullopt;
  const std::size_t length = number(rest.substr(1, 2));
  if (rest.size() - tlv_start < length) return std::nullopt;
  const Tlv tlv{static_cast<Type>(rest.front()), rest.substr(tlv_start, length)};
  rest.remove_prefix(tlv_start + length);
  return tlv;
}

Problem keep(std::string& place, std::string_view value) {
  if (!place.empty()) return ProxyHeaderError{"a TLV of a PROXY v2 header is given twice"};
  place = value;
  return std::nullopt;
}

Problem take_tls(ProxyHeader& header, std::string_view value) {
  if (header.tls) return ProxyHeaderError{"a TLV of a PROXY v2 header is given twice"};
  if (value.size() < tls_start) return ProxyHeaderError{"SSL TLV of a PROXY v2 header too short"};
  ProxyTls& tls = header.tls.emplace();
  const auto bits = static_cast<unsigned char>(value[0]);
  tls.tls = (bits & client_ssl) != 0;
  tls.certificate = (bits & client_cert_conn) != 0;
  tls.certificate_in_session = (bits & client_cert_sess) != 0;
  tls.verify = static_cast<std::uint32_t>(number(value.substr(1, 4)));
  value.remove_prefix(tls_start);
  while (!value.empty()) {
    const std::optional<Tlv> tlv = take_tlv(value);
    if (!tlv) return ProxyHeaderError{"a TLV inside the SSL TLV of a PROXY v2 header is cut short"};
    const auto* const field = std::find_if(std::begin(tls_texts), std::end(tls_texts),
                                           [&](const TlsText& text) { return text.type == tlv->type; });
    if (field == std::end(tls_texts)) continue;
    if (Problem problem = keep(tls.*field->member, tlv->value)) return problem;
  }
  return std::nullopt;
}

// `header` whole, `value` the CRC32C inside it: the sum over all octets, with zeros in its own place.
Problem check_crc(std::string_view whole, std::string_view value) {
  if (value.size() != 4) return ProxyHeaderError{"CRC32C TLV of a PROXY v2 header is not four octets"};
  const auto before = static_cast<std::size_t>(value.data() - whole.data());
  std::uint32_t sum = crc32c(crc32c_begin, whole.substr(0, before));
  sum = crc32c(sum, std::string_view("\0\0\0\0", 4));
  sum = crc32c(sum, whole.substr(before + 4));
  if (~sum != number(value)) return ProxyHeaderError{"CRC32C of a PROXY v2 header is wrong"};
  return std::nullopt;
}

Problem take_tlvs(ProxyHeader& header, std::string_view whole, std::string_view rest) {
  bool checked = false;
  while (!rest.empty()) {
    const std::optional<Tlv> tlv = take_tlv(rest);
    if (!tlv) return ProxyHeaderError{"a TLV of a PROXY v2 header is cut short"};
    Problem problem;
    if (tlv->type == Type::crc32c && checked) return ProxyHeaderError{"a TLV of a PROXY v2 header is given twice"};
    if (tlv->type == Type::crc32c) checked = true, problem = check_crc(whole, tlv->value);
    if (tlv->type == Type::ssl) problem = take_tls(header, tlv->value);
    if (tlv->type == Type::unique_id && tlv->value.size() > max_unique_id)
      return ProxyHeaderError{"UNIQUE_ID TLV of a PROXY v2 header too long"};
    for (const Text& text : texts)
      if (text.type == tlv->type) problem = keep(header.*text.member, tlv->value);
    if (problem) return problem;
  }
  return std::nullopt;
}

Outcome parse_v2(std::string_view whole) {
  ProxyHeader header;
  header.local = whole[signature.size()] == command_local;
  if (header.local) return header;
  const char family = whole[signature.size() + 1];
  const std::size_t addresses = address_length(family).value_or(0);
  take_addresses(header, static_cast<Family>(family), whole.substr(start_length, addresses));
  if (const Problem problem = take_tlvs(header, whole, whole.substr(start_length + addresses)))
    return std::unexpected(*problem);
  return header;
}

}  // namespace

// Until octets_ has `size` octets.
void ProxyHeaderParser::take_up_to(std::string_view& input, std::size_t size) {
  if (octets_.size() >= size) return;
  const std::string_view piece = input.substr(0, size - octets_.size());
  octets_.append(piece);
  input.remove_prefix(piece.size());
}

ProxyHeaderParser::Outcome ProxyHeaderParser::take_v1(std::string_view& input) {
  const std::size_t lf = input.find('\n');
  take_up_to(input, lf == std::string_view::npos ? max_v1 : std::min(max_v1, octets_.size() + lf + 1));
  const std::size_t cr = octets_.find('\r');
  const bool ended = octets_.ends_with('\n');
  if (cr != std::string::npos && cr + 1 < octets_.size() && octets_[cr + 1] != '\n')
    return error("CR without LF in a PROXY line");
  if (ended && (cr == std::string::npos || cr + 2 != octets_.size())) return error("LF without CR in a PROXY line");
  if (!ended && octets_.size() == max_v1) return error("PROXY line too long");
  if (!ended) return std::nullopt;
  const std::string_view line = octets_;
  return parse_v1(line.substr(v1_prefix.size(), cr - v1_prefix.size()));
}

ProxyHeaderParser::Outcome ProxyHeaderParser::take_v2(std::string_view& input) {
  take_up_to(input, start_length);
  if (octets_.size() < start_length) return std::nullopt;
  if (const Problem problem = check_start(octets_)) return std::unexpected(*problem);
  const std::size_t size = start_length + number(std::string_view(octets_).substr(signature.size() + 2, 2));
  take_up_to(input, size);
  if (octets_.size() < size) return std::nullopt;
  return parse_v2(octets_);
}

// Octet by octet until it is clear which version this is.
ProxyHeaderParser::Outcome ProxyHeaderParser::take(std::string_view& input) {
  while (true) {
    const bool v1 = v1_prefix.starts_with(octets_.substr(0, v1_prefix.size())) && expected_ != ProxyVersion::v2;
    const bool v2 = signature.starts_with(octets_.substr(0, signature.size())) && expected_ != ProxyVersion::v1;
    if (!v1 && !v2) return error("the connection does not begin with the PROXY header that is expected");
    if (v1 && octets_.size() >= v1_prefix.size()) return take_v1(input);
    if (v2 && octets_.size() >= signature.size()) return take_v2(input);
    if (input.empty()) return std::nullopt;
    take_up_to(input, octets_.size() + 1);
  }
}

std::expected<std::optional<ProxyHeader>, ProxyHeaderError> ProxyHeaderParser::feed(std::string_view& input) {
  if (broken_) return std::unexpected(*broken_);
  Outcome outcome = take(input);
  if (!outcome) broken_ = outcome.error();
  if (!outcome || *outcome) octets_ = std::string();  // holds no memory once it has done its work
  return outcome;
}

}  // namespace protocol
