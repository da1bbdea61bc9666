#!/usr/bin/env python3
"""gatepost check --probe on a host whose own connections are intercepted: it asks the server itself, not gatepost; and where
it may not, it says so."""
import ctypes
import json
import unittest

from common import PROGRAM
from firewall_case import BACKENDS, Firewall
from firewall_world import SERVER
from interception_test import Server

PR_CAPBSET_DROP, CAP_NET_ADMIN, CAP_NET_RAW = 24, 12, 13  # newer kernels let either mark
NOTICE = "this probe itself may be intercepted"


def without_the_right():
    for capability in (CAP_NET_ADMIN, CAP_NET_RAW):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


class ProbeInterception(Firewall):
    def setUp(self):
        super().setUp()
        for version in (4, 6):
            self.addCleanup(Server(self.world.server, version).close)
        self.proxies = [Server(self.gateway, version, port=2525) for version in (4, 6)]
        for each in self.proxies:
            self.addCleanup(each.close)

    def probed(self, backend, ports=(25,), **more):
        listeners = [{"intercept": "redirect", "address": address, "direction": "outgoing", "scopes": ["output"], "ports": ports,
                      "downstream": "mta"} for address in ("0.0.0.0:2525", "[::]:2525")]
        config = self.rules.config(*listeners, downstreams={"mta": {"servers": [f"{SERVER[4]}:25", f"[{SERVER[6]}]:25"]}},
                                   firewall={"backend": backend})
        self.rules.run("apply", "-c", config)
        done = self.gateway.run([PROGRAM, "check", "--probe", "-c", config], **more)
        told = json.loads(self.gateway.run([PROGRAM, "check", "--probe", "--json", "-c", config], **more).stdout)
        self.rules.run("remove")
        return done.stdout, told["servers"]

    def test_it_asks_the_server_itself(self):
        for backend in BACKENDS:
            with self.subTest(backend):
                text, servers = self.probed(backend)
                self.assertEqual([each["reached"] for each in servers], [True, True])
                self.assertNotIn(NOTICE, text)
                self.assertEqual([each.opened for each in self.proxies], [0, 0])

    def test_without_the_right_to_it_says_so(self):
        text, servers = self.probed("nft", before=without_the_right)
        for version in (4, 6):
            self.assertRegex(text, f"downstream mta, .*{SERVER[version]}.*:25: {NOTICE}")
        self.assertEqual(sum(each.get("perhaps_intercepted", False) for each in servers), 2)
        self.assertGreater(min(each.opened for each in self.proxies), 0)  # it was so

    def test_where_nothing_is_intercepted_there_is_nothing_to_say(self):
        text, servers = self.probed("nft", ports=(2500,), before=without_the_right)
        self.assertNotIn(NOTICE, text)
        self.assertEqual([each["reached"] for each in servers], [True, True])
        self.assertEqual([each.opened for each in self.proxies], [0, 0])


if __name__ == "__main__":
    unittest.main()
