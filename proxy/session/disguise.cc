#include "proxy/session/disguise.h"

#include <algorithm>
#include <iterator>

#include "protocol/characters.h"

namespace session {
namespace {

constexpr std::size_t longest_line = 510;  // octets without CRLF (RFC 5321 4.5.3.1.4)

bool is_harmless(protocol::Verb verb) {
  using protocol::Verb;
  constexpr Verb harmless[] = {Verb::unknown, Verb::ehlo, Verb::helo, Verb::lhlo, Verb::mail,
                               Verb::rcpt,    Verb::vrfy, Verb::expn, Verb::etrn};
  return std::ranges::find(harmless, verb) != std::end(harmless);
}

bool has_its_parameters(const protocol::Command& command, const protocol::Capabilities& servers) {
  if (command.verb == protocol::Verb::mail) return protocol::parse_mail(command.argument, servers).has_value();
  return command.verb != protocol::Verb::rcpt || protocol::parse_rcpt(command.argument, servers, false).has_value();
}

std::string keyword_of(std::string_view line) { return protocol::upper(line.substr(0, line.find(' '))); }

}  // namespace

protocol::Reply disguised(const protocol::Reply& servers, const protocol::Capabilities& offered) {
  std::vector<std::string> ours = ehlo_reply(servers.lines().front(), offered).lines();
  std::vector<std::string> lines{ours.front()};
  ours.erase(ours.begin());
  for (std::size_t i = 1; i < servers.lines().size(); ++i) {
    const std::string& line = servers.lines()[i];
    const auto own = std::ranges::find(ours, keyword_of(line), [](const std::string& l) { return keyword_of(l); });
    if (own == ours.end()) continue;
    lines.push_back(protocol::equals_nocase(line, *own) ? line : *own);
    ours.erase(own);  // of a keyword that stands there twice the first
  }
  lines.insert(lines.end(), ours.begin(), ours.end());
  return protocol::Reply(servers.code(), std::nullopt, std::move(lines));
}

bool shows_server(const Services& services, const config::Listener& listener) {
  return listener.hide && !services.config->downstream_of(listener).path;
}

std::string line_to_refuse(const protocol::Command& command, const protocol::Reply& ours,
                           const protocol::Capabilities& servers) {
  const bool syntax_or_sequence = ours.code() == 500 || ours.code() == 501 || ours.code() == 503;
  const bool verb = !command.word.empty() && std::ranges::all_of(command.word, protocol::is_let_dig);
  std::string line(command.word);
  if (!command.argument.empty()) line.append(" ").append(command.argument);
  const bool plain = protocol::is_ascii(line) && protocol::is_printable(line) && line.size() <= longest_line;
  if (!plain || !verb || !is_harmless(command.verb)) return {};
  return syntax_or_sequence || !has_its_parameters(command, servers) ? line : std::string();
}

}  // namespace session
