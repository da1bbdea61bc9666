#include "protocol/parameters.h"

#include <algorithm>
#include <limits>

#include "protocol/characters.h"
#include "protocol/xtext.h"

namespace protocol {
namespace {

constexpr std::size_t max_envid = 100;  // octets, RFC 3461 4.4
constexpr std::size_t max_orcpt = 500;  // octets, RFC 3461 4.2
constexpr std::size_t max_auth = 500;   // octets, RFC 4954 section 3

// esmtp-param = esmtp-keyword ["=" esmtp-value]
struct Parameter {
  std::string_view keyword;
  std::optional<std::string_view> value;
};

using Problem = std::optional<Reply>;

Reply bad_value(std::string_view keyword) {
  return reply::syntax_error("Bad value of parameter " + std::string(keyword));
}
Reply unknown_parameter(std::string_view keyword) {
  return reply::make(555, "5.5.4", "Unsupported parameter " + std::string(keyword.substr(0, 64)));
}

// Calls `take` with each parameter of `text` until one is a problem.
template <class Take>
Problem each_parameter(std::string_view text, Take take) {
  while (!text.empty()) {
    if (text.front() != ' ') return reply::syntax_error("Space expected before parameters");
    text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
    const std::string_view word = text.substr(0, text.find(' '));
    if (word.empty()) break;
    text.remove_prefix(word.size());
    const std::size_t equals = word.find('=');
    Parameter parameter{word.substr(0, equals), std::nullopt};
    if (equals != std::string_view::npos) parameter.value = word.substr(equals + 1);
    if (!is_keyword(parameter.keyword)) return reply::syntax_error("Bad parameter syntax");
    if (Problem problem = take(parameter)) return problem;
  }
  return std::nullopt;
}

// 1*20DIGIT (RFC 1870 section 4); nothing where it is not that. More than 64 bits hold is the greatest number they
// hold.
std::optional<std::uint64_t> size_value(std::string_view text) {
  if (text.empty() || text.size() > 20 || !std::all_of(text.begin(), text.end(), is_digit)) return std::nullopt;
  return decimal(text).value_or(std::numeric_limits<std::uint64_t>::max());
}

// NEVER, or a list of SUCCESS, FAILURE, DELAY
bool is_notify(std::string_view text) {
  if (equals_nocase(text, "NEVER")) return true;
  while (true) {
    const std::size_t comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    if (!equals_nocase(item, "SUCCESS") && !equals_nocase(item, "FAILURE") && !equals_nocase(item, "DELAY"))
      return false;
    if (comma == std::string_view::npos) return true;
    text.remove_prefix(comma + 1);
  }
}

// original-recipient-address = addr-type ";" xtext; UTF-8 as it is only with addr-type utf-8 (RFC 6533 section 3).
bool is_orcpt(std::string_view text, bool utf8) {
  const std::size_t semicolon = text.find(';');
  if (text.size() > max_orcpt || semicolon == 0 || semicolon == std::string_view::npos) return false;
  const std::string_view type = text.substr(0, semicolon);
  const std::string_view address = text.substr(semicolon + 1);
  return std::all_of(type.begin(), type.end(), is_atext) && !address.empty() &&
         is_xtext(address, utf8 && equals_nocase(type, "utf-8"));
}

// Keeps `value` as given if it is `good` and the first of its keyword.
Problem keep(std::optional<std::string>& field, const Parameter& parameter, bool good) {
  if (field || !good) return bad_value(parameter.keyword);
  field = std::string(*parameter.value);
  return std::nullopt;
}

Problem take_size(MailParameters& out, const Parameter& parameter, const Capabilities& offered) {
  if (out.size || !parameter.value) return bad_value("SIZE");
  out.size = size_value(*parameter.value);
  if (!out.size) return bad_value("SIZE");
  if (offered.size_limit > 0 && *out.size > offered.size_limit)
    return reply::make(552, "5.3.4", "Message size exceeds fixed limit");
  return std::nullopt;
}

struct BodyName {
  std::string_view word;
  Body body;
};
constexpr BodyName body_names[] = {
    {"7BIT", Body::seven_bit}, {"8BITMIME", Body::eight_bit_mime}, {"BINARYMIME", Body::binary_mime}};

Problem take_body(MailParameters& out, const Parameter& parameter, const Capabilities& offered) {
  const auto* const name = std::find_if(std::begin(body_names), std::end(body_names), [&](const BodyName& each) {
    return equals_nocase(parameter.value.value_or(""), each.word);
  });
  const bool known = name != std::end(body_names);
  if (out.body || !known || (name->body == Body::binary_mime && !(offered.binary_mime && offered.chunking)))
    return bad_value("BODY");
  out.body = name->body;
  return std::nullopt;
}

// A keyword without value, once.
Problem take_flag(bool& flag, const Parameter& parameter) {
  if (flag || parameter.value) return bad_value(upper(parameter.keyword));
  flag = true;
  return std::nullopt;
}

Problem take_mail_parameter(MailParameters& out, const Parameter& parameter, const Capabilities& offered) {
  const auto is = [&](std::string_view keyword) { return equals_nocase(parameter.keyword, keyword); };
  const std::string_view value = parameter.value.value_or("");
  if (offered.size && is("SIZE")) return take_size(out, parameter, offered);
  if (offered.eight_bit_mime && is("BODY")) return take_body(out, parameter, offered);
  if (offered.smtputf8 && is("SMTPUTF8")) return take_flag(out.smtputf8, parameter);
  if (offered.prdr && is("PRDR")) return take_flag(out.prdr, parameter);
  if (!offered.auth.empty() && is("AUTH"))
    return keep(out.auth, parameter, !value.empty() && value.size() <= max_auth && is_xtext(value, offered.smtputf8));
  if (offered.dsn && is("RET"))
    return keep(out.ret, parameter, equals_nocase(value, "FULL") || equals_nocase(value, "HDRS"));
  if (offered.dsn && is("ENVID"))
    return keep(out.envid, parameter, !value.empty() && value.size() <= max_envid && is_xtext(value, false));
  return unknown_parameter(parameter.keyword);
}

Problem take_rcpt_parameter(RcptParameters& out, const Parameter& parameter, const Capabilities& offered) {
  const auto is = [&](std::string_view keyword) { return equals_nocase(parameter.keyword, keyword); };
  const std::string_view value = parameter.value.value_or("");
  if (offered.dsn && is("NOTIFY")) return keep(out.notify, parameter, is_notify(value));
  if (offered.dsn && is("ORCPT")) return keep(out.orcpt, parameter, is_orcpt(value, offered.smtputf8));
  return unknown_parameter(parameter.keyword);
}

void append(std::string& out, std::string_view keyword, const std::optional<std::string>& value) {
  if (value) out.append(keyword).append(*value);
}

}  // namespace

std::expected<MailParameters, Reply> parse_mail_parameters(std::string_view text, const Capabilities& offered) {
  MailParameters out;
  const auto take = [&](const Parameter& parameter) { return take_mail_parameter(out, parameter, offered); };
  if (Problem problem = each_parameter(text, take)) return std::unexpected(*problem);
  return out;
}

std::expected<RcptParameters, Reply> parse_rcpt_parameters(std::string_view text, const Capabilities& offered) {
  RcptParameters out;
  const auto take = [&](const Parameter& parameter) { return take_rcpt_parameter(out, parameter, offered); };
  if (Problem problem = each_parameter(text, take)) return std::unexpected(*problem);
  return out;
}

void append(std::string& out, const MailParameters& parameters) {
  if (parameters.size) out.append(" SIZE=").append(std::to_string(*parameters.size));
  for (const BodyName& name : body_names)
    if (parameters.body == name.body) out.append(" BODY=").append(name.word);
  if (parameters.smtputf8) out.append(" SMTPUTF8");
  append(out, " RET=", parameters.ret);
  append(out, " ENVID=", parameters.envid);
  append(out, " AUTH=", parameters.auth);
  if (parameters.prdr) out.append(" PRDR");
}

void append(std::string& out, const RcptParameters& parameters) {
  append(out, " NOTIFY=", parameters.notify);
  append(out, " ORCPT=", parameters.orcpt);
}

}  // namespace protocol
