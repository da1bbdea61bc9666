// The PROXY protocol of HAProxy, versions 1 and 2 (doc/proxy-protocol.txt): who the client of a peer in front of us is,
// told before the first octet of the dialogue. Reader and writer; stream connections only.
#pragma once

#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/ip_address.h"

namespace protocol {

// What the peer says of TLS between the client and itself (PP2_TYPE_SSL). Texts as they came, unchecked octets; empty =
// not told.
struct ProxyTls {
  bool tls = false;                     // the client speaks TLS
  bool certificate = false;             // and showed a certificate on this connection
  bool certificate_in_session = false;  // or at least once in the TLS session
  std::uint32_t verify = 1;             // 0 = it was verified
  std::string version;                  // "TLSv1.3"
  std::string common_name;              // of the certificate's subject; the client's own words where verify is not 0
  std::string cipher;
  std::string signature_algorithm;
  std::string key_algorithm;
  bool operator==(const ProxyTls&) const = default;
};

struct ProxyHeader {
  // LOCAL of version 2: the peer speaks for itself (health checks). Nothing else in here counts then.
  bool local = false;
  // The client and where it connected to; IPv4 mapped into IPv6 comes as IPv4. Both or none: without them (UNKNOWN of
  // version 1, AF_UNSPEC or AF_UNIX of version 2) the connection's own addresses stand.
  std::optional<SocketAddress> source;
  std::optional<SocketAddress> destination;
  // AF_UNIX: path names without the zeros behind them, at most 108 octets. Both empty = not AF_UNIX.
  std::string unix_source;
  std::string unix_destination;
  // TLVs of version 2, unchecked octets; empty = not told.
  std::string alpn;
  std::string authority;  // host name of SNI
  std::string unique_id;  // at most 128 octets
  std::string netns;
  std::optional<ProxyTls> tls;
  bool operator==(const ProxyHeader&) const = default;
};

enum class ProxyVersion { v1, v2, either };

// Why octets are not the header that was expected; the connection cannot be used. A fixed sentence for the log.
struct ProxyHeaderError {
  std::string_view reason;
};

// Incremental and bounded: a line of version 1 has at most 107 octets; one of version 2 at most 4096 octets of TLVs
// behind its addresses. A wrong octet is reported as soon as it has come. Unknown TLVs are skipped, known ones may be
// given once; a CRC32C that is there must be right.
class ProxyHeaderParser {
 public:
  explicit ProxyHeaderParser(ProxyVersion expected) : expected_(expected) {}
  // Takes octets of the header from the front of `input` (advanced past them), never one behind it. The header, nothing
  // yet, or the error, after which this parser stays broken. Not called again after the header.
  std::expected<std::optional<ProxyHeader>, ProxyHeaderError> feed(std::string_view& input);

 private:
  using Outcome = std::expected<std::optional<ProxyHeader>, ProxyHeaderError>;
  Outcome take(std::string_view& input);
  Outcome take_v1(std::string_view& input);
  Outcome take_v2(std::string_view& input);
  void take_up_to(std::string_view& input, std::size_t size);
  ProxyVersion expected_;
  std::string octets_;
  std::optional<ProxyHeaderError> broken_;
};

// The octets to send. `version` v1 carries addresses alone, and says UNKNOWN where there are none or the header is
// local; v2 carries what is set. Of source and destination both are IPv6 where one is. `checksum`: with CRC32C (v2
// only). Throws std::invalid_argument where the TLVs are more than 4096 octets or `version` is either.
std::string format(const ProxyHeader& header, ProxyVersion version, bool checksum = false);

}  // namespace protocol
