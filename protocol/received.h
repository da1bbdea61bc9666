// The Received field (RFC 5321 4.4): ours formatted, and the topmost one of a message read for where it came from.
//
// How many Received fields a message has is counted where its header section streams by: header_filter.h.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "protocol/ip_address.h"

namespace protocol {

struct TransmissionType {
  bool lmtp = false;
  bool esmtp = true;  // EHLO; LMTP is always so
  bool tls = false;
  bool authenticated = false;
  bool smtputf8 = false;  // MAIL carried SMTPUTF8
};
// The `with` types of RFC 3848 and RFC 6531 section 4.3: "SMTP", "ESMTPSA", "UTF8LMTPS" ...
std::string with_type(const TransmissionType& type);

struct Received {
  std::string helo;                    // as the client said; empty: its address-literal stands there
  std::string client_name;             // by reverse look-up; empty where there is none
  std::optional<IpAddress> client_ip;  // nothing: a UNIX socket
  TransmissionType type;
  std::string tls_version, tls_cipher;  // "TLSv1.3", "TLS_AES_256_GCM_SHA384"; empty: no comment
  std::string hostname;                 // ours
  std::string id;
  std::string forward_path;  // "<local@domain>" of the only recipient; empty: no `for` clause
  std::string date;          // RFC 5322 date-time; empty: the field ends before its ";", for others to add
};
// "Received: from ... \r\n\tby ...; date\r\n", folded before each clause; without CRLF where there is no date. Whatever
// the client said is cut to 255 octets, and what is not part of a host name or address becomes '?' (T:A9). Non-ASCII
// characters stay only where SMTPUTF8 was asked for.
std::string format(const Received& received);

// Where a message came from, as the server that wrote the field saw it.
struct ReceivedFrom {
  IpAddress ip;      // IPv4 mapped into IPv6 as IPv4
  std::string helo;  // what the client called itself; empty where the field does not say
  std::string name;  // by reverse look-up; empty for none and "unknown"
  bool operator==(const ReceivedFrom&) const = default;
};

// The body of the first Received field of a header section, unfolded to one line. `content`: canonical octets from the
// beginning of the message on; of these at most 64 KiB are looked at. Nothing where there is none, it is longer than
// 4096 octets or holds control characters, or `content` ends before it is sure to be complete.
std::optional<std::string> first_received(std::string_view content);
// `body` as above, by the forms of `from` clause that Postfix, Sendmail, OpenSMTPD and Exim write. The client chooses
// HELO name and ident and perhaps reverse name: what they could imitate is not understood. Nothing where the form is
// none of these, or names no IP address (mail that was not received from a network).
std::optional<ReceivedFrom> parse_received_from(std::string_view body);

}  // namespace protocol
