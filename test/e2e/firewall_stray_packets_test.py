#!/usr/bin/env python3
"""A redirected connection is translated with the first packet that connection tracking sees of it. Whoever shows it another
one first, or one that makes the first invalid, has no connection: not to gatepost, and not round it."""
import itertools
import unittest

from firewall_case import BACKENDS, Firewall
from firewall_world import CLIENT, FAR, NEAR, SERVER, StandIn, reach
from gate_rules_test import GateStage
from raw_packets import ACK, SIGNED, SYN, send_packet

FAMILIES = (4, 6)
QUICK = 0.6  # seconds for an answer that is not to come
FRIEND = {4: "203.0.113.10", 6: "2001:db8:c::10"}
SEEN = """table inet seen {
    counter first {
    }
    chain input {
        type filter hook input priority -400; policy accept
        tcp dport 25 tcp flags syn / syn,ack counter name first
    }
}"""
# As on many servers: what connection tracking is shown first has to begin a connection. No RST tells that the ACK was stray.
NO_ANSWER = """table inet site {
    chain input {
        type filter hook input priority 0; policy accept
        ct state new tcp flags & (syn | ack) == ack drop
    }
}"""


def listeners(**more):
    return [{"intercept": "redirect", "address": address, **more} for address in ("0.0.0.0:2525", "[::]:2525")]


class Stray:
    ports = itertools.count(41000)  # connection tracking does not forget at once

    def after_a_stray_ack(self, where, source, target, options=SIGNED):
        """Who answers there then, from the same port, by IPv4 and IPv6."""
        found = []
        for version in FAMILIES:
            port = next(self.ports)
            send_packet(where, version, source[version], target[version], ACK, source_port=port, options=options)
            found.append(reach(where, version, target[version], 25, source=(source[version], port), patience=QUICK)[0])
        return found


class StrayPackets(Stray, Firewall):
    def setUp(self):
        super().setUp()
        self.client = self.world.client
        self.client.address("eth0", FRIEND[4] + "/24", FRIEND[6] + "/64")
        for version in FAMILIES:
            for where, name, port in ((self.gateway, "mta", 25), (self.world.server, "server", 25), (self.gateway, "gatepost", 2525)):
                self.addCleanup(StandIn(where, version, port, name).close)

    def answers(self, where, target, source=None, **more):
        return [reach(where, version, target[version], 25, source=source and source[version], patience=QUICK, **more)[0] for version in FAMILIES]

    def test_a_stray_ack_opens_no_way_round(self):
        for backend in BACKENDS:
            self.rules.run("apply", "-c", self.configured(backend, *listeners(
                scopes=["input", "forward"], protected=[*NEAR.values(), *SERVER.values()], skip_sources=list(FRIEND.values()))))
            for scope, target, name in (("input", NEAR, "mta"), ("forward", SERVER, "server")):
                with self.subTest(backend=backend, scope=scope):
                    self.assertEqual(self.after_a_stray_ack(self.client, CLIENT, target), ["silence"] * 2)
                    self.assertEqual(self.answers(self.client, target, CLIENT), ["gatepost"] * 2)
                    self.assertEqual(self.after_a_stray_ack(self.client, FRIEND, target), [name] * 2)
            self.rules.run("remove")

    def test_neither_where_the_server_says_nothing_to_it(self):
        self.world.server.run(["nft", "-f", "-"], input=NO_ANSWER)
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                self.rules.run("apply", "-c", self.configured(backend, *listeners(scopes=["forward"], direction="outgoing")))
                self.assertEqual(self.after_a_stray_ack(self.client, CLIENT, SERVER, options=b""), ["silence"] * 2)
                self.assertEqual(self.answers(self.client, SERVER), ["gatepost"] * 2)
                self.rules.run("remove")

    def test_nor_from_this_host_itself(self):
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                self.rules.run("apply", "-c", self.configured(backend, *listeners(scopes=["output"], direction="outgoing")))
                self.assertEqual(self.after_a_stray_ack(self.gateway, FAR, SERVER), ["silence"] * 2)
                self.assertEqual(self.answers(self.gateway, SERVER), ["gatepost"] * 2)
                self.assertEqual(self.answers(self.gateway, SERVER, mark=0x02000000), ["server"] * 2)
                self.rules.run("remove")

    def test_a_first_packet_that_connection_tracking_calls_invalid_does_not_pass(self):
        """It goes against what the server has sent before, which connection tracking took for a connection."""
        self.world.server.run(["nft", "-f", "-"], input=SEEN)
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                self.rules.run("apply", "-c", self.configured(backend, *listeners(scopes=["forward"], direction="outgoing")))
                for version in FAMILIES:
                    port = next(self.ports)
                    send_packet(self.world.server, version, SERVER[version], CLIENT[version], ACK, port=port, source_port=25, options=SIGNED)
                    send_packet(self.client, version, CLIENT[version], SERVER[version], SYN, source_port=port)
                self.assertIn("packets 0 ", self.world.server.run(["nft", "list", "counter", "inet", "seen", "first"]).stdout)
                self.rules.run("remove")


class StrayPacketsAndTheGate(Stray, GateStage):
    def test_what_the_gate_takes_goes_round_nobody(self):
        self.forwarded()
        self.world.client.address("eth0", FRIEND[4] + "/24", FRIEND[6] + "/64")
        for on_failure in ("closed", "open"):
            with self.subTest(on_failure=on_failure):
                self.apply(protected=list(SERVER.values()), on_failure=on_failure, skip_sources=list(FRIEND.values()))
                with self.gate(open=on_failure == "open"):
                    self.assertEqual(self.after_a_stray_ack(self.world.client, CLIENT, SERVER), ["silence"] * 2)
                    for version in FAMILIES:
                        self.assertEqual(reach(self.world.client, version, SERVER[version], 25, source=CLIENT[version])[0], "gatepost")
                    self.assertEqual(self.after_a_stray_ack(self.world.client, FRIEND, SERVER), ["server"] * 2)


if __name__ == "__main__":
    unittest.main()
