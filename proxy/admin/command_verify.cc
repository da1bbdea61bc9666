// firewall verify: what was proven, what is wrong, and how to mend it.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include "firewall/verify.h"
#include "proxy/admin/command_firewall.h"
#include "proxy/admin/commands.h"
#include "proxy/admin/escape.h"

namespace admin {
namespace {

using firewall::Fault;
using firewall::Node;
using firewall::Proof;
using firewall::Result;

std::string coloured(Result result) {
  const std::string word = fmt::format("{:<9}", firewall::to_string(result));
  if (::isatty(STDOUT_FILENO) == 0) return word;
  const int colour = result == Result::proven ? 32 : result == Result::failed ? 31 : 33;
  return fmt::format("\x1b[{}m{}\x1b[0m", colour, word);
}

std::string one_line(const std::string& text) {
  std::string out;
  append_text(out, text, 1024);
  return out;
}

std::string text_of(const firewall::Verification& verification) {
  std::string text;
  for (const Proof& each : verification.proofs)
    text += fmt::format("{} {}, {} IPv{}: {}\n", coloured(each.result), each.listener, firewall::to_string(each.scope),
                        number_of(each.version), one_line(each.sentence));
  for (const Fault& each : verification.faults)
    text += fmt::format("wrong: {}\n  mend: {}\n", one_line(each.what), one_line(each.mend));
  for (const std::string& each : verification.warnings) text += fmt::format("warning: {}\n", one_line(each));
  return text;
}

std::string json_of(const firewall::Verification& verification) {
  Node proofs = Node::array(), faults = Node::array();
  for (const Proof& each : verification.proofs)
    proofs.children.push_back(Node::object()
                                  .add("listener", Node::of(each.listener))
                                  .add("scope", Node::of(firewall::to_string(each.scope)))
                                  .add("version", Node::of(static_cast<std::uint64_t>(number_of(each.version))))
                                  .add("result", Node::of(firewall::to_string(each.result)))
                                  .add("text", Node::of(each.sentence)));
  for (const Fault& each : verification.faults)
    faults.children.push_back(Node::object().add("what", Node::of(each.what)).add("mend", Node::of(each.mend)));
  return config::format(Node::object()
                            .add("ok", Node::of(verification.good()))
                            .add("proofs", std::move(proofs))
                            .add("faults", std::move(faults))
                            .add("warnings", firewall::texts(verification.warnings)));
}

}  // namespace

int verify_command(const Arguments& arguments) {
  const auto config = firewall_config(arguments);
  if (!config) return EX_CONFIG;
  const auto verified =
      firewall::verify(*config, {firewall_directory(arguments, *config), arguments.spoof_from, arguments.spoof_to});
  if (!verified) return firewall_failed(verified.error(), arguments.json);
  if (!print(arguments.json ? json_of(*verified) : text_of(*verified))) return EX_IOERR;
  return verified->good() ? EX_OK : EX_UNAVAILABLE;
}

}  // namespace admin
