// XCLIENT and XFORWARD: a trusted peer tells who its client is (Postfix's XCLIENT_README and XFORWARD_README). XCLIENT
// puts that client in the place of the connection's own; XFORWARD is for logs alone.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocol/ip_address.h"
#include "protocol/reply.h"

namespace protocol {

enum class IdentityVerb { xclient, xforward };

// One attribute. Absent is not the same as [UNAVAILABLE] (there is none) and [TEMPUNAVAIL] (nobody could find out now).
struct Attribute {
  enum class State : std::uint8_t { absent, unavailable, temporarily_unavailable, known };
  State state = State::absent;
  std::string text;  // decoded; of printable characters without spaces; only where known
  Attribute() = default;
  explicit Attribute(State known_or_not) : state(known_or_not) {}
  explicit Attribute(std::string known) : state(State::known), text(std::move(known)) {}
  bool operator==(const Attribute&) const = default;
};

struct ClientIdentity {
  Attribute name;      // host name by reverse look-up
  Attribute addr;      // IP address, as protocol::to_text() writes it
  Attribute port;      // decimal, 0..65535
  Attribute proto;     // SMTP or ESMTP
  Attribute helo;      // name given with HELO or EHLO, at most 255 octets, as those of name and ident
  Attribute login;     // XCLIENT only: SASL user name
  Attribute destaddr;  // XCLIENT only: the address the client connected to
  Attribute destport;  // XCLIENT only
  Attribute ident;     // XFORWARD only: the peer's name for the message
  Attribute source;    // XFORWARD only: LOCAL or REMOTE
  bool operator==(const ClientIdentity&) const = default;
};

// All that the verb has, in upper case, as an EHLO line lists them.
std::vector<std::string> attribute_names(IdentityVerb verb);

// `argument` is what follows the verb: 1*( SP name "=" xtext ). Names and the words in brackets are case-insensitive.
// 501 5.5.4 for what is malformed, given twice, not an attribute of the verb or not in `offered` (names in upper case).
std::expected<ClientIdentity, Reply> parse_identity(IdentityVerb verb, std::string_view argument,
                                                    const std::vector<std::string>& offered);
// What several commands told: attributes of `part` take the place of those in `whole`.
void merge(ClientIdentity& whole, const ClientIdentity& part);

// The commands that tell `identity` to a server, in order, without CRLF; at most 512 octets each with it. Attributes
// that are absent or not in `offered` are left out; one that fits no command is told as [UNAVAILABLE]. NAME and ADDR
// stand in the last one: behind ADDR Postfix takes no further XCLIENT. Nothing to tell: no command.
std::vector<std::string> format(IdentityVerb verb, const ClientIdentity& identity,
                                const std::vector<std::string>& offered);

}  // namespace protocol
