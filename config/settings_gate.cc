#include "config/settings_rows.h"

namespace config {

using namespace rows;

Section gate_settings() {
  using G = Gate;
  return object<&Firewall::gate>(
      "gate", "The program gatepost-gate, which decides about connections on their first packet (Linux: NFQUEUE).",
      {
          key<&G::queue>(
              "queue", between(0, 65535),
              "Number of the packet queue of the first listener; the others have the next ones; 0 = no gate."),
          key<&G::on_failure>(
              "on_failure", {},
              "Without a gate, or with a full queue: no new connection, or all of them by us, unscanned."),
          key<&G::length>("length", between(1, 65536), "First packets that may wait in one queue."),
      });
}

Section bans_settings() {
  using B = Bans;
  return object<&Firewall::bans>(
      "bans",
      "Clients whose connections to the intercepted ports are reset by the kernel for a time; see gatepost bans.",
      {
          key<&B::on>("on", {}, "The rules look at the lists of banned clients (Linux: ipset)."),
          key<&B::never>("never", {}, "Clients that are never banned."),
      });
}

}  // namespace config
