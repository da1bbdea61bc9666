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

// The octets of base64 text one by one; padding and what is no base64 end them.
class Octets {
 public:
  explicit Octets(std::string_view text) : text_(text) {}
  std::optional<char> next() {
    while (count_ < 8) {
      if (text_.empty()) return std::nullopt;
      const std::size_t value = alphabet.find(text_.front());
      if (value == std::string_view::npos) return std::nullopt;
      text_.remove_prefix(1);
      bits_ = (bits_ << 6 | static_cast<unsigned>(value)) & 0xffff;
      count_ += 6;
    }
    count_ -= 8;
    return static_cast<char>(bits_ >> count_ & 0xff);
  }

 private:
  static constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string_view text_;
  unsigned bits_ = 0;
  unsigned count_ = 0;  // of bits_, not given out yet
};

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

std::string login_of(std::string_view mechanism, std::string_view base64) {
  constexpr std::size_t longest = 255;
  const bool plain = mechanism == "PLAIN";
  if (!plain && mechanism != "LOGIN") return {};
  Octets octets(base64);
  std::string name;
  bool behind_authorization = !plain;  // PLAIN: [authzid] NUL authcid NUL passwd
  while (const std::optional<char> octet = octets.next()) {
    if (plain && *octet == '\0') {
      if (behind_authorization) return name;
      behind_authorization = true;
    } else if (behind_authorization) {
      if (name.size() == longest) return {};
      name.push_back(*octet);
    }
  }
  return plain ? std::string() : name;
}

}  // namespace protocol
