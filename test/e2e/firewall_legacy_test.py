#!/usr/bin/env python3
"""The old iptables, with tables of its own in the kernel that nft does not see: the rules by it, what verify finds among
the rules of others, and what is left behind."""
import contextlib
import ctypes
import os
import subprocess
import unittest

import firewall_kernel_test
from common import only_when_full
from firewall_case import EVERYTHING
from firewall_verify_test import VerifyStage, redirecting, tproxying
from firewall_world import Namespace, available, snapshot

CLONE_NEWNS = 0x20000
NEW, OLD = "/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi"


def setUpModule():
    """For this process and its children, `iptables` and its kin are the old ones."""
    if not available() or not os.path.exists(OLD) or not os.path.exists(NEW):
        raise unittest.SkipTest(f"the old iptables: needs root, {OLD} and {NEW}")
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS) != 0:
        raise unittest.SkipTest(f"the old iptables: no mount namespace: {os.strerror(ctypes.get_errno())}")
    for command in (["mount", "--make-rprivate", "/"], ["mount", "--bind", OLD, NEW]):
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    unittest.addModuleCleanup(subprocess.run, ["umount", NEW], check=True, stdin=subprocess.DEVNULL)
    with contextlib.closing(Namespace()) as host:
        if "legacy" not in host.run(["iptables", "--version"]).stdout:
            raise unittest.SkipTest(f"the old iptables: iptables is something else than {NEW}")
        for tool, table in ((tool, table) for tool in ("iptables", "ip6tables") for table in ("nat", "mangle", "raw", "filter")):
            tried = host.run([tool, "-t", table, "-L", "-n"], check=False)
            if tried.returncode != 0:
                raise unittest.SkipTest(f"the old iptables: {tool} -t {table}: {tried.stderr.strip()}")


def with_iptables(case):
    """Its tests, by this backend alone."""
    def each_backend(self):
        yield "iptables"
        self.rules.run("remove")
    return type(f"Old{case.__name__}", (case,), {"each_backend": each_backend, "__module__": __name__})


OldRedirect = only_when_full(with_iptables(firewall_kernel_test.Redirect))
OldTransparent = only_when_full(with_iptables(firewall_kernel_test.Transparent))


class OldRules(VerifyStage):
    def test_verify_proves_and_remove_leaves_no_rule(self):
        for listeners in (redirecting("input", "forward"), redirecting("output", direction="outgoing")):
            with self.given_proxy():
                before = snapshot(self.gateway)
                self.applied("iptables", listeners)
                self.assertIn("GATEPOST", self.gateway.run(["iptables-save"]).stdout)
                self.assertNotIn("GATEPOST", self.gateway.run(["nft", "list", "ruleset"]).stdout)
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                self.assertTrue(self.rules.told("status")["intact"])
                self.rules.run("remove")
                self.assertEqual(snapshot(self.gateway), before)

    def test_everything_twice_and_gone(self):
        self.gateway.run(["iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "8025", "-j", "REDIRECT"])
        before = snapshot(self.gateway)
        config = self.configured("iptables", *EVERYTHING)
        self.rules.run("apply", "-c", config)
        once = snapshot(self.gateway)
        self.rules.run("apply", "-c", config)
        self.assertEqual(snapshot(self.gateway), once)
        self.rules.run("remove")
        self.assertEqual(snapshot(self.gateway), before)

    def test_rules_of_others(self):
        for backend, way, rule, what in (
                ("iptables", redirecting, "nat -I PREROUTING -p tcp --dport 25 -j REDIRECT --to-ports 26", "nat, chain PREROUTING: redirect may take"),
                ("iptables", tproxying, "mangle -I PREROUTING -p tcp --dport 20:30 -j DROP", "mangle, chain PREROUTING: drop may take"),
                ("nft", redirecting, "raw -A PREROUTING -p tcp -m multiport --dports 25,465 -j DROP", "raw, chain PREROUTING: drop may take"),
                ("nft", redirecting, "filter -A INPUT -p tcp --dport 2525 -j DROP", "filter, chain INPUT: drop may drop what was diverted")):
            with self.subTest(backend=backend, rule=rule), self.given_proxy(transparent=way == tproxying):
                self.applied(backend, way())
                self.assertEqual(self.verified(), [])
                self.gateway.run(["iptables", "-t", *rule.split()])
                self.expect_fault("table ip legacy-" + what, "", "failed")
                self.assertEqual(self.results["input", 6], "proven")
                self.gateway.run(["iptables", "-t", *rule.replace("-I ", "-D ").replace("-A ", "-D ").split()])
                self.rules.run("remove")

    def test_rules_of_others_that_change_nothing(self):
        """Our nft rules stand before the old nat table, whatever is in it."""
        with self.given_proxy():
            self.applied("nft", redirecting())
            self.gateway.run(["iptables", "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "--dport", "25", "-j", "REDIRECT", "--to-ports", "26"])
            self.assertEqual(self.verified(), [])
            self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)


if __name__ == "__main__":
    unittest.main()
