#!/usr/bin/env python3
"""The rules around the gate as `gatepost firewall` writes them, in a real kernel, IPv4 and IPv6: every scope and way, with
a gate, without one in both kinds of failure, and gone without a trace."""
import contextlib
import json
import time
import unittest

from common import PROGRAM, ROOT, wait_until
from firewall_case import THERE, Firewall
from firewall_world import ANY, CLIENT, LOOPBACK, NEAR, SERVER, StandIn, reach, snapshot
from gate_test import BRIEF, QUEUE, VERSIONS, GateProgram

PORT = 2525


class GateRules(Firewall):
    def apply(self, *, way="redirect", scopes=("forward",), on_failure="closed", gate=QUEUE, host=ANY, bans=None, **keys):
        """A listener for each family; the queue of the second is the next one."""
        listeners = [{"intercept": way, "address": f"{host[4]}:{PORT}", "scopes": list(scopes), **keys},
                     {"intercept": way, "address": f"[{host[6]}]:{PORT}", "scopes": list(scopes), **keys}]
        sections = {"gate": {"queue": gate, "on_failure": on_failure}} if gate else {}
        if bans is not None:
            sections["bans"] = bans
        config = self.configured("auto", *listeners, **sections)
        self.rules.run("apply", "-c", config)
        self.assertEqual(self.rules.told("status")["backend"], "iptables")
        return config

    def gate(self, **settings):
        return contextlib.closing(GateProgram(self.gateway, listeners=2, **settings))

    def stand_in(self, *wanted):
        for where, port, name, more in wanted:
            for version in VERSIONS:
                self.addCleanup(StandIn(where, version, port, name, **more).close)

    def forwarded(self, **more):
        self.stand_in((self.gateway, PORT, "gatepost", more), (self.world.server, 25, "server", {}))

    def each_answers(self, *expected, where=None, to=SERVER, patience=None):
        for version in VERSIONS:
            with self.subTest(version=version):
                answers = [reach(where or self.world.client, version, to[version], 25, patience=patience)[0] for _ in expected]
                self.assertEqual(answers, list(expected))

    def test_forwarded_and_redirected(self):
        before = snapshot(self.gateway)
        self.apply(protected=list(SERVER.values()))
        self.forwarded()
        with self.gate(connections=2):
            self.each_answers("gatepost", "gatepost", "refused")
        with self.gate(skip_sources=list(CLIENT.values())):
            self.each_answers("server")
        self.each_answers("silence", patience=BRIEF)
        self.rules.run("remove")
        self.each_answers("server")
        self.expect(before)

    def test_forwarded_with_tproxy(self):
        before = snapshot(self.gateway)
        self.apply(way="tproxy", host=LOOPBACK, protected=list(SERVER.values()), on_failure="open", downstream="there")
        for version in VERSIONS:
            self.addCleanup(StandIn(self.gateway, version, PORT, "gatepost", address=LOOPBACK[version], transparent=True).close)
        self.stand_in((self.world.server, 25, "server", {}))
        with self.gate(open=True, connections=2):
            self.each_answers("gatepost", "gatepost", "refused")
        with self.gate(open=True, skip_destinations=list(SERVER.values())):
            self.each_answers("server")
        self.each_answers("server")
        self.rules.run("remove")
        self.expect(before)

    def test_to_this_host(self):
        self.apply(scopes=["input"])
        self.stand_in((self.gateway, PORT, "gatepost", {}), (self.gateway, 25, "mta", {}))
        with self.gate(connections=1):
            self.each_answers("gatepost", "refused", to=NEAR)
        self.each_answers("silence", to=NEAR, patience=BRIEF)
        # The listener's own port, and connections of this host to itself, are none of the gate's.
        self.each_answers("mta", where=self.gateway, to=LOOPBACK)

    def test_from_this_host(self):
        self.apply(scopes=["output"], direction="outgoing", on_failure="open")
        self.forwarded()
        with self.gate(open=True, connections=1):
            self.each_answers("gatepost", "refused", where=self.gateway)
            self.each_answers("server")  # what is forwarded is not from here
        self.each_answers("server", where=self.gateway)

    def test_our_own_connections_never_see_the_gate(self):
        self.apply(scopes=["output"], direction="outgoing")  # and there is no gate
        self.forwarded()
        for version in VERSIONS:
            made = self.gateway.connect(version, SERVER[version], 25, mark=0x02000000)
            with made:
                self.assertTrue(made.recv(100).startswith(b"220 server"))

    def test_other_ports_and_interfaces_go_their_way(self):
        self.apply(protected=["198.51.100.0/24", "2001:db8:9::/48"])
        self.forwarded()
        self.each_answers("server")

    def bans(self, *words, check=True):
        return self.gateway.run([PROGRAM, "bans", *words], check=check)

    def listed(self):
        told = json.loads(self.bans("list", "--json").stdout)["bans"]
        return {each["network"]: each["seconds_left"] for each in told}

    def test_a_ban_works_at_once_and_expires(self):
        """With a gate and without; the second listener is of the other family."""
        for gate in (0, QUEUE):
            with self.subTest(gate=gate):
                before = snapshot(self.gateway)
                self.apply(gate=gate, protected=list(SERVER.values()), bans={"on": True})
                with contextlib.ExitStack() as stack:
                    for version in VERSIONS:
                        stack.enter_context(StandIn(self.gateway, version, PORT, "gatepost"))
                        stack.enter_context(StandIn(self.world.server, version, 25, "server"))
                    if gate:
                        stack.enter_context(self.gate())
                    self.each_answers("gatepost")
                    for network in (CLIENT[4], "2001:db8:c::/64"):
                        self.bans("add", network, "--for", "2s")
                    begun = time.monotonic()
                    self.each_answers("refused", "refused")
                    if time.monotonic() - begun < 1:
                        self.assertEqual(set(self.listed()), {CLIENT[4], "2001:db8:c::/64"})
                    # Nobody is needed for it to end.
                    for version in VERSIONS:
                        wait_until(lambda: reach(self.world.client, version, SERVER[version], 25)[0] == "gatepost",
                                   "the end of the ban")
                    self.assertGreater(time.monotonic() - begun, 0.8)
                    self.assertEqual(self.listed(), {})
                self.rules.run("remove")
                self.expect(before)

    def test_a_ban_with_tproxy(self):
        self.apply(way="tproxy", host=LOOPBACK, gate=0, protected=list(SERVER.values()), downstream="there", bans={"on": True})
        for version in VERSIONS:
            self.addCleanup(StandIn(self.gateway, version, PORT, "gatepost", address=LOOPBACK[version], transparent=True).close)
        self.stand_in((self.world.server, 25, "server", {}))
        self.each_answers("gatepost")
        for address in CLIENT.values():
            self.bans("add", address)
        self.each_answers("refused")

    def test_the_list_of_bans(self):
        config = self.apply(gate=0, bans={"on": True, "never": ["203.0.113.0/28", "2001:db8:c::9"]}, protected=list(SERVER.values()))
        self.forwarded()
        # Who is never banned, is not by a larger network either, nor when somebody writes it into the list by hand.
        for network in (CLIENT[4], "203.0.113.0/24", "203.0.113.8/29", CLIENT[6], "2001:db8::/32"):
            refused = self.bans("add", network, check=False)
            self.assertEqual((refused.returncode, "never banned" in refused.stderr), (69, True), refused)
        self.gateway.run(["ipset", "add", "gatepost4-banned", CLIENT[4]])
        self.each_answers("gatepost")
        self.gateway.run(["ipset", "del", "gatepost4-banned", CLIENT[4]])
        self.bans("add", "198.51.100.7")
        self.bans("add", "198.51.100.0/24", "--for", "1h")
        self.bans("add", "2001:db8:7::/48", "--for", "596h")
        listed = self.listed()
        self.assertEqual(set(listed), {"198.51.100.7", "198.51.100.0/24", "2001:db8:7::/48"})
        self.assertEqual(listed["198.51.100.7"], 0)
        self.assertTrue(3500 < listed["198.51.100.0/24"] <= 3600)
        self.assertIn("198.51.100.7 ", self.bans("list").stdout)
        self.assertIn("until removed", self.bans("list").stdout)
        # A ban is set anew, and outlives new rules.
        self.bans("add", "198.51.100.7", "--for", "30m")
        self.rules.run("apply", "-c", config)
        self.assertTrue(1700 < self.listed()["198.51.100.7"] <= 1800)
        self.bans("remove", "198.51.100.7")
        again = self.bans("remove", "198.51.100.7")
        self.assertEqual(again.stdout, "198.51.100.7 was not banned\n")
        self.assertNotIn("198.51.100.7", self.listed())
        for words, status in ((("add", "0.0.0.0/0"), 69), (("add", "::/0"), 69), (("add", "nobody"), 64), (("add",), 64),
                              (("add", "192.0.2.1", "--for", "597h"), 64), (("add", "192.0.2.1/24"), 64), (("ad",), 64)):
            self.assertEqual(self.bans(*words, check=False).returncode, status, words)

    def test_bans_need_rules(self):
        for words in (("list",), ("add", CLIENT[4]), ("remove", CLIENT[6])):
            refused = self.bans(*words, check=False)
            self.assertEqual(refused.returncode, 69)
            self.assertIn("there is no list of banned clients: set firewall.bans.on", refused.stderr)

    def test_this_kernel_has_no_queue_for_nft_so_that_its_text_is_golden_only(self):
        """Loaded where a kernel has one; here the plan says so and iptables does it."""
        facts = self.rules.run("plan", "--show-facts").stdout
        with open(f"{ROOT}/test/golden/firewall/gate.nft.txt") as file:
            golden = file.read().split("END_OF_INPUT")[1].partition("\n")[2]
        loads = self.gateway.run(["nft", "-f", "-"], check=False, input=golden)
        if '"queue"' in facts:
            self.assertEqual(loads.returncode, 0, loads.stderr)
            return
        self.assertNotEqual(loads.returncode, 0)
        # It is the queue alone that is missing: without those rules it loads.
        without = "\n".join(line for line in golden.splitlines() if " queue " not in line) + "\n"
        self.gateway.run(["nft", "-f", "-"], input=without)
        failed = self.rules.run("plan", "-c", self.configured("nft", {"intercept": "redirect", "address": "0.0.0.0:2525"},
                                                             gate={"queue": QUEUE}), check=False)
        self.assertIn("the kernel does not load queue", failed.stderr)


if __name__ == "__main__":
    unittest.main()
