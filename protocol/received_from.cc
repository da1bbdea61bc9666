// Reading a `from` clause. After the word `from` stands
//   HELO (NAME [IP])            Postfix, Sendmail, OpenSMTPD; NAME may be "unknown", "<unknown>" or, with Sendmail,
//                               IDENT@NAME, and "(may be forged)" may follow
//   HELO ([IP])                 Sendmail without a name
//   NAME ([IP] helo=HELO ...)   Exim with a verified name; ":PORT" may stand behind the brackets
//   [IP] (helo=HELO ...)        Exim without one
// The comment decides which it is, and nothing a client can say makes one form from another: HELO has no blanks; NAME
// is a host name; an IDENT with a bracket, blank or "=" in it fits no form. That no parenthesis gets into these words
// is left to the server that wrote the field; the four see to it.
#include <algorithm>

#include "protocol/address_literal.h"
#include "protocol/characters.h"
#include "protocol/received.h"

namespace protocol {
namespace {

constexpr std::size_t max_header = 65536;
constexpr std::size_t max_field = 4096;

// "[IP]" or "[IP]:PORT" in front of `text`, taken off it. Exim writes IPv6 without a tag.
std::optional<IpAddress> take_bracketed_ip(std::string_view& text) {
  const std::size_t end = text.find(']');
  if (!text.starts_with('[') || end == std::string_view::npos) return std::nullopt;
  const std::string_view inside = text.substr(1, end - 1);
  std::optional<IpAddress> ip = parse_address_literal(inside);
  if (!ip) ip = parse_ipv6(inside);
  if (!ip) return std::nullopt;
  std::string_view rest = text.substr(end + 1);
  if (rest.starts_with(':')) {
    const std::string_view port = rest.substr(1, rest.find(' ') - 1);
    const std::optional<std::uint64_t> number = decimal(port);
    if (!number || *number > 65535) return std::nullopt;
    rest.remove_prefix(port.size() + 1);
  }
  if (!rest.empty() && rest.front() != ' ') return std::nullopt;
  text = trim(rest);
  return unmapped(*ip);
}

// Exim's `helo=x ident=y port=z`, all of the text; nothing where it is anything else. Gives the value of helo.
std::optional<std::string> exim_words(std::string_view text) {
  std::string helo;
  if (text.empty()) return std::nullopt;
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(' '));
    text = trim(text.substr(word.size()));
    const std::size_t equals = word.find('=');
    const std::string_view key = word.substr(0, equals);
    if (equals == std::string_view::npos || (key != "helo" && key != "ident" && key != "port")) return std::nullopt;
    if (key == "helo") helo = std::string(word.substr(equals + 1));
  }
  return helo;
}

// The text inside the comment in front of `text`, taken off it with its parentheses; comments may nest.
std::optional<std::string_view> take_comment(std::string_view& text) {
  if (!text.starts_with('(')) return std::nullopt;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') return std::nullopt;
    depth += text[i] == '(' ? 1 : text[i] == ')' ? -1 : 0;
    if (depth > 0) continue;
    const std::string_view inside = text.substr(1, i - 1);
    text = trim(text.substr(i + 1));
    return inside;
  }
  return std::nullopt;
}

bool is_host_name(std::string_view text) {
  return !text.empty() && text.size() <= 255 && std::all_of(text.begin(), text.end(), [](char c) {
    return is_let_dig(c) || c == '.' || c == '-' || c == '_';
  });
}

// `[IDENT@]NAME [IP]` with "(may be forged)" perhaps.
std::optional<ReceivedFrom> name_and_ip(std::string_view inside) {
  const std::string_view word = inside.substr(0, inside.find(' '));
  const std::string_view name = word.substr(word.rfind('@') + 1);  // npos + 1 = 0
  const bool none = name == "unknown" || name == "<unknown>";
  const bool odd = word.find_first_of("[]()=\"") != std::string_view::npos;
  if (odd || (!none && !is_host_name(name))) return std::nullopt;
  std::string_view rest = trim(inside.substr(word.size()));
  const std::optional<IpAddress> ip = take_bracketed_ip(rest);
  if (!ip || (!rest.empty() && rest != "(may be forged)")) return std::nullopt;
  return ReceivedFrom{*ip, "", none ? "" : std::string(name)};
}

// The comment behind `first`, which is HELO or, with Exim, NAME.
std::optional<ReceivedFrom> from_comment(std::string_view first, std::string_view inside) {
  if (!inside.starts_with('[')) {
    std::optional<ReceivedFrom> found = name_and_ip(inside);
    if (found) found->helo = std::string(first);
    return found;
  }
  const std::optional<IpAddress> ip = take_bracketed_ip(inside);
  if (!ip) return std::nullopt;
  if (inside.empty()) return ReceivedFrom{*ip, std::string(first), ""};
  if (inside == "(may be forged)") return ReceivedFrom{*ip, std::string(first), ""};
  std::optional<std::string> helo = exim_words(inside);
  if (!helo || !is_host_name(first)) return std::nullopt;
  return ReceivedFrom{*ip, std::move(*helo), std::string(first)};
}

bool is_received(std::string_view line) {
  constexpr std::string_view name = "Received";
  return starts_with_nocase(line, name) && trim(line.substr(name.size(), line.find(':') - name.size())).empty() &&
         line.find(':') != std::string_view::npos;
}

}  // namespace

std::optional<std::string> first_received(std::string_view content) {
  content = content.substr(0, max_header);
  std::string body;
  bool inside = false;
  while (true) {
    const std::size_t end = content.find("\r\n");
    if (end == std::string_view::npos) return std::nullopt;  // the field may go on behind what we have
    const std::string_view line = content.substr(0, end);
    content.remove_prefix(end + 2);
    const bool continued = !line.empty() && is_wsp(line.front());
    if (inside && !continued) break;
    if (line.empty()) return std::nullopt;
    if (!inside && (continued || !is_received(line))) continue;
    const std::string_view text = inside ? line : line.substr(line.find(':') + 1);
    if (body.size() + text.size() > max_field) return std::nullopt;
    body.append(inside ? " " : "").append(trim(text));
    inside = true;
  }
  std::replace(body.begin(), body.end(), '\t', ' ');
  if (!is_printable(body)) return std::nullopt;
  return body;
}

std::optional<ReceivedFrom> parse_received_from(std::string_view body) {
  constexpr std::string_view from = "from ";
  body = trim(body);
  if (!starts_with_nocase(body, from)) return std::nullopt;
  body = trim(body.substr(from.size()));
  const std::string_view first = body.substr(0, body.find(' '));
  if (first.empty() || first.size() > 255 || first.find_first_of("()\"\\") != std::string_view::npos)
    return std::nullopt;
  std::string_view rest = trim(body.substr(first.size()));
  if (const std::optional<std::string_view> inside = take_comment(rest)) {
    if (!rest.starts_with('(') && !starts_with_nocase(rest, "by ")) return std::nullopt;
    std::string_view bracketed = first;
    const std::optional<IpAddress> ip = take_bracketed_ip(bracketed);
    const std::optional<std::string> helo = ip ? exim_words(*inside) : std::nullopt;
    if (helo) return ReceivedFrom{*ip, *helo, ""};
    return from_comment(first, *inside);
  }
  std::string_view bracketed = first;  // Exim where there is nothing to say in a comment
  const std::optional<IpAddress> ip = take_bracketed_ip(bracketed);
  if (!ip || !starts_with_nocase(rest, "by ")) return std::nullopt;
  return ReceivedFrom{*ip, "", ""};
}

}  // namespace protocol
