// Octets of a PROXY header of version 2 (doc/proxy-protocol.txt 2.2): what its reader and its writer share.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "protocol/proxy_header.h"

namespace protocol::proxy_layout {

inline constexpr std::string_view signature("\r\n\r\n\0\r\nQUIT\n", 12);
inline constexpr std::size_t start_length = 16;  // signature, command, family, length
inline constexpr char command_local = 0x20;
inline constexpr char command_proxy = 0x21;
enum class Family : char { unspec = 0x00, tcp4 = 0x11, tcp6 = 0x21, unix_stream = 0x31 };
inline constexpr std::size_t ipv4_block = 12;
inline constexpr std::size_t ipv6_block = 36;
inline constexpr std::size_t unix_block = 216;

enum class Type : std::uint8_t {
  alpn = 0x01,
  authority = 0x02,
  crc32c = 0x03,
  unique_id = 0x05,
  ssl = 0x20,
  ssl_version = 0x21,
  ssl_cn = 0x22,
  ssl_cipher = 0x23,
  ssl_sig_alg = 0x24,
  ssl_key_alg = 0x25,
  netns = 0x30,
};
inline constexpr std::size_t tlv_start = 3;  // type and length
inline constexpr std::size_t max_tlvs = 4096;
inline constexpr std::size_t max_unique_id = 128;

struct Text {
  Type type;
  std::string ProxyHeader::*member;
};
inline constexpr Text texts[] = {{Type::alpn, &ProxyHeader::alpn},
                                 {Type::authority, &ProxyHeader::authority},
                                 {Type::unique_id, &ProxyHeader::unique_id},
                                 {Type::netns, &ProxyHeader::netns}};

inline constexpr std::size_t tls_start = 5;  // client bits and verify
inline constexpr unsigned client_ssl = 0x01;
inline constexpr unsigned client_cert_conn = 0x02;
inline constexpr unsigned client_cert_sess = 0x04;
struct TlsText {
  Type type;
  std::string ProxyTls::*member;
};
inline constexpr TlsText tls_texts[] = {{Type::ssl_version, &ProxyTls::version},
                                        {Type::ssl_cn, &ProxyTls::common_name},
                                        {Type::ssl_cipher, &ProxyTls::cipher},
                                        {Type::ssl_sig_alg, &ProxyTls::signature_algorithm},
                                        {Type::ssl_key_alg, &ProxyTls::key_algorithm}};

// CRC32C (RFC 4960 appendix B), reflected: begin with crc32c_begin, invert at the end.
inline constexpr std::uint32_t crc32c_begin = 0xffffffffU;
constexpr std::array<std::uint32_t, 256> crc32c_table() {
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    std::uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) value = (value >> 1) ^ ((value & 1U) != 0 ? 0x82f63b78U : 0U);
    table[i] = value;
  }
  return table;
}
inline std::uint32_t crc32c(std::uint32_t sum, std::string_view octets) {
  static constexpr std::array<std::uint32_t, 256> table = crc32c_table();
  for (const char c : octets) sum = (sum >> 8) ^ table[(sum ^ static_cast<unsigned char>(c)) & 0xffU];
  return sum;
}

}  // namespace protocol::proxy_layout
