#!/usr/bin/env python3
"""Skip lists, protected networks, a gate and bans that change while rules are in force: after every single step of apply,
whoever is intercepted before and after is intercepted, and whoever is skipped before and after is skipped."""
import contextlib
import unittest

from common import only_when_full
from firewall_case import BACKENDS, FAILED, Firewall
from firewall_tools import Tools
from firewall_world import ANY, CLIENT, LOOPBACK, NEAR, SERVER, StandIn, reach, snapshot
from gate_test import QUEUE, GateProgram

FAMILIES = (4, 6)
SKIPPED = {4: "203.0.113.10", 6: "2001:db8:c::10"}
COMES, GOES = ["198.51.100.0/24", "2001:db8:7::/48"], ["192.0.2.128/25", "2001:db8:9::/48"]


def at(version, port, address=ANY):
    return f"[{address[version]}]:{port}" if version == 6 else f"{address[version]}:{port}"


class Lists(Firewall):
    def setUp(self):
        super().setUp()
        self.world.client.address("eth0", SKIPPED[4] + "/24", SKIPPED[6] + "/64")
        for version in FAMILIES:
            self.addCleanup(StandIn(self.gateway, version, 25, "mta").close)
            self.addCleanup(StandIn(self.world.server, version, 25, "server").close)
            for way, port, address in (("redirect", 2525, ANY), ("tproxy", 2526, LOOPBACK)):
                self.addCleanup(StandIn(self.gateway, version, port, way, address=address[version], transparent=way == "tproxy").close)

    def listeners(self, way, skipped=(), protected=()):
        """Those of one way, which leave SKIPPED alone and whomever else is told."""
        protected = {"protected": [*NEAR.values(), *SERVER.values(), *protected], "scopes": ["input", "forward"]}
        address = {"redirect": (2525, ANY), "tproxy": (2526, LOOPBACK)}[way]
        return [{"name": f"{way}{version}", "intercept": way, "address": at(version, *address), **protected, "downstream": "original",
                 "skip_sources": [*SKIPPED.values(), *skipped]} for version in FAMILIES]

    def expect_both(self, way, what):
        for version in FAMILIES:
            for target, direct in ((NEAR, "mta"), (SERVER, "server")):
                for source, name in ((CLIENT, way), (SKIPPED, direct)):
                    with self.subTest(what, source=source[version], target=target[version]):
                        self.assertEqual(reach(self.world.client, version, target[version], 25, source=source[version])[0], name)

    def changed(self, way, backend, after, **keys):
        """In steps, as apply makes them, and for good: its last steps are those that take back what is left over."""
        config = self.configured(backend, *after, **keys)
        for why in self.rules.step_by_step(config):
            self.expect_both(way, why)
        self.rules.run("apply", "-c", config)
        self.expect_both(way, "afterwards")

    def change_lists(self, way):
        other = [{"name": f"other{version}", "intercept": "redirect", "address": at(version, 2527), "ports": [26], "skip_sources": COMES}
                 for version in FAMILIES]
        for backend in BACKENDS:
            before = snapshot(self.gateway)
            self.rules.run("apply", "-c", self.configured(backend, *self.listeners(way, GOES)))
            self.expect_both(way, "at first")
            for what, after in (("another list", self.listeners(way, COMES)), ("a longer one", self.listeners(way, COMES + GOES)),
                                ("a new list", [{**each, "skip_destinations": GOES} for each in self.listeners(way, COMES)]),
                                ("a list less", self.listeners(way)), ("more is protected", self.listeners(way, COMES, GOES)),
                                ("a listener in front", other + self.listeners(way, COMES)),
                                ("a listener less", self.listeners(way, COMES))):
                with self.subTest(what, backend=backend):
                    self.changed(way, backend, after)
            self.rules.run("remove")
            self.assertEqual(snapshot(self.gateway), before)

    def test_lists_change_without_a_gap(self):
        self.change_lists("redirect")

    @only_when_full
    def test_lists_change_without_a_gap_with_tproxy(self):
        self.change_lists("tproxy")

    def change_gate_and_bans(self, way):
        """nft does it all in one transaction."""
        listeners, gate, bans = self.listeners(way), {"gate": {"queue": QUEUE}}, {"bans": {"on": True}}
        before = snapshot(self.gateway)
        with contextlib.closing(GateProgram(self.gateway, listeners=2)):
            self.rules.run("apply", "-c", self.configured("iptables", *listeners))
            self.expect_both(way, "at first")
            for what, keys in (("a gate", gate), ("bans with it", {**gate, **bans}), ("the gate goes", bans), ("and comes", {**gate, **bans}),
                               ("both go", {}), ("both come", {**gate, **bans}), ("the bans go", gate), ("the gate goes", {})):
                with self.subTest(what):
                    self.changed(way, "iptables", listeners, **keys)
            self.rules.run("remove")
        self.expect(before)

    def test_a_gate_and_bans_come_and_go_without_a_gap(self):
        self.change_gate_and_bans("redirect")

    @only_when_full
    def test_a_gate_and_bans_come_and_go_without_a_gap_with_tproxy(self):
        self.change_gate_and_bans("tproxy")

    def test_a_change_that_fails_leaves_the_lists_that_were_in_force(self):
        tools = Tools(self.place)
        for backend in BACKENDS:
            for way in ("redirect", "tproxy"):
                with self.subTest(backend=backend, way=way):
                    before = snapshot(self.gateway)
                    self.rules.run("apply", "-c", self.configured(backend, *self.listeners(way, GOES)))
                    in_force = snapshot(self.gateway)
                    after = [{**each, "skip_destinations": GOES} for each in self.listeners(way, COMES)]
                    config = self.configured(backend, *after)
                    last = [each for each in self.rules.told("plan", "-c", config)["plan"]["apply"] if "input" in each][-1]
                    tools.at(last, "fail")
                    self.rules.before = tools.before
                    failed = self.rules.run("apply", "-c", config, check=False)
                    self.rules.before = ()
                    self.assertEqual((failed.returncode, tools.was_reached()), (FAILED, True), failed)
                    self.assertIn("in force before are in force again", failed.stderr)
                    self.expect_both(way, "after the failure")
                    self.expect(in_force)
                    self.rules.run("remove")
                    self.expect(before)


if __name__ == "__main__":
    unittest.main()
