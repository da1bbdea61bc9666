#include "protocol/xclient.h"

#include <algorithm>
#include <utility>

#include "protocol/characters.h"
#include "protocol/xtext.h"

namespace protocol {
namespace {

constexpr std::size_t max_command = 510;  // octets without CRLF (RFC 5321 4.5.3.1.4)
constexpr std::size_t max_text = 255;
constexpr std::string_view unavailable = "[UNAVAILABLE]";
constexpr std::string_view temporarily_unavailable = "[TEMPUNAVAIL]";
constexpr std::string_view ipv6_tag = "IPV6:";

// Each takes the decoded text and gives it in its normal form.
using Known = std::optional<std::string>;

Known any_text(std::string_view text) {
  const bool one_word = text.find(' ') == std::string_view::npos;
  return !text.empty() && text.size() <= max_text && one_word ? Known(text) : std::nullopt;
}

Known ip_text(std::string_view text) {
  const bool tagged = starts_with_nocase(text, ipv6_tag);
  const std::optional<IpAddress> ip = tagged ? parse_ipv6(text.substr(ipv6_tag.size())) : parse_ipv4(text);
  return ip ? Known(to_text(*ip)) : std::nullopt;
}

Known port_text(std::string_view text) {
  const std::optional<std::uint64_t> port = decimal(text);
  return port && *port <= 65535 ? Known(std::to_string(*port)) : std::nullopt;
}

Known one_of(std::string_view text, std::string_view a, std::string_view b) {
  return equals_nocase(text, a) || equals_nocase(text, b) ? Known(upper(text)) : std::nullopt;
}
Known proto_text(std::string_view text) { return one_of(text, "SMTP", "ESMTP"); }
Known source_text(std::string_view text) { return one_of(text, "LOCAL", "REMOTE"); }

struct Field {
  std::string_view name;
  Attribute ClientIdentity::*member;
  Known (*normal)(std::string_view);
  bool xclient;
  bool xforward;
};
// In the order in which EHLO lists them.
constexpr Field fields[] = {
    {"NAME", &ClientIdentity::name, any_text, true, true},
    {"ADDR", &ClientIdentity::addr, ip_text, true, true},
    {"PORT", &ClientIdentity::port, port_text, true, true},
    {"PROTO", &ClientIdentity::proto, proto_text, true, true},
    {"HELO", &ClientIdentity::helo, any_text, true, true},
    {"LOGIN", &ClientIdentity::login, any_text, true, false},
    {"DESTADDR", &ClientIdentity::destaddr, ip_text, true, false},
    {"DESTPORT", &ClientIdentity::destport, port_text, true, false},
    {"IDENT", &ClientIdentity::ident, any_text, false, true},
    {"SOURCE", &ClientIdentity::source, source_text, false, true},
};

bool belongs(const Field& field, IdentityVerb verb) {
  return verb == IdentityVerb::xclient ? field.xclient : field.xforward;
}

bool is_offered(const Field& field, IdentityVerb verb, const std::vector<std::string>& offered) {
  return belongs(field, verb) && std::find(offered.begin(), offered.end(), field.name) != offered.end();
}

std::string_view word_of(IdentityVerb verb) { return verb == IdentityVerb::xclient ? "XCLIENT" : "XFORWARD"; }

std::optional<Attribute> attribute_of(const Field& field, std::string_view xtext) {
  if (equals_nocase(xtext, unavailable)) return Attribute(Attribute::State::unavailable);
  if (equals_nocase(xtext, temporarily_unavailable)) return Attribute(Attribute::State::temporarily_unavailable);
  const std::optional<std::string> text = decode_xtext(xtext);
  Known known = text ? field.normal(*text) : std::nullopt;
  if (!known) return std::nullopt;
  return Attribute(std::move(*known));
}

// " NAME=value"; empty where there is nothing to tell.
std::string wire(const Field& field, const Attribute& attribute) {
  if (attribute.state == Attribute::State::absent) return {};
  std::string out = " " + std::string(field.name) + "=";
  if (attribute.state == Attribute::State::unavailable) return out.append(unavailable);
  if (attribute.state == Attribute::State::temporarily_unavailable) return out.append(temporarily_unavailable);
  const bool ipv6 = field.normal == ip_text && attribute.text.find(':') != std::string::npos;
  return out.append(ipv6 ? ipv6_tag : "").append(encode_xtext(attribute.text));
}

// Cuts what stands behind NAME= to what fits beside `others` octets.
std::string fitting(const Field& field, std::string text, std::size_t others) {
  if (text.size() + others <= max_command) return text;
  return wire(field, Attribute(Attribute::State::unavailable));
}

}  // namespace

std::vector<std::string> attribute_names(IdentityVerb verb) {
  std::vector<std::string> names;
  for (const Field& field : fields)
    if (belongs(field, verb)) names.emplace_back(field.name);
  return names;
}

std::expected<ClientIdentity, Reply> parse_identity(IdentityVerb verb, std::string_view argument,
                                                    const std::vector<std::string>& offered) {
  ClientIdentity identity;
  const auto refuse = [&](std::string_view what) {
    return std::unexpected(reply::syntax_error("Bad " + std::string(word_of(verb)) + " " + std::string(what)));
  };
  argument = trim(argument);
  if (argument.empty()) return refuse("syntax: attributes expected");
  while (!argument.empty()) {
    const std::string_view word = argument.substr(0, argument.find(' '));
    argument = trim(argument.substr(word.size()));
    const std::size_t equals = word.find('=');
    if (equals == std::string_view::npos) return refuse("syntax: attribute=value expected");
    const auto* const field = std::find_if(std::begin(fields), std::end(fields), [&](const Field& each) {
      return equals_nocase(each.name, word.substr(0, equals)) && is_offered(each, verb, offered);
    });
    if (field == std::end(fields)) return refuse("attribute name");
    std::optional<Attribute> attribute = attribute_of(*field, word.substr(equals + 1));
    Attribute& place = identity.*field->member;
    if (!attribute || place.state != Attribute::State::absent) return refuse(std::string(field->name) + " value");
    place = std::move(*attribute);
  }
  return identity;
}

void merge(ClientIdentity& whole, const ClientIdentity& part) {
  for (const Field& field : fields)
    if ((part.*field.member).state != Attribute::State::absent) whole.*field.member = part.*field.member;
}

std::vector<std::string> format(IdentityVerb verb, const ClientIdentity& identity,
                                const std::vector<std::string>& offered) {
  const std::string word(word_of(verb));
  std::vector<std::string> commands;
  const auto add = [&](const std::string& attributes) {
    if (attributes.empty()) return;
    if (commands.empty() || commands.back().size() + attributes.size() > max_command) commands.push_back(word);
    commands.back().append(attributes);
  };
  const auto fitted = [&](const Field& field, std::size_t others) {
    if (!is_offered(field, verb, offered)) return std::string();
    return fitting(field, wire(field, identity.*field.member), word.size() + others);
  };
  for (std::size_t i = 2; i < std::size(fields); ++i) add(fitted(fields[i], 0));
  std::string last = fitted(fields[1], 0);  // ADDR, and NAME in front of it
  last.insert(0, fitted(fields[0], last.size()));
  add(last);
  return commands;
}

}  // namespace protocol
