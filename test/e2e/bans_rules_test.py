"""Bans by hand, in a real kernel: the rules that look at the lists of banned clients, and `gatepost bans`, by both kinds
of rules, IPv4 and IPv6."""
import contextlib
import json
import time
import unittest

from common import PROGRAM, wait_until
from firewall_tools import Tools
from firewall_world import CLIENT, LOOPBACK, NEAR, SERVER, StandIn, reach, snapshot
from gate_rules_test import PORT, GateStage
from gate_test import QUEUE, VERSIONS

ON = {"on": True}
OURS = list(SERVER.values())


class BanRules(GateStage):
    backend = "nft"

    def apply(self, *, gate=0, **keys):
        return super().apply(gate=gate, backend=self.backend, **keys)

    def bans(self, *words, check=True):
        return self.gateway.run([PROGRAM, "bans", *words], check=check)

    def listed(self):
        told = json.loads(self.bans("list", "--json").stdout)["bans"]
        return {each["network"]: each["seconds_left"] for each in told}

    def a_ban_works_and_expires(self, gate):
        before = snapshot(self.gateway)
        self.apply(gate=gate, protected=OURS, bans=ON)
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

    def test_a_ban_works_at_once_and_expires(self):
        self.a_ban_works_and_expires(0)

    def test_a_ban_with_tproxy(self):
        self.apply(way="tproxy", host=LOOPBACK, protected=OURS, downstream="there", bans=ON)
        for version in VERSIONS:
            self.addCleanup(StandIn(self.gateway, version, PORT, "gatepost", address=LOOPBACK[version], transparent=True).close)
        self.stand_in((self.world.server, 25, "server", {}))
        self.each_answers("gatepost")
        for address in CLIENT.values():
            self.bans("add", address)
        self.each_answers("refused")

    def test_only_what_is_intercepted_is_refused(self):
        self.apply(protected=OURS, bans=ON)
        self.forwarded()
        self.stand_in((self.world.server, 26, "other", {}))
        for address in CLIENT.values():
            self.bans("add", address)
        self.each_answers("refused")
        for version in VERSIONS:
            self.assertEqual(reach(self.world.client, version, SERVER[version], 26)[0], "other")

    def test_connections_of_this_host(self):
        self.apply(scopes=["output"], direction="outgoing", bans=ON)
        self.forwarded()
        self.each_answers("gatepost", where=self.gateway)
        for network in ("192.0.2.1", "2001:db8:5::1"):
            self.bans("add", network)
        self.each_answers("refused", where=self.gateway)
        for version in VERSIONS:  # the proxy's own go on
            made = self.gateway.connect(version, SERVER[version], 25, mark=0x02000000)
            with made:
                self.assertTrue(made.recv(100).startswith(b"220 server"))

    def test_what_the_skip_lists_hold_is_left_alone(self):
        """By all listeners: the first one that matches has skipped it. Bans of larger networks hold for the others in them."""
        second = {4: "203.0.113.10", 6: "2001:db8:c::10"}
        self.world.client.address("eth0", second[4] + "/24", second[6] + "/64")
        self.forwarded()
        self.stand_in((self.gateway, 25, "mta", {}))
        for keys, targets in (({"skip_sources": list(CLIENT.values())}, (NEAR, SERVER)), ({"skip_destinations": OURS}, (SERVER,))):
            with self.subTest(keys):
                listeners = [{"intercept": "redirect", "address": f"{host}:{port}", "scopes": ["input", "forward"], **more}
                             for host in ("0.0.0.0", "[::]")
                             for port, more in ((PORT, {"protected": [*NEAR.values(), *OURS], **keys}),
                                                (PORT + 1, {"protected": ["0.0.0.0/0", "::/0"]}))]
                self.rules.run("apply", "-c", self.configured(self.backend, *listeners, bans=ON))
                for network in ("203.0.113.0/24", "2001:db8:c::/64"):
                    self.bans("add", network)
                for version in VERSIONS:
                    for to in (NEAR, SERVER):
                        for source in (CLIENT, second):
                            skipped = to in targets and (source is CLIENT or "skip_destinations" in keys)
                            expected = {True: {NEAR[version]: "mta", SERVER[version]: "server"}[to[version]], False: "refused"}[skipped]
                            self.assertEqual(reach(self.world.client, version, to[version], 25, source=source[version])[0], expected)

    def test_all_scopes_at_once(self):
        before = snapshot(self.gateway)
        self.apply(scopes=["input", "forward", "output"], protected=[*NEAR.values(), *SERVER.values()], bans=ON)
        self.forwarded()
        ways = ({"to": NEAR}, {}, {"where": self.gateway})
        for way in ways:
            self.each_answers("gatepost", **way)
        for network in (*CLIENT.values(), "192.0.2.1", "2001:db8:5::1"):
            self.bans("add", network)
        for way in ways:
            self.each_answers("refused", **way)
        self.rules.run("remove")
        self.expect(before)

    def write_by_hand(self, verb):
        self.gateway.run(["nft", verb, "element", "inet", "gatepost_bans", "banned4", "{ " + CLIENT[4] + " }"])

    def test_who_is_never_banned(self):
        never = ["203.0.113.0/28", "203.0.113.8", "203.0.113.16/28", "2001:db8:c::9"]
        self.apply(bans={"on": True, "never": never}, protected=OURS)
        self.forwarded()
        # Not by a larger network either, nor when somebody writes it into the list by hand.
        for network in (CLIENT[4], "203.0.113.0/24", "203.0.113.8/29", "203.0.113.17", CLIENT[6], "2001:db8::/32"):
            refused = self.bans("add", network, check=False)
            self.assertEqual((refused.returncode, "never banned" in refused.stderr), (69, True), refused)
        self.bans("add", "203.0.113.32")
        self.write_by_hand("add")
        self.each_answers("gatepost")
        self.write_by_hand("delete")

    def networks_in_networks(self):
        """One set holds no network inside another one: who lasts longer is the wider one."""
        self.bans("add", "198.51.100.7", "--for", "1h")
        refused = self.bans("add", "198.51.100.0/24", "--for", "30m", check=False)
        self.assertEqual(refused.returncode, 69)
        self.assertIn("198.51.100.0/24 holds 198.51.100.7, which is banned already and ends later", refused.stderr)
        self.bans("add", "198.51.100.0/24", "--for", "2h")
        self.assertEqual(set(self.listed()), {"198.51.100.0/24"})
        self.bans("add", "198.51.100.9", "--for", "30m")  # is so already
        self.assertEqual(set(self.listed()), {"198.51.100.0/24"})
        refused = self.bans("add", "198.51.100.9", "--for", "3h", check=False)
        self.assertIn("198.51.100.9 is inside 198.51.100.0/24, which is banned already and ends sooner", refused.stderr)
        self.bans("add", "198.51.100.0/24")
        self.bans("add", "198.51.100.9")
        self.assertEqual(self.listed(), {"198.51.100.0/24": None})
        self.bans("remove", "198.51.100.0/24")

    def test_the_list_of_bans(self):
        config = self.apply(bans=ON, protected=OURS)
        self.networks_in_networks()
        self.bans("add", "198.51.100.7")
        self.bans("add", "198.51.101.0/24", "--for", "1h")
        self.bans("add", "2001:db8:7::/48", "--for", "596h")
        listed = self.listed()
        self.assertEqual(set(listed), {"198.51.100.7", "198.51.101.0/24", "2001:db8:7::/48"})
        self.assertIsNone(listed["198.51.100.7"])  # 0 would read as if it were over
        self.assertTrue(3500 < listed["198.51.101.0/24"] <= 3600)
        self.assertRegex(self.bans("list").stdout, "198.51.100.7 +until removed by hand\n")
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

    def test_a_wider_ban_takes_the_place_of_others_at_once(self):
        """No moment at which those in it are let in: it is one command."""
        self.apply(bans=ON, protected=OURS)
        for address in ("198.51.100.7", "198.51.100.9"):
            self.bans("add", address, "--for", "1h")
        tools = Tools(self.place)
        self.gateway.run([*tools.before, PROGRAM, "bans", "add", "198.51.100.0/24"])
        ran = [each for each in tools.ran() if " list " not in each and " save " not in each]
        self.assertEqual(len(ran), 1, ran)
        self.assertIn("198.51.100.0/24", self.listed())

    def test_the_allow_list_is_that_of_the_newest_rules_and_without_bans_nothing_is_left(self):
        before = snapshot(self.gateway)
        self.apply(bans={"on": True, "never": [CLIENT[4]]}, protected=OURS)
        self.bans("add", "198.51.100.7")
        self.assertEqual(self.bans("add", CLIENT[4], check=False).returncode, 69)
        self.apply(bans={"on": True, "never": ["198.51.100.8"]}, protected=OURS, scopes=["forward", "input"])
        self.bans("add", CLIENT[4])
        self.assertEqual(set(self.listed()), {"198.51.100.7", CLIENT[4]})
        self.assertEqual(self.bans("add", "198.51.100.8", check=False).returncode, 69)
        self.apply(protected=OURS)
        self.assertEqual(self.bans("list", check=False).returncode, 69)
        self.rules.run("remove")
        self.expect(before)

    def test_bans_need_rules(self):
        for words in (("list",), ("add", CLIENT[4]), ("remove", CLIENT[6])):
            refused = self.bans(*words, check=False)
            self.assertEqual(refused.returncode, 69)
            self.assertIn("there is no list of banned clients: set firewall.bans.on", refused.stderr)


class BanRulesWithIptables(BanRules):
    backend = "iptables"

    def test_a_ban_works_with_a_gate(self):
        """The second listener is of the other family."""
        self.a_ban_works_and_expires(QUEUE)

    def write_by_hand(self, verb):
        self.gateway.run(["ipset", {"delete": "del"}.get(verb, verb), "gatepost4-banned", CLIENT[4]])

    def networks_in_networks(self):
        """ipset takes them all."""
        self.bans("add", "198.51.100.9", "--for", "1h")
        self.bans("add", "198.51.100.0/24", "--for", "30m")
        self.assertEqual(set(self.listed()), {"198.51.100.9", "198.51.100.0/24"})
        for network in self.listed():
            self.bans("remove", network)


if __name__ == "__main__":
    unittest.main()
