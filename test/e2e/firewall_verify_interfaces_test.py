#!/usr/bin/env python3
"""gatepost firewall verify: connections that are received as if they had come by the interfaces of clients, and rules of others
that are about one of these alone."""
import contextlib
import os
import subprocess
import unittest

from common import PROGRAM, only_when_full, wait_until
from firewall_case import BACKENDS
from firewall_tools import Tools
from firewall_verify_test import BOTH, VerifyStage, redirecting, tproxying
from firewall_world import FAR, SERVER, snapshot

CHAIN = "table inet others {\n chain c {\n type %s; policy accept\n %s\n }\n}\n"
BEFORE, AFTER = "filter hook prerouting priority raw", "filter hook input priority filter"
AT_NEAR = (("drop may take connections by near", BEFORE, "iifname near tcp dport 25 drop"),
           ("redirect may take connections by near", "nat hook prerouting priority dstnat - 20",
            "iifname near tcp dport 25 redirect to :26"),
           ("drop may drop what was diverted to port 2525", AFTER, "iifname near tcp dport 2525 drop"),
           ("drop may drop what was diverted to port 2525", AFTER, "iifname near tcp dport != { 22, 25 } drop"),
           ("drop may take connections by near", BEFORE, 'iifname { "ne*", "lo" } drop'),
           ("drop may take connections by near", BEFORE, "iifname vmap { near : drop }"))


class VerifyByInterface(VerifyStage):
    @contextlib.contextmanager
    def given_rule(self, hook, rule):
        self.gateway.run(["nft", "-f", "-"], input=CHAIN % (hook, rule))
        try:
            yield
        finally:
            self.gateway.run(["nft", "delete", "table", "inet", "others"])

    def expect_sentence(self, *parts):
        self.assertTrue(any(all(part in each for part in parts) for each in self.sentences), self.sentences)

    def test_each_interface_that_is_named_is_proven(self):
        with self.given_proxy():
            for backend in BACKENDS:
                self.applied(backend, redirecting("input", "forward", interfaces=["near", "far"]))
                before = snapshot(self.gateway)
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                for sentence in self.sentences:
                    self.assertRegex(sentence, "^by (gp-verify0, )?near, far: ")
                self.assertEqual(snapshot(self.gateway), before)
                self.rules.run("remove")

    def test_rules_of_others_for_an_interface_that_is_named(self):
        with self.given_proxy():
            for number, backend in enumerate(BACKENDS):
                self.applied(backend, redirecting(interfaces=["near", "far"]))
                for what, hook, rule in AT_NEAR if os.environ.get("GATEPOST_FULL") else AT_NEAR[number::2]:
                    with self.subTest(backend=backend, rule=rule), self.given_rule(hook, rule):
                        self.expect_fault("table inet others, chain c: " + what, "", "failed")
                        self.expect_sentence("by near: ")
                with self.given_rule(BEFORE, "iifname other tcp dport 25 drop"):
                    self.assertEqual(self.verified(), [])
                self.rules.run("remove")

    def test_a_host_that_is_closed_but_for_its_interfaces(self):
        """Nothing gets in by gp-verify0, and clients do."""
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near"]))
            with self.given_rule(AFTER, "iifname near accept\n tcp dport 2525 drop"):
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                self.expect_sentence("by near: ")
                self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 1)
                self.expect_fault("drop may drop what was diverted to port 2525", "accept TCP port 2525", "failed")
                self.assertEqual(self.results["input", 6], "proven")

    @only_when_full
    def test_rules_of_iptables_for_an_interface(self):
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near"]))
            self.gateway.run(["iptables", "-t", "raw", "-I", "PREROUTING", "-i", "near", "-p", "tcp", "--dport", "25", "-j", "DROP"])
            self.expect_fault("chain PREROUTING: drop may take connections by near", "remove it", "failed")
            self.assertEqual(self.results["input", 6], "proven")

    def test_tproxy(self):
        with self.given_proxy(transparent=True):
            for backend in BACKENDS:
                self.applied(backend, tproxying("input", "forward", interfaces=["near"]))
                with self.given_rule(BEFORE, "iifname near meta nfproto ipv6 tcp dport 25 drop"):
                    self.expect_fault("chain c: drop may take connections by near", "remove it", "failed", "forward", 6)
                    self.assertEqual(self.results["forward", 4], "proven")
                self.rules.run("remove")

    def test_interfaces_that_nobody_has_named(self):
        """Those by which clients do not come may be closed: that is said, and not found wrong."""
        for version, way in ((4, SERVER[4]), (6, SERVER[6])):
            self.gateway.ip(f"-{version} route add default via {way}")
        with self.given_proxy():
            self.applied("nft", redirecting("input", "forward"))
            self.assertEqual(self.verified(), [])
            self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
            with self.given_rule(BEFORE, "iifname near tcp dport 25 drop"):
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"inspected"}, self.sentences)
                self.expect_sentence("by near: ", "drop may take connections by near", "name the interfaces")
            with self.given_rule(BEFORE, "iifname far tcp dport 25 drop"):
                self.expect_fault("drop may take connections by far", "remove it", "failed")

    def test_sources_that_do_not_belong_there_are_dropped(self):
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near"]))
            for rule in ("fib saddr . iif oif missing drop", "iifname near ip saddr 198.18.0.0/15 drop"):
                with self.given_rule(BEFORE, rule):
                    self.assertEqual(self.verified(), [])
                    self.assertEqual(self.results["input", 4], "inspected", self.sentences)
                    self.expect_sentence("by near: ", "sources that do not belong there")

    def test_a_strict_rp_filter(self):
        self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 1)
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near", "far"]))
            self.assertEqual(self.verified(), [])
            self.assertEqual(self.results, {("input", 4): "inspected", ("input", 6): "proven"})
            self.expect_sentence("by near: not tried: rp_filter is strict")
            with self.given_rule(BEFORE, "iifname near tcp dport 25 drop"):
                self.verified()
                self.expect_sentence("by near: not tried", "table inet others, chain c: drop may take")

    def test_what_is_not_there_or_not_up(self):
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near", "far", "gone"]))
            self.gateway.ip("link set far down")
            self.verified()
            self.expect_sentence("by far: not tried: it is not up")
            self.expect_sentence("by gone: not tried: there is no such interface")

    def test_without_tc(self):
        tools = Tools(self.place)
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near"]))
            self.rules.before = tools.before
            tools.lacks("tc", "mirred")
            before = snapshot(self.gateway)
            for sentence in ("by near: not tried: tc cannot do it here", "by near: not tried: there is no tc"):
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"inspected"})
                self.expect_sentence(sentence)
                self.expect_sentence("by gp-verify0: ", "220 proxy")
                self.assertEqual(snapshot(self.gateway), before)
                with contextlib.suppress(FileNotFoundError):
                    os.remove(tools.path + "/sbin/tc")

    def test_killed_on_the_way_it_leaves_no_trace(self):
        self.applied("nft", redirecting(interfaces=["near"]))
        with self.given_rule(BEFORE, "iifname near tcp dport 25 drop"):  # it waits for an answer
            before = snapshot(self.gateway)
            process = self.gateway.popen([PROGRAM, "firewall", "verify", "-c", self.config, "--state", self.rules.state],
                                         stdout=subprocess.DEVNULL)
            wait_until(lambda: "mirred" in self.gateway.run(["tc", "filter", "show", "dev", "gp-verify0", "ingress"], check=False).stdout,
                       "what comes from verify's network is received by near")
            process.kill()
            process.wait()
            wait_until(lambda: snapshot(self.gateway) == before, "the interface is gone")

    def test_clients_are_not_disturbed(self):
        """Who comes by the same interface meanwhile meets the proxy, and nothing else."""
        with self.given_proxy():
            self.applied("nft", redirecting(interfaces=["near"]))
            kept = [self.world.client.connect(version, FAR[version], 25) for version in BOTH]
            for each in kept:
                self.addCleanup(each.close)
                self.assertIn(b"220 proxy", each.recv(200))
            self.assertEqual(self.verified(), [])
            for each in kept:
                each.settimeout(0.2)
                with self.assertRaises(TimeoutError):
                    each.recv(1)


class VerifyWarnings(VerifyStage):
    """What may be wrong, or may be as it is wanted: it is said, and verify ends with 0."""

    def expect_warning(self, *parts):
        self.assertEqual(self.verified(), [])
        self.assertTrue(any(all(part in each for part in parts) for each in self.warnings), self.warnings)

    def test_a_strict_rp_filter_where_no_interface_is_named(self):
        self.gateway.ip(f"route add default via {SERVER[4]}")
        self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 1)
        with self.given_proxy():
            self.applied("nft", redirecting())
            self.expect_warning("rp_filter is strict on near", "sysctl -w net.ipv4.conf.near.rp_filter=2")
            self.gateway.sysctl("net/ipv4/conf/far/rp_filter", 1)  # the way to the world
            self.verified()
            self.assertEqual(len(self.warnings), 1)
            done = self.rules.run("verify", "-c", self.config)
            self.assertRegex(done.stdout, "(?m)^warning: rp_filter is strict on near, ")
            self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 2)
            self.verified()
            self.assertEqual(self.warnings, [])

    def test_a_bridge_that_nobody_has_named(self):
        """One with nothing but machines of this host behind it is taken for one that routes."""
        self.gateway.ip("link add br0 type bridge", "link add port0 type veth peer name port1", "link set port0 master br0",
                        "link add port2 type veth peer name port3", "link set port2 master br0", "link set br0 up")
        for listeners in (redirecting("input", "forward"), tproxying("input", "forward")):
            self.expect_no_word_of_it(listeners)
        self.gateway.ip("link add port4 type vxlan id 7 dstport 4789", "link set port4 master br0")
        for name in ("iptables", "ip6tables"):  # as on a host where nobody has asked for more
            with contextlib.suppress(FileNotFoundError):
                self.gateway.sysctl(f"net/bridge/bridge-nf-call-{name}", 0)
        for way, listeners, mend in (("redirect", redirecting("input", "forward"), 'add it to the "interfaces" of listener l0'),
                                     ("tproxy", tproxying("input", "forward"), 'take "redirect"')):
            with self.subTest(way), self.given_proxy(transparent=way == "tproxy"):
                self.applied("nft", listeners)
                self.expect_warning("br0 is a bridge between other machines", mend)
                done = self.rules.run("plan", "-c", self.config)
                self.assertIn("warning: br0 is a bridge between other machines", done.stderr)
                self.rules.run("remove")
        for listeners in (redirecting(), redirecting("input", "forward", interfaces=["near"]),
                          redirecting("input", "forward", skip_interfaces=["br0"])):
            self.expect_no_word_of_it(listeners)

    def expect_no_word_of_it(self, listeners):
        self.applied("nft", listeners)
        self.verified()
        self.assertFalse([each for each in self.warnings if "br0" in each], self.warnings)
        self.rules.run("remove")

    def test_the_way_back_from_servers_is_not_proven_by_itself(self):
        with self.given_proxy(transparent=True):
            self.applied("nft", tproxying())
            for version in BOTH:
                self.expect_warning(f"IPv{version}: listener l{version // 2 - 2} spoofs", "is not proven", "--spoof-from")
            self.rules.run("remove")
        with self.given_proxy():
            self.applied("nft", redirecting())
            self.verified()
            self.assertEqual(self.warnings, [])


if __name__ == "__main__":
    unittest.main()
