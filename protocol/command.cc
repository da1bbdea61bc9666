#include "protocol/command.h"

#include <algorithm>
#include <utility>

#include "protocol/characters.h"

namespace protocol {
namespace {

constexpr std::size_t usual_octets = 80;  // of MAIL and RCPT, with the CRLF that goes behind them

struct Name {
  std::string_view word;
  Verb verb;
};
constexpr Name names[] = {
    {"EHLO", Verb::ehlo},
    {"HELO", Verb::helo},
    {"MAIL", Verb::mail},
    {"RCPT", Verb::rcpt},
    {"DATA", Verb::data},
    {"RSET", Verb::rset},
    {"NOOP", Verb::noop},
    {"QUIT", Verb::quit},
    {"VRFY", Verb::vrfy},
    {"HELP", Verb::help},
    {"LHLO", Verb::lhlo},
    {"BDAT", Verb::bdat},
    {"AUTH", Verb::auth},
    {"STARTTLS", Verb::starttls},
    {"EXPN", Verb::expn},
    {"ETRN", Verb::etrn},
    {"XCLIENT", Verb::xclient},
    {"XFORWARD", Verb::xforward},
    // Of the registry of SMTP verbs and of common practice.
    {"ATRN", Verb::known_elsewhere},
    {"BURL", Verb::known_elsewhere},
    {"ONEX", Verb::known_elsewhere},
    {"SAML", Verb::known_elsewhere},
    {"SEND", Verb::known_elsewhere},
    {"SOML", Verb::known_elsewhere},
    {"TURN", Verb::known_elsewhere},
    {"VERB", Verb::known_elsewhere},
    // Browsers made to speak to port 25 (T:B12).
    {"GET", Verb::forbidden},
    {"POST", Verb::forbidden},
    {"CONNECT", Verb::forbidden},
    {"HEAD", Verb::forbidden},
    {"PUT", Verb::forbidden},
    {"OPTIONS", Verb::forbidden},
};

// `Field-Name:` at the start of the word, as in a header section or an HTTP request.
bool looks_like_field(std::string_view word) {
  const std::size_t colon = word.find(':');
  if (colon == 0 || colon == std::string_view::npos) return false;
  return std::all_of(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(colon),
                     [](char c) { return is_let_dig(c) || c == '-' || c == '_'; });
}

Verb verb_of(std::string_view word) {
  const char first = word.empty() ? '\0' : to_upper(word.front());
  for (const Name& name : names)
    if (name.word.front() == first && equals_nocase(word, name.word)) return name.verb;
  return looks_like_field(word) ? Verb::forbidden : Verb::unknown;
}

// Takes `prefix` ("FROM:" or "TO:") and at most one space behind it.
bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!starts_with_nocase(text, prefix)) return false;
  text.remove_prefix(prefix.size());
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

std::unexpected<Reply> refuse(int code, std::string_view enhanced, std::string_view text,
                              std::string_view reason = {}) {
  std::string sentence(text);
  if (!reason.empty()) sentence.append(": ").append(reason);
  return std::unexpected(reply::make(code, enhanced, sentence));
}

// RFC 6531 3.5
std::unexpected<Reply> refuse_utf8() { return refuse(553, "5.6.7", "Internationalized address without SMTPUTF8"); }

}  // namespace

std::string_view to_string(Verb verb) {
  if (verb == Verb::known_elsewhere) return "other";
  if (verb == Verb::forbidden) return "forbidden";
  for (const Name& name : names)
    if (name.verb == verb) return name.word;
  return "unknown";
}

Command parse_command(std::string_view line) {
  Command command;
  command.word = line.substr(0, line.find(' '));
  command.verb = verb_of(command.word);
  std::string_view argument = line.substr(command.word.size());
  argument.remove_prefix(std::min(argument.find_first_not_of(' '), argument.size()));
  argument.remove_suffix(argument.size() - (argument.find_last_not_of(' ') + 1));
  command.argument = argument;
  return command;
}

std::optional<Reply> refuse_argument(const Command& command) {
  if (command.verb != Verb::starttls || command.argument.empty()) return std::nullopt;
  return reply::syntax_error("Syntax: STARTTLS, without parameters");
}

std::expected<MailCommand, Reply> parse_mail(std::string_view argument, const Capabilities& offered) {
  if (!take_prefix(argument, "FROM:")) return refuse(501, "5.5.4", "Syntax: MAIL FROM:<address>");
  auto path = parse_reverse_path(argument, true);
  if (!path) return refuse(501, "5.1.7", "Bad sender address syntax", path.error().reason);
  auto parameters = parse_mail_parameters(argument, offered);
  if (!parameters) return std::unexpected(parameters.error());
  const bool ascii = (!*path || is_ascii(**path)) && (!parameters->auth || is_ascii(*parameters->auth));
  if (!ascii && !parameters->smtputf8) return refuse_utf8();
  return std::expected<MailCommand, Reply>(std::in_place, std::move(*path), std::move(*parameters));
}

std::expected<RcptCommand, Reply> parse_rcpt(std::string_view argument, const Capabilities& offered, bool smtputf8) {
  if (!take_prefix(argument, "TO:")) return refuse(501, "5.5.4", "Syntax: RCPT TO:<address>");
  auto path = parse_forward_path(argument, true);
  if (!path) return refuse(501, "5.1.3", "Bad recipient address syntax", path.error().reason);
  auto parameters = parse_rcpt_parameters(argument, offered);
  if (!parameters) return std::unexpected(parameters.error());
  const bool ascii = is_ascii(*path) && (!parameters->orcpt || is_ascii(*parameters->orcpt));
  if (!ascii && !(smtputf8 && offered.smtputf8)) return refuse_utf8();
  return std::expected<RcptCommand, Reply>(std::in_place, std::move(*path), std::move(*parameters));
}

std::string format(const MailCommand& command, const Capabilities& downstream) {
  MailParameters parameters = command.parameters;
  if (!downstream.size) parameters.size.reset();
  if (downstream.auth.empty()) parameters.auth.reset();
  parameters.prdr = parameters.prdr && downstream.prdr;
  std::string out;
  out.reserve(usual_octets);
  out.append("MAIL FROM:");
  if (command.reverse_path) append_path(out, *command.reverse_path);
  else out.append("<>");
  append(out, parameters);
  return out;
}

std::string format(const RcptCommand& command) {
  std::string out;
  out.reserve(usual_octets);
  out.append("RCPT TO:");
  append_path(out, command.forward_path);
  append(out, command.parameters);
  return out;
}

}  // namespace protocol
