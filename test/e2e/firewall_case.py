"""A gateway on which `gatepost firewall` is tried, bare or with rules of somebody else."""
import os
import unittest

from common import Place
from firewall_world import Rules, World, available, snapshot

BACKENDS = ("nft", "iptables")

# What an administrator has, in the same tables and next to them.
FOREIGN = """table inet site {
    set friends {
        type ipv4_addr
        elements = { 198.51.100.1 }
    }
    chain pre {
        type nat hook prerouting priority dstnat + 5; policy accept
        ip saddr @friends tcp dport 8080 redirect to :80
    }
}
"""
LISTS = {"skip_sources": ["198.51.100.0/24", "2001:db8:7::/48"], "skip_destinations": ["198.51.100.9", "2001:db8:9::/48"]}
# Both ways, both families, all scopes, lists: every kind of step.
EVERYTHING = [
    {"intercept": "redirect", "address": "0.0.0.0:2525", "ports": [25, 465], **LISTS},
    {"intercept": "redirect", "address": "[::]:2525", "protected": ["::/0"], "scopes": ["input", "forward", "output"], **LISTS},
    {"intercept": "tproxy", "address": "127.0.0.1:2526", "ports": [2500], "downstream": "there"},
    {"intercept": "tproxy", "address": "[::1]:2526", "ports": [2500], "downstream": "there"}]
THERE = {"there": {"original": True, "identity": "spoof"}}
FAILED, NOT_APPLIED, NOT_CONFIRMED, NOT_PLANNED = 71, 69, 75, 78


@unittest.skipUnless(available(), "needs root, ip, nft, iptables and ipset")
class Firewall(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(lambda: self.world.close())
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.gateway = self.world.gateway
        self.rules = Rules(self.gateway, self.place)

    def configured(self, backend, *listeners, name="gatepost.json", **keys):
        return self.rules.config(*(listeners or EVERYTHING), name=name, downstreams=THERE, firewall={"backend": backend, **keys})

    def given_foreign_rules(self):
        self.gateway.run(["nft", "-f", "-"], input=FOREIGN)
        self.gateway.run(["iptables", "-t", "nat", "-A", "PREROUTING", "-p", "tcp", "--dport", "8025", "-j", "REDIRECT"])
        self.gateway.run(["ip6tables", "-t", "mangle", "-N", "SITE"])
        self.gateway.run(["ipset", "create", "site", "hash:ip"])
        self.gateway.ip("rule add priority 100 fwmark 0x7 lookup 7", "route add local default dev lo table 7")

    def each_host(self):
        """Backend, and how the host was: bare, and with rules of its own."""
        for backend in BACKENDS:
            for foreign in (False, True):
                self.world.close()
                self.world = World()
                self.gateway = self.rules.host = self.world.gateway
                if foreign:
                    self.given_foreign_rules()
                with self.subTest(backend=backend, foreign=foreign):
                    yield backend, snapshot(self.gateway)

    def expect(self, before):
        self.assertMultiLineEqual(snapshot(self.gateway), before)

    def applied(self):
        return os.path.exists(self.rules.state + "/firewall.json")
