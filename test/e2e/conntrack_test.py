"""gatepost serve watches how full the kernel's table of connections is (T:H7), and says it once, with the mend, before nobody
can connect any more. The bound is the whole machine's and cannot be set in a namespace: here a file of the test's own stands in
its place, for gatepost alone. The connections are real."""
import contextlib
import unittest

from common import Gatepost, config_for
from firewall_case import Firewall
from firewall_world import SERVER, _enter
from interception_test import PORT, Server
from peers import Wire

BOUND = 20  # connections; each session has two, the client's and ours


class Conntrack(Firewall):
    def serve(self):
        bound = self.place / "bound"
        with open(bound, "w") as file:
            file.write(f"{BOUND}\n")
        self.addCleanup(Server(self.world.server, 4).close)
        config = config_for(self.place, scan=False, loops=1, downstreams={}, listener={
            "address": f"0.0.0.0:{PORT}", "downstream": "original", "intercept": "redirect", "scopes": ["forward"],
            "protected": [SERVER[4]]})
        config["firewall"] = {"manage": True, "state_directory": str(self.place / "rules")}
        script = f'mount --make-rprivate / && mount --bind "{bound}" /proc/sys/net/netfilter/nf_conntrack_max && exec "$@"'
        gatepost = Gatepost(self.place, config, preexec=lambda: _enter(self.gateway.fd),
                            before=("unshare", "-m", "/bin/bash", "-c", script, "bash"))
        self.addCleanup(gatepost.__exit__, None)
        return gatepost

    def test_the_log_says_once_that_the_table_is_nearly_full(self):
        gatepost = self.serve()
        with contextlib.ExitStack() as stack:
            for _ in range(BOUND // 2):
                wire = stack.enter_context(Wire.over(self.world.client.connect(4, SERVER[4], 25)))
                self.assertEqual(wire.reply()[0], 220)
            line = gatepost.log.wait_for("connection tracking is nearly full: .* new connections .* are dropped")
            self.assertIn('"level":"warning"', line)
            self.assertIn(f" of {BOUND} places are taken", line)
            self.assertIn(f"sysctl -w net.netfilter.nf_conntrack_max={2 * BOUND}", line)
        gatepost.__exit__(None)
        self.assertEqual(gatepost.log.text().count("connection tracking is nearly full"), 1)


if __name__ == "__main__":
    unittest.main()
