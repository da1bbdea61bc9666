// AUTH (RFC 4954) as far as a relay reads it: the command, and the client's lines of the exchange. What they hold is
// opaque, secret, and goes into no log.
#pragma once

#include <expected>
#include <optional>
#include <string>
#include <string_view>

#include "protocol/capabilities.h"
#include "protocol/reply.h"

namespace protocol {

struct AuthCommand {
  std::string mechanism;                        // upper case
  std::optional<std::string> initial_response;  // base64; empty = "=", a response of no octets
  bool operator==(const AuthCommand&) const = default;
};

// `argument` is what follows AUTH; command and responses have at most max_auth_line octets without CRLF (RFC 4954
// section 4). 504 5.5.4 where the mechanism was not offered, 500 5.5.6 too long, 501 5.5.2 not base64.
std::expected<AuthCommand, Reply> parse_auth(std::string_view argument, const Capabilities& offered);
std::string format(const AuthCommand& command);  // without CRLF

struct AuthResponse {
  bool cancelled = false;  // "*"
  std::string base64;      // may be empty: a response of no octets
  bool operator==(const AuthResponse&) const = default;
};
// A line of the client in answer to 334. On an error the exchange is over for the client, and has to be cancelled
// downstream: 500 5.5.6 too long, 501 5.5.2 not base64.
std::expected<AuthResponse, Reply> parse_auth_response(std::string_view line);
std::string format(const AuthResponse& response);  // without CRLF

// The user name in the client's first response, for the log: the authentication identity of PLAIN (RFC 4616 section 2),
// the user of LOGIN. What stands behind it is not even decoded. Empty: another mechanism, malformed, or longer than 255
// octets. Any octets: escape it.
std::string login_of(std::string_view mechanism, std::string_view base64);

}  // namespace protocol
