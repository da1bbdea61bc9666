// firewall verify: what was proven, what is wrong, and how to mend it.
#include <fmt/format.h>
#include <sysexits.h>
#include <unistd.h>

#include <optional>

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

std::string text_of(const firewall::Verification& verification, const std::optional<firewall::Spoof>& spoof) {
  std::string text;
  for (const Proof& each : verification.proofs)
    text += fmt::format("{} {}, {} IPv{}: {}\n", coloured(each.result), each.listener, firewall::to_string(each.scope),
                        number_of(each.version), one_line(each.sentence));
  if (spoof && verification.spoof == Result::proven)
    text += fmt::format("{} spoofed source IPv{}: {} to {}, and what it answered came back through this host\n",
                        coloured(Result::proven), number_of(spoof->version()), spoof->source(), spoof->server());
  for (const Fault& each : verification.faults)
    text += fmt::format("wrong: {}\n  mend: {}\n", one_line(each.what), one_line(each.mend));
  for (const std::string& each : verification.warnings) text += fmt::format("warning: {}\n", one_line(each));
  return text;
}

std::string json_of(const firewall::Verification& verification, const std::optional<firewall::Spoof>& spoof) {
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
  Node node = Node::object()
                  .add("ok", Node::of(verification.good()))
                  .add("proofs", std::move(proofs))
                  .add("faults", std::move(faults))
                  .add("warnings", firewall::texts(verification.warnings));
  if (spoof && verification.spoof)
    node.add("spoof", Node::object()
                          .add("version", Node::of(static_cast<std::uint64_t>(number_of(spoof->version()))))
                          .add("from", Node::of(spoof->source()))
                          .add("to", Node::of(spoof->server()))
                          .add("result", Node::of(firewall::to_string(*verification.spoof))));
  return config::format(node);
}

}  // namespace

int verify_command(const Arguments& arguments) {
  const auto spoof = firewall::spoof_of(arguments.spoof_from, arguments.spoof_to);
  if (!arguments.spoof_from.empty() && !spoof) {
    firewall_complain(fmt::format("{} and {} are no addresses of one family: write --spoof-from ADDRESS --spoof-to "
                                  "ADDRESS:PORT",
                                  arguments.spoof_from, arguments.spoof_to));
    return EX_USAGE;
  }
  const auto config = firewall_config(arguments);
  if (!config) return EX_CONFIG;
  const auto verified = firewall::verify(*config, {firewall_directory(arguments, *config), spoof});
  if (!verified) return firewall_failed(verified.error(), arguments.json);
  if (!print(arguments.json ? json_of(*verified, spoof) : text_of(*verified, spoof))) return EX_IOERR;
  return verified->good() ? EX_OK : EX_UNAVAILABLE;
}

}  // namespace admin
