// MAIL and RCPT parameters (esmtp-param, RFC 5321 4.1.2): an allow-list of those that we carry end to end.
// Unknown ones are 555 5.5.4, bad values 501 5.5.4, duplicates 501 5.5.4. Values are checked and kept as given.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/capabilities.h"
#include "protocol/reply.h"

namespace protocol {

enum class Body { seven_bit, eight_bit_mime, binary_mime };

struct MailParameters {
  std::optional<std::uint64_t> size;  // SIZE=n octets (RFC 1870)
  std::optional<Body> body;           // BODY= (RFC 6152; BINARYMIME: RFC 3030, only where it was offered)
  bool smtputf8 = false;              // SMTPUTF8 (RFC 6531)
  std::optional<std::string> ret;     // RET=FULL|HDRS (RFC 3461 4.3)
  std::optional<std::string> envid;   // ENVID=xtext, at most 100 octets (RFC 3461 4.4)
  std::optional<std::string> auth;    // AUTH=<> or AUTH=xtext, at most 500 octets (RFC 4954 section 5)
  bool prdr = false;                  // PRDR (draft-hall-prdr): one reply per recipient behind the one to the content
  bool operator==(const MailParameters&) const = default;
};

struct RcptParameters {
  std::optional<std::string> notify;  // NOTIFY=NEVER | SUCCESS,FAILURE,DELAY (RFC 3461 4.1)
  std::optional<std::string> orcpt;   // ORCPT=addr-type;xtext, at most 500 octets (RFC 3461 4.2)
  bool operator==(const RcptParameters&) const = default;
};

// `text` is what follows the path, spaces included. A parameter whose keyword was not offered to this client
// (`offered`) is refused like an unknown one.
std::expected<MailParameters, Reply> parse_mail_parameters(std::string_view text, const Capabilities& offered);
std::expected<RcptParameters, Reply> parse_rcpt_parameters(std::string_view text, const Capabilities& offered);

// With a leading space before each parameter; nothing when there is none.
void append(std::string& out, const MailParameters& parameters);
void append(std::string& out, const RcptParameters& parameters);

}  // namespace protocol
