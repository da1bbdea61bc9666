// bans list|add|remove: who is turned away by the kernel, and for how long.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include "config/duration.h"
#include "firewall/ban_lists.h"
#include "firewall/bans.h"
#include "firewall/json.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

using firewall::Node;

int failed(const std::string& sentence, bool json, int status) {
  if (json) {
    const Node node = Node::object().add("ok", Node::of(false)).add("errors", firewall::texts({sentence}));
    return print(config::format(node)) ? status : EX_IOERR;
  }
  std::string line;
  append_text(line, sentence, 1024);
  fmt::print(stderr, "gatepost: {}\n", line);
  return status;
}

// Null where it ends only when somebody removes it: 0 would read as if it were over.
Node seconds_left(const firewall::Ban& ban) {
  return ban.left.count() == 0 ? Node() : Node::of(static_cast<std::uint64_t>(ban.left.count()));
}

int list(bool json) {
  const auto bans = firewall::list_bans();
  if (!bans) return failed(bans.error(), json, EX_UNAVAILABLE);
  if (json) {
    Node all = Node::array();
    for (const firewall::Ban& each : *bans)
      all.children.push_back(Node::object()
                                 .add("network", Node::of(each.network))
                                 .add("seconds_left", seconds_left(each))
                                 .add("reason", Node::of(each.reason)));
    const Node node = Node::object().add("ok", Node::of(true)).add("bans", std::move(all));
    return print(config::format(node)) ? EX_OK : EX_IOERR;
  }
  std::string text;
  for (const firewall::Ban& each : *bans)
    text += fmt::format("{:<43} {:<13} {}\n", each.network,
                        each.left.count() == 0 ? "until removed" : config::format_duration(each.left),
                        firewall::as_comment(each.reason));  // others may write into these lists
  return print(text) ? EX_OK : EX_IOERR;
}

}  // namespace

int bans_command(const Arguments& arguments) {
  using Bans = Arguments::Bans;
  if (::geteuid() != 0) return failed("bans are rules of the kernel: needs root", arguments.json, EX_NOPERM);
  if (arguments.bans == Bans::list) return list(arguments.json);
  const auto network = config::parse_netmask(arguments.network);
  if (!network) return failed(fmt::format("{} {}", arguments.network, network.error()), arguments.json, EX_USAGE);
  bool changed = true;
  if (arguments.bans == Bans::add) {
    const auto done = firewall::ban(*network, arguments.ban_for, "by hand");
    if (!done) return failed(done.error(), arguments.json, EX_UNAVAILABLE);
  } else {
    const auto done = firewall::unban(*network);
    if (!done) return failed(done.error(), arguments.json, EX_UNAVAILABLE);
    changed = *done;
  }
  if (arguments.json)
    return print(config::format(Node::object().add("ok", Node::of(true)).add("changed", Node::of(changed)))) ? EX_OK
                                                                                                             : EX_IOERR;
  return changed || print(network->text + " was not banned\n") ? EX_OK : EX_IOERR;
}

}  // namespace admin
