"""firewall.manage with a gate: what a gatepost that has ended leaves behind is what firewall.gate.on_failure says, whether it
was told to end or was killed, and nobody gets past a fail-closed one unscanned."""
import json
import os
import re
import signal
import unittest

from common import PROGRAM, ROOT, Gatepost, config_for
from firewall_case import Firewall
from firewall_world import ANY, CLIENT, FAR, SERVER, _enter, snapshot
from gate_test import BRIEF, QUEUE, VERSIONS
from interception_test import PORT, Server
from peers import Wire


class GateManage(Firewall):
    def serve(self, on_failure, **more):
        self.servers = {version: Server(self.world.server, version) for version in VERSIONS}
        for each in self.servers.values():
            self.addCleanup(each.close)
        config = config_for(self.place, scan=False, loops=1)
        config["listeners"] = [
            {"name": f"in{version}", "address": f"{ANY[version] if version == 4 else '[::]'}:{PORT}", "downstream": "original",
             "intercept": "redirect", "scopes": ["forward"], "protected": list(SERVER.values())}
            for version in VERSIONS]
        config["downstreams"] = {}
        config["firewall"] = {"manage": True, "state_directory": str(self.place / "rules"),
                              "gate": {"queue": QUEUE, "on_failure": on_failure}, **more}
        return self.start(config)

    def start(self, config):
        self.config = config
        gatepost = Gatepost(self.place, config, preexec=lambda: _enter(self.gateway.fd))
        self.addCleanup(gatepost.__exit__, None)
        return gatepost

    def whom(self, version):
        with Wire.over(self.world.client.connect(version, SERVER[version], 25, patience=BRIEF)) as wire:
            self.assertEqual(wire.reply()[0], 220)
            wire.say(b"QUIT")
        return {FAR[version]: "gatepost", CLIENT[version]: "nobody"}[self.servers[version].peers[-1]]

    def assert_waiting(self):
        for version in VERSIONS:
            with self.assertRaises(TimeoutError):
                self.whom(version)

    def stop_post(self):
        """The unit's own line."""
        with open(os.path.join(ROOT, "appliance/systemd/gatepost.service")) as unit:
            (line,) = re.findall("^ExecStopPost=-(.*)$", unit.read(), re.MULTILINE)
        words = {"/usr/bin/gatepost": PROGRAM, "/etc/gatepost/gatepost.json": self.place / "gatepost.json"}
        return self.gateway.run([words.get(word, word) for word in line.split()]).stdout

    def test_fail_closed_stays_closed_when_it_is_told_to_end_and_begins_again(self):
        gatepost = self.serve("closed")
        for version in VERSIONS:
            self.assertEqual(self.whom(version), "gatepost")
        gatepost.signal(signal.SIGTERM)
        status, log = gatepost.wait()
        self.assertEqual(status, 0, log)
        self.assertIn("the rules of the packet filter stay", log)
        self.assert_waiting()
        self.assertIn("left in force", self.stop_post())
        self.assert_waiting()
        self.start(self.config)
        for version in VERSIONS:
            self.assertEqual(self.whom(version), "gatepost")

    def test_fail_closed_stays_closed_after_a_kill_until_an_operator_says_otherwise(self):
        before = snapshot(self.gateway)
        gatepost = self.serve("closed")
        gatepost.kill()
        self.assert_waiting()
        self.assertIn("left in force", self.stop_post())
        self.assert_waiting()
        self.gateway.run([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"])
        self.assertEqual(snapshot(self.gateway), before)
        for version in VERSIONS:
            self.assertEqual(self.whom(version), "nobody")

    def test_fail_open_goes_without_a_trace(self):
        for end in (signal.SIGTERM, signal.SIGKILL):
            with self.subTest(end=end):
                before = snapshot(self.gateway)
                gatepost = self.serve("open")
                self.assertEqual(self.whom(4), "gatepost")
                gatepost.kill() if end == signal.SIGKILL else gatepost.signal(end)
                gatepost.wait()
                for version in VERSIONS:
                    self.assertEqual(self.whom(version), "nobody")
                self.stop_post()
                self.assertEqual(snapshot(self.gateway), before)
                for each in self.servers.values():
                    each.close()

    def test_who_goes_by_a_gate_that_is_gone_is_counted(self):
        gatepost = self.serve("open")
        self.assertEqual(self.whom(4), "gatepost")
        status = [PROGRAM, "firewall", "status", "-c", self.place / "gatepost.json"]
        self.assertIn("\n0 connections went by gatepost, unscanned", self.gateway.run(status).stdout)
        os.kill(gatepost.child("gate"), signal.SIGSTOP)  # and so no new one is ready before this one is killed
        gatepost.kill()
        for version in (4, 6, 6):
            self.assertEqual(self.whom(version), "nobody")
        self.assertIn("\n3 connections went by gatepost, unscanned", self.gateway.run(status).stdout)
        self.assertEqual(json.loads(self.gateway.run([*status, "--json"]).stdout)["unscanned"], 3)

    def test_rules_of_an_earlier_life_are_withdrawn_by_one_that_could_not_apply_its_own(self):
        before = snapshot(self.gateway)
        self.serve("open").kill()
        self.gateway.run([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"])
        # Nothing is applied over rules that somebody has still to confirm.
        self.gateway.run([PROGRAM, "firewall", "apply", "-c", self.place / "gatepost.json", "--confirm-within", "600s"])
        again = self.start(self.config)
        again.signal(signal.SIGTERM)
        _, log = again.wait()
        self.assertIn("the rules of an earlier start stay in force", log)
        self.assertEqual(snapshot(self.gateway), before)


if __name__ == "__main__":
    unittest.main()
