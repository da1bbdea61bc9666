#include "protocol/proxy_header.h"

#include <stdexcept>
#include <utility>

#include "protocol/proxy_layout.h"
#include "protocol_pieces.h"

using namespace protocol;
using namespace std::string_literals;

namespace {

const std::string signature("\r\n\r\n\0\r\nQUIT\n", 12);

SocketAddress at(std::string_view ip, std::uint16_t port) { return {*parse_ip(ip), port}; }

struct Read {
  std::optional<ProxyHeader> header;
  std::string error;
  std::string rest;
};

Read read(const std::vector<std::string_view>& input, ProxyVersion expected) {
  ProxyHeaderParser parser(expected);
  Read out;
  for (std::string_view piece : input) {
    if (!out.header && out.error.empty()) {
      auto outcome = parser.feed(piece);
      if (!outcome) out.error = outcome.error().reason;
      else if (*outcome) out.header = **outcome;
      else CHECK(piece.empty());
    }
    out.rest += piece;
  }
  return out;
}

void check_header(const std::string& octets, ProxyVersion expected, const ProxyHeader& header) {
  for (const std::string& behind : {""s, "EHLO x\r\n"s, "\r\n"s, "PROXY UNKNOWN\r\n"s, "\0"s}) {
    pieces::each_split(octets + behind, [&](const auto& input) {
      const Read got = read(input, expected);
      CHECK(got.error == "");
      REQUIRE(got.header);
      CHECK(*got.header == header);
      CHECK(got.rest == behind);
    });
  }
  for (std::size_t length = 0; length < octets.size(); ++length) {
    const Read got = read({std::string_view(octets).substr(0, length)}, expected);
    CHECK_FALSE(got.header);
    CHECK(got.error == "");
  }
}

void check_error(const std::string& octets, ProxyVersion expected, std::string_view reason) {
  CAPTURE(octets);
  pieces::each_split(octets + "EHLO x\r\n", [&](const auto& input) {
    const Read got = read(input, expected);
    CHECK_FALSE(got.header);
    CHECK(got.error == reason);
  });
}

std::string u16(std::size_t value) { return {static_cast<char>(value >> 8), static_cast<char>(value & 0xff)}; }
std::string tlv(int type, const std::string& value) { return static_cast<char>(type) + u16(value.size()) + value; }
std::string v2(char command, char family, const std::string& rest) {
  return signature + command + family + u16(rest.size()) + rest;
}

const std::string four = "\xc0\0\x02\x01\xc0\0\x02\x02\xc3\x50\0\x19"s;  // 192.0.2.1:50000 -> 192.0.2.2:25

ProxyHeader four_header() {
  ProxyHeader header;
  header.source = at("192.0.2.1", 50000);
  header.destination = at("192.0.2.2", 25);
  return header;
}

}  // namespace

TEST_CASE("PROXY lines of version 1") {
  struct Case {
    std::string line;
    ProxyHeader header;
  };
  ProxyHeader six;
  six.source = at("2001:db8::1", 0);
  six.destination = at("2001:db8::2", 65535);
  const std::string full = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
  ProxyHeader longest;
  longest.source = at(full, 65535);
  longest.destination = at(full, 65535);
  const Case cases[] = {
      {"PROXY TCP4 192.0.2.1 192.0.2.2 50000 25\r\n", four_header()},
      {"PROXY TCP6 2001:DB8::1 2001:db8:0::2 0 65535\r\n", six},
      {"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:192.0.2.2 50000 25\r\n", four_header()},
      {"PROXY TCP6 " + full + " " + full + " 65535 65535\r\n", longest},
      {"PROXY UNKNOWN\r\n", ProxyHeader()},
      {"PROXY UNKNOWN whatever \xff stands here\r\n", ProxyHeader()},
      {"PROXY UNKNOWN " + full + " " + full + " 65535 65535\r\n", ProxyHeader()},  // 107 octets
  };
  for (const Case& c : cases) {
    CAPTURE(c.line);
    for (const ProxyVersion expected : {ProxyVersion::v1, ProxyVersion::either})
      check_header(c.line, expected, c.header);
  }
  CHECK(std::size(cases[6].line) == 107);
}

TEST_CASE("what is not a PROXY line of version 1") {
  constexpr std::string_view other = "the connection does not begin with the PROXY header that is expected";
  constexpr std::string_view words = "not the five words of a PROXY line";
  constexpr std::string_view address = "bad IP address in a PROXY line";
  constexpr std::string_view port = "bad port in a PROXY line";
  const std::pair<std::string, std::string_view> cases[] = {
      {"", other},  // EHLO at once
      {"PROXYX", other},
      {"proxy TCP4 192.0.2.1 192.0.2.2 50000 25\r\n", other},
      {" PROXY UNKNOWN\r\n", other},
      {"PROXY \r\n", words},
      {"PROXY TCP4\r\n", words},
      {"PROXY UNKNOWNX\r\n", words},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 50000\r\n", words},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 50000 25 \r\n", words},
      {"PROXY  TCP4 192.0.2.1 192.0.2.2 50000 25\r\n", words},
      {"PROXY UDP4 192.0.2.1 192.0.2.2 50000 25\r\n", "neither TCP4, TCP6 nor UNKNOWN in a PROXY line"},
      {"PROXY tcp4 192.0.2.1 192.0.2.2 50000 25\r\n", "neither TCP4, TCP6 nor UNKNOWN in a PROXY line"},
      {"PROXY TCP4  192.0.2.1 192.0.2.2 25\r\n", address},
      {"PROXY TCP4 192.0.2.01 192.0.2.2 50000 25\r\n", address},
      {"PROXY TCP4 192.0.2.256 192.0.2.2 50000 25\r\n", address},
      {"PROXY TCP4 2001:db8::1 2001:db8::2 50000 25\r\n", address},
      {"PROXY TCP6 192.0.2.1 192.0.2.2 50000 25\r\n", address},
      {"PROXY TCP6 fe80::1%a fe80::2 50000 25\r\n", address},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 65536 25\r\n", port},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 50000 025\r\n", port},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 -1 25\r\n", port},
      {"PROXY TCP4 192.0.2.1 192.0.2.2 50000 25\n", "LF without CR in a PROXY line"},
      {"PROXY UNKNOWN\rx\r\n", "CR without LF in a PROXY line"},
      {"PROXY UNKNOWN\r\r\n", "CR without LF in a PROXY line"},
      {"PROXY UNKNOWN " + std::string(92, 'x') + "\r\n", "PROXY line too long"},  // 108 octets
      {"PROXY UNKNOWN " + std::string(1000, 'x'), "PROXY line too long"},
  };
  for (const auto& [line, reason] : cases)
    for (const ProxyVersion expected : {ProxyVersion::v1, ProxyVersion::either}) check_error(line, expected, reason);
  check_error("PROXY UNKNOWN\r\n", ProxyVersion::v2, other);
  check_error(v2(0x20, 0, ""), ProxyVersion::v1, other);
}

TEST_CASE("PROXY headers of version 2") {
  struct Case {
    std::string octets;
    ProxyHeader header;
  };
  ProxyHeader six;
  six.source = at("2001:db8::1", 1);
  six.destination = at("2001:db8::2", 2);
  std::string six_block =
      "\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x01\x20\x01\x0d\xb8"s + std::string(11, '\0') + "\x02"s;
  six_block += "\0\x01\0\x02"s;
  ProxyHeader unix_header;
  unix_header.unix_source = "/run/a";
  unix_header.unix_destination = std::string(108, 'b');
  const std::string unix_block = "/run/a" + std::string(102, '\0') + std::string(108, 'b');
  ProxyHeader local;
  local.local = true;
  ProxyHeader full = four_header();
  full.alpn = "smtp";
  full.authority = "mx.example.org";
  full.unique_id = std::string(128, '\xff');
  full.netns = "blue";
  full.tls.emplace();
  full.tls->tls = full.tls->certificate = true;
  full.tls->verify = 0x01020304;
  full.tls->version = "TLSv1.3";
  full.tls->common_name = "caf\xc3\xa9";
  full.tls->cipher = "TLS_AES_256_GCM_SHA384";
  full.tls->signature_algorithm = "SHA256";
  full.tls->key_algorithm = "RSA2048";
  const std::string tls = "\x03\x01\x02\x03\x04"s + tlv(0x21, "TLSv1.3") + tlv(0x22, "caf\xc3\xa9") +
                          tlv(0x23, "TLS_AES_256_GCM_SHA384") + tlv(0x24, "SHA256") + tlv(0x25, "RSA2048") +
                          tlv(0x26, "x25519");
  const std::string tlvs = tlv(1, "smtp") + tlv(2, "mx.example.org") + tlv(4, "padding") +
                           tlv(5, std::string(128, '\xff')) + tlv(4, "") + tlv(0xe0, "custom") + tlv(0x20, tls) +
                           tlv(0x30, "blue");
  ProxyHeader session_certificate = four_header();
  session_certificate.tls.emplace().certificate_in_session = true;
  session_certificate.tls->verify = 0;
  const Case cases[] = {
      {v2(0x21, 0x11, four), four_header()},
      {v2(0x21, 0x21, six_block), six},
      {v2(0x21, 0x21,
          std::string(10, '\0') + "\xff\xff\xc0\0\x02\x01"s + std::string(10, '\0') + "\xff\xff\xc0\0\x02\x02"s +
              four.substr(8)),
       four_header()},
      {v2(0x21, 0x31, unix_block), unix_header},
      {v2(0x21, 0x00, ""), ProxyHeader()},
      {v2(0x21, 0x00, tlv(4, "x")), ProxyHeader()},
      {v2(0x20, 0x00, ""), local},
      {v2(0x20, 0x11, four), local},
      {v2(0x20, 0x77, "whatever is in here"), local},
      {v2(0x21, 0x11, four + tlvs), full},
      {v2(0x21, 0x11, four + tlv(4, std::string(4093, 'x'))), four_header()},  // 4096 octets of TLVs
      {v2(0x21, 0x11, four + tlv(0x20, "\x04\0\0\0\0"s)), session_certificate},
  };
  for (const Case& c : cases) {
    CAPTURE(c.octets.size());
    if (c.octets.size() > 1000) {
      CHECK(read({c.octets}, ProxyVersion::either).header == c.header);
      continue;
    }
    for (const ProxyVersion expected : {ProxyVersion::v2, ProxyVersion::either})
      check_header(c.octets, expected, c.header);
  }
}

TEST_CASE("what is not a PROXY header of version 2") {
  constexpr std::string_view twice = "a TLV of a PROXY v2 header is given twice";
  constexpr std::string_view cut = "a TLV of a PROXY v2 header is cut short";
  const std::string tls_part = "\x01\0\0\0\0"s;
  const std::pair<std::string, std::string_view> cases[] = {
      {"\r\n\r\n", "the connection does not begin with the PROXY header that is expected"},
      {v2(0x11, 0x11, four), "unknown version of the PROXY protocol"},
      {v2(0x31, 0x11, four), "unknown version of the PROXY protocol"},
      {v2(static_cast<char>(0xa1), 0x11, four), "unknown version of the PROXY protocol"},
      {v2(0x22, 0x11, four), "neither LOCAL nor PROXY in a PROXY v2 header"},
      {v2(0x21, 0x12, four), "family or transport of a PROXY v2 header is not one for a stream"},
      {v2(0x21, 0x41, four), "family or transport of a PROXY v2 header is not one for a stream"},
      {v2(0x21, 0x11, four.substr(1)), "PROXY v2 header too short for its addresses"},
      {v2(0x21, 0x21, four), "PROXY v2 header too short for its addresses"},
      {v2(0x21, 0x31, four), "PROXY v2 header too short for its addresses"},
      {v2(0x21, 0x11, four + tlv(4, std::string(4094, 'x'))), "PROXY v2 header too long"},
      {v2(0x20, 0x00, std::string(4313, 'x')), "PROXY v2 header too long"},
      {signature + "\x21\x11\xff\xff"s, "PROXY v2 header too long"},
      {v2(0x21, 0x11, four + "\x01"), cut},
      {v2(0x21, 0x11, four + "\x01\0"s), cut},
      {v2(0x21, 0x11, four + "\x01\0\x05smtp"s), cut},
      {v2(0x21, 0x11, four + "\x01\xff\xff"s), cut},
      {v2(0x21, 0x11, four + tlv(1, "a") + tlv(1, "a")), twice},
      {v2(0x21, 0x11, four + tlv(0x20, tls_part) + tlv(0x20, tls_part)), twice},
      {v2(0x21, 0x11, four + tlv(0x20, tls_part + tlv(0x22, "a") + tlv(0x22, "b"))), twice},
      {v2(0x21, 0x11, four + tlv(0x20, "\x01\0\0\0"s)), "SSL TLV of a PROXY v2 header too short"},
      {v2(0x21, 0x11, four + tlv(0x20, tls_part + "\x22\0\x02x"s)),
       "a TLV inside the SSL TLV of a PROXY v2 header is cut short"},
      {v2(0x21, 0x11, four + tlv(5, std::string(129, 'x'))), "UNIQUE_ID TLV of a PROXY v2 header too long"},
      {v2(0x21, 0x11, four + tlv(3, "\0\0\0\0"s)), "CRC32C of a PROXY v2 header is wrong"},
      {v2(0x21, 0x11, four + tlv(3, "\0\0\0"s)), "CRC32C TLV of a PROXY v2 header is not four octets"},
  };
  for (const auto& [octets, reason] : cases)
    for (const ProxyVersion expected : {ProxyVersion::v2, ProxyVersion::either}) check_error(octets, expected, reason);
}

TEST_CASE("a broken parser stays broken") {
  ProxyHeaderParser parser(ProxyVersion::either);
  std::string_view bad = "EHLO x\r\n";
  CHECK_FALSE(parser.feed(bad));
  std::string_view good = "PROXY UNKNOWN\r\n";
  CHECK_FALSE(parser.feed(good));
  CHECK(good.size() == 15);
}

TEST_CASE("headers are written as they are read") {
  ProxyHeader header = four_header();
  CHECK(format(header, ProxyVersion::v1) == "PROXY TCP4 192.0.2.1 192.0.2.2 50000 25\r\n");
  CHECK(format(header, ProxyVersion::v2) == v2(0x21, 0x11, four));
  CHECK(format(ProxyHeader(), ProxyVersion::v1) == "PROXY UNKNOWN\r\n");
  CHECK(format(ProxyHeader(), ProxyVersion::v2) == v2(0x21, 0, ""));
  ProxyHeader mixed = header;
  mixed.destination = at("2001:db8::2", 25);
  CHECK(format(mixed, ProxyVersion::v1) == "PROXY TCP6 ::ffff:192.0.2.1 2001:db8::2 50000 25\r\n");
  ProxyHeader unix_header;
  unix_header.unix_source = "/a";
  header.tls.emplace().tls = true;
  header.tls->common_name = "x";
  header.authority = "mx";
  header.unique_id = std::string("\0\xff", 2);
  ProxyHeader local;
  local.local = true;
  for (const ProxyHeader& each : {four_header(), mixed, unix_header, header, local, ProxyHeader()}) {
    for (const bool checksum : {false, true})
      check_header(format(each, ProxyVersion::v2, checksum), ProxyVersion::v2, each);
  }
  CHECK(format(local, ProxyVersion::v2, true) == v2(0x20, 0, ""));
  CHECK(format(local, ProxyVersion::v1) == "PROXY UNKNOWN\r\n");
  CHECK_THROWS_AS(format(header, ProxyVersion::either), std::invalid_argument);
  header.authority = std::string(4097, 'x');
  CHECK_THROWS_AS(format(header, ProxyVersion::v2), std::invalid_argument);
  header.authority.clear();
  header.unique_id = std::string(129, 'x');
  CHECK_THROWS_AS(format(header, ProxyVersion::v2), std::invalid_argument);
}

TEST_CASE("CRC32C is that of RFC 3720, and one wrong bit is seen") {
  CHECK(~proxy_layout::crc32c(proxy_layout::crc32c_begin, "123456789") == 0xe3069283U);
  CHECK(~proxy_layout::crc32c(proxy_layout::crc32c_begin, std::string(32, '\0')) == 0x8a9136aaU);  // RFC 3720 B.4
  ProxyHeader header = four_header();
  std::string octets = format(header, ProxyVersion::v2, true);
  CHECK(read({octets}, ProxyVersion::v2).header == header);
  for (std::size_t i = 16; i < octets.size() - 7; ++i) {
    octets[i] = static_cast<char>(octets[i] ^ 0x10);
    CHECK(read({octets}, ProxyVersion::v2).error == "CRC32C of a PROXY v2 header is wrong");
    octets[i] = static_cast<char>(octets[i] ^ 0x10);
  }
}
