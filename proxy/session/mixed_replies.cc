#include "proxy/session/mixed_replies.h"

#include <algorithm>

namespace session {

using protocol::Reply;
namespace reply = protocol::reply;

namespace {

constexpr std::size_t most_named = 20;  // further recipients are counted

std::string names_of(const std::vector<Reply>& each, const std::vector<protocol::RcptCommand>& recipients,
                     bool accepted) {
  std::string names;
  std::size_t count = 0;
  for (std::size_t i = 0; i < each.size(); ++i) {
    if (each[i].positive() != accepted) continue;
    if (count++ < most_named) names += "\n" + format_path(recipients[i].forward_path) + (accepted ? "" : ": " + to_text(each[i]));
  }
  if (count > most_named) names += "\nand " + std::to_string(count - most_named) + " more";
  return names;
}

}  // namespace

bool are_alike(const std::vector<Reply>& each) {
  return std::ranges::all_of(each, [&](const Reply& one) { return one.code() / 100 == each.front().code() / 100; });
}

Reply combined(const std::vector<Reply>& each, const std::vector<protocol::RcptCommand>& recipients) {
  if (are_alike(each)) return each.front();
  if (std::ranges::any_of(each, &Reply::transient))
    return reply::make(451, "4.5.1", "Not all recipients have the message yet, please try again");
  return reply::make(554, "5.3.0",
                     "The message was delivered to:" + names_of(each, recipients, true) + "\nIt was refused for:" +
                         names_of(each, recipients, false));
}

}  // namespace session
