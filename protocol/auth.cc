#include "protocol/auth.h"

#include <algorithm>
#include <utility>

#include "protocol/characters.h"

namespace protocol {
namespace {

// base64 of RFC 4648 section 4 by its alphabet; whether the padding is right is left to the server.
bool is_base64(std::string_view text) {
  const std::size_t end = std::min(text.find('='), text.size());
  const std::string_view padding = text.substr(end);
  return std::all_of(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(end),
                     [](char c) { return is_let_dig(c) || c == '+' || c == '/'; }) &&
         (padding.empty() || padding == "=" || padding == "==") && (end > 0 || padding.empty());
}

Reply too_long() { return reply::make(500, "5.5.6", "Authentication exchange line is too long"); }
Reply not_base64() { return reply::make(501, "5.5.2", "Not base64"); }

}  // namespace

std::expected<AuthCommand, Reply> parse_auth(std::string_view argument, const Capabilities& offered) {
  constexpr std::string_view verb = "AUTH ";
  if (argument.size() + verb.size() > max_auth_line) return std::unexpected(too_long());
  AuthCommand command;
  command.mechanism = upper(argument.substr(0, argument.find(' ')));
  std::string_view response = argument.substr(command.mechanism.size());
  response.remove_prefix(std::min(response.find_first_not_of(' '), response.size()));
  if (command.mechanism.empty())
    return std::unexpected(reply::syntax_error("Syntax: AUTH mechanism [initial-response]"));
  if (std::find(offered.auth.begin(), offered.auth.end(), command.mechanism) == offered.auth.end())
    return std::unexpected(reply::make(504, "5.5.4", "Authentication mechanism not offered here"));
  if (response.empty()) return command;
  if (response == "=") response = {};  // RFC 4954 section 4
  if (!is_base64(response)) return std::unexpected(not_base64());
  command.initial_response = std::string(response);
  return command;
}

std::string format(const AuthCommand& command) {
  std::string out = "AUTH " + command.mechanism;
  if (command.initial_response)
    out.append(" ").append(command.initial_response->empty() ? "=" : *command.initial_response);
  return out;
}

std::expected<AuthResponse, Reply> parse_auth_response(std::string_view line) {
  if (line.size() > max_auth_line) return std::unexpected(too_long());
  if (line == "*") return AuthResponse{true, {}};
  if (!is_base64(line)) return std::unexpected(not_base64());
  return AuthResponse{false, std::string(line)};
}

std::string format(const AuthResponse& response) { return response.cancelled ? "*" : response.base64; }

}  // namespace protocol
