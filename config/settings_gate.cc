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
          key<&G::on_failure>("on_failure", {},
                              "New connections without a gate, with a full queue, with a proxy that is not ready or "
                              "has no room: none of "
                              "them, or all of them by us, unscanned; see gatepost(8)."),
          key<&G::length>("length", between(1, 65536), "First packets that may wait in one queue."),
      });
}

}  // namespace config
