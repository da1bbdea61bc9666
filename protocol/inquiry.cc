#include "protocol/inquiry.h"

#include <algorithm>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t max_command = 510;  // octets without CRLF (RFC 5321 4.5.3.1.4)
constexpr std::string_view utf8_marker = "SMTPUTF8";

// option-char node-name: "example.org", "@example.org" with its subdomains, "#queue" (RFC 1985 section 5).
bool is_etrn_node(std::string_view text) {
  if (text.starts_with('@') || text.starts_with('#')) text.remove_prefix(1);
  return !text.empty() && std::all_of(text.begin(), text.end(), [](char c) {
    return is_let_dig(c) || c == '-' || c == '.' || c == '_' || c == ':' || c == '[' || c == ']';
  });
}

bool takes_smtputf8(Verb verb) { return verb == Verb::vrfy || verb == Verb::expn; }

// Takes " SMTPUTF8" off the end.
bool take_utf8_marker(std::string_view& text) {
  if (text.size() <= utf8_marker.size()) return false;
  const std::size_t begin = text.size() - utf8_marker.size();
  if (!equals_nocase(text.substr(begin), utf8_marker) || text[begin - 1] != ' ') return false;
  text = trim(text.substr(0, begin));
  return true;
}

}  // namespace

std::expected<Inquiry, Reply> parse_inquiry(Verb verb, std::string_view argument, const Capabilities& offered) {
  const std::string word(to_string(verb));
  Inquiry inquiry;
  inquiry.verb = verb;
  std::string_view text = trim(argument);
  if (offered.smtputf8 && takes_smtputf8(verb)) inquiry.smtputf8 = take_utf8_marker(text);
  if (text.empty() && verb != Verb::help) return std::unexpected(reply::syntax_error("Syntax: " + word + " argument"));
  inquiry.text = std::string(text);
  if (!is_printable(text) || (verb == Verb::etrn && !is_etrn_node(text)))
    return std::unexpected(reply::syntax_error("Bad argument of " + word));
  if (!is_ascii(text) && !inquiry.smtputf8)
    return std::unexpected(reply::make(553, "5.6.7", "Non-ASCII argument without SMTPUTF8"));
  if (format(inquiry).size() > max_command) return std::unexpected(reply::syntax_error("Argument too long"));
  return inquiry;
}

std::string format(const Inquiry& inquiry) {
  std::string out(to_string(inquiry.verb));
  if (!inquiry.text.empty()) out.append(" ").append(inquiry.text);
  if (inquiry.smtputf8) out.append(" ").append(utf8_marker);
  return out;
}

}  // namespace protocol
