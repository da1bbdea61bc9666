#include "proxy/session/disguise.h"

#include <algorithm>

#include "protocol/characters.h"

namespace session {
namespace {

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

}  // namespace session
