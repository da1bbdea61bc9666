#!/usr/bin/env python3
"""The rules in the kernel, by both backends and for both families: which connections come to the listener, which go where
they were meant to go, and what the listener knows of them. A client, a gateway and a server in namespaces."""
import contextlib
import os
import unittest

from common import USERS, Place
from firewall_world import (ANY, CLIENT, FAR, LOOPBACK, NEAR, SERVER, Namespace, Rules, StandIn, World, available, cable, reach)
from peers import PATIENCE

BACKENDS = ("nft", "iptables")
FAMILIES = (4, 6)
OWN_MARK = 0x02000000
QUICK = 1.0  # seconds for an answer that is not to come


OTHERS = """table inet others {
    counter seen {
    }
    chain first {
        type filter hook prerouting priority -200; policy accept
        meta mark set meta mark | 0x10
    }
    chain last {
        type filter hook input priority 0; policy accept
        tcp dport 25 meta mark & 0x0f0000ff == 0x01000010 counter name seen
    }
}
"""


def listening(version, port=2525, address=None):
    host = address or ANY[version]
    return f"[{host}]:{port}" if version == 6 else f"{host}:{port}"


def networks(*pairs):
    """Both families' at once."""
    return [each for pair in pairs for each in pair.values()]


class Kernel(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.rules = Rules(self.world.gateway, self.place)

    def stand_ins(self, *wanted):
        """(where, port, name, more) of both families, for the rest of the test."""
        for where, port, name, more in wanted:
            for version in FAMILIES:
                stand_in = StandIn(where, version, port, name, **more)
                self.addCleanup(stand_in.close)

    def apply(self, backend, *listeners, **sections):
        """Each listener for both families, on the wildcard addresses or what "at" says."""
        both = []
        for each in listeners:
            for version in FAMILIES:
                one = dict(each)
                at = one.pop("at", ANY)
                both.append({"intercept": "redirect", **one, "address": listening(version, one.pop("port", 2525), at[version])})
                both[-1].pop("port", None)
        config = self.rules.config(*both, firewall={"backend": backend, **sections.pop("firewall", {})}, **sections)
        told = self.rules.told("apply", "-c", config)
        self.assertEqual((told["ok"], told["backend"]), (True, backend))

    def expect(self, where, address, words, port=25, **more):
        for version in FAMILIES:
            with self.subTest(version=version, address=address[version], port=port):
                told = {"meant": address[version], "peer": CLIENT[version]}
                self.assertEqual(" ".join(reach(where, version, address[version], port, **more)), words.format(**told))

    def each_backend(self):
        for backend in BACKENDS:
            with self.subTest(backend):
                yield backend
            self.rules.run("remove")


@unittest.skipUnless(available(), "needs root, ip, nft, iptables and ipset")
class Redirect(Kernel):
    def test_redirect_of_what_is_for_this_host(self):
        world = self.world
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        for backend in self.each_backend():
            self.apply(backend, {"ports": [25, 465], "skip_destinations": networks(FAR)})
            self.expect(world.client, NEAR, "proxy {peer} {meant} 25")
            self.expect(world.client, NEAR, "proxy {peer} {meant} 465", port=465)  # nobody else is there
            self.expect(world.client, NEAR, "refused", port=587)
            self.expect(world.client, FAR, "mta {peer} {meant} 25")
            self.expect(world.client, SERVER, "server {peer} {meant} 25")
            for version in FAMILIES:  # lo is not intercepted
                self.assertEqual(reach(world.gateway, version, NEAR[version], 25)[0], "mta")
                self.assertEqual(self.rules.counted()[f"l{FAMILIES.index(version)}", "input", version], 2)

    def test_protected_networks_limit_what_is_for_this_host(self):
        world = self.world
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}))
        for backend in self.each_backend():
            self.apply(backend, {"protected": networks(FAR)})
            self.expect(world.client, FAR, "proxy {peer} {meant} 25")
            self.expect(world.client, NEAR, "mta {peer} {meant} 25")

    def test_redirect_of_what_is_forwarded(self):
        world = self.world
        other = {4: "192.0.2.99", 6: "2001:db8:5::99"}
        world.server.address("eth0", *(f"{address}/{32 if version == 4 else 128}" for version, address in other.items()))
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        for backend in self.each_backend():
            self.apply(backend, {"scopes": ["forward"], "protected": ["192.0.2.0/24", "2001:db8:5::/64"],
                                 "skip_destinations": networks(other)})
            self.expect(world.client, SERVER, "proxy {peer} {meant} 25")
            self.expect(world.client, other, "server {peer} {meant} 25")
            # An address of the gateway is not forwarded to, though it is in the network.
            self.expect(world.client, FAR, "mta {peer} {meant} 25")

    def test_clients_that_are_skipped(self):
        world = self.world
        second = {4: "203.0.113.10", 6: "2001:db8:c::10"}
        world.client.address("eth0", second[4] + "/24", second[6] + "/64")
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}))
        for backend in self.each_backend():
            for skipped, name in ((["203.0.113.8/31", "2001:db8:c::8/125"], "mta"), (["0.0.0.0/0", "::/0"], "mta"),
                                  (["203.0.113.10", "2001:db8:c::10"], "proxy")):
                self.apply(backend, {"skip_sources": skipped})
                for version in FAMILIES:
                    with self.subTest(version=version, skipped=skipped):
                        self.assertEqual(reach(world.client, version, NEAR[version], 25, source=CLIENT[version])[0], name)
                        other = reach(world.client, version, NEAR[version], 25, source=second[version])[0]
                        self.assertEqual(other, "mta" if name == "proxy" or "/0" in skipped[0] else "proxy")

    def test_interfaces_limit_where_connections_come_in(self):
        world = self.world
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}))
        for backend in self.each_backend():
            self.apply(backend, {"interfaces": ["far"]})
            self.expect(world.client, NEAR, "mta {peer} {meant} 25")
            self.apply(backend, {"interfaces": ["near", "far"]})
            self.expect(world.client, NEAR, "proxy {peer} {meant} 25")

    def test_the_first_listener_that_matches_takes_it_and_what_it_skips_is_skipped(self):
        world = self.world
        self.stand_ins((world.gateway, 2525, "first", {}), (world.gateway, 2526, "second", {}), (world.server, 25, "server", {}))
        for backend in self.each_backend():
            inner = {"scopes": ["forward"], "protected": networks(SERVER)}
            outer = {"scopes": ["forward"], "direction": "outgoing", "port": 2526}
            self.apply(backend, inner, outer)
            self.expect(world.client, SERVER, "first {peer} {meant} 25")
            self.expect(world.client, {4: "198.51.100.1", 6: "2001:db8:7::1"}, "second {peer} {meant} 25")
            self.apply(backend, {**inner, "skip_sources": networks(CLIENT)}, outer)
            self.expect(world.client, SERVER, "server {peer} {meant} 25")

    def test_redirect_of_what_this_host_sends(self):
        world = self.world
        self.stand_ins((world.gateway, 2525, "proxy", {}), (world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        for backend in self.each_backend():
            self.apply(backend, {"scopes": ["output"], "direction": "outgoing"})
            self.output(world)
            self.apply(backend, {"scopes": ["output"], "direction": "outgoing", "at": LOOPBACK, "port": 2526})
            with StandIn(world.gateway, 4, 2526, "loopback", address=LOOPBACK[4]), \
                    StandIn(world.gateway, 6, 2526, "loopback", address=LOOPBACK[6]):
                for version in FAMILIES:
                    self.assertEqual(reach(world.gateway, version, SERVER[version], 25)[::2], ["loopback", SERVER[version]])

    def output(self, world):
        for version in FAMILIES:
            with self.subTest(version=version):
                answered = reach(world.gateway, version, SERVER[version], 25)
                self.assertEqual(answered, ["proxy", answered[1], SERVER[version], "25"])
                # The proxy's own connections, by uid and by mark; and those that stay on this host.
                self.assertEqual(reach(world.gateway, version, SERVER[version], 25, mark=OWN_MARK)[0], "server")
                self.assertEqual(reach(world.gateway, version, SERVER[version], 25, mark=0x10)[0], "proxy")
                self.assertEqual(reach(world.gateway, version, NEAR[version], 25)[0], "mta")
                self.assertEqual(self.as_proxy(world.gateway, version, SERVER[version]), "server")

    def as_proxy(self, where, version, address):
        """Who answers a connection of the proxy's account."""
        script = ("import socket, sys; s = socket.create_connection((sys.argv[1], 25), timeout=10); "
                  "print(s.makefile().readline().split()[1])")
        return where.run(["python3", "-c", script, address], before=lambda: os.setuid(USERS["proxy"])).stdout.strip()

    def test_loopback_of_this_host(self):
        gateway = self.world.gateway
        self.stand_ins((gateway, 2525, "proxy", {}), (gateway, 25, "mta", {}))
        for backend in self.each_backend():
            self.apply(backend, {"scopes": ["output"], "interfaces": ["lo"]})
            for version in FAMILIES:
                for address in (LOOPBACK[version], NEAR[version]):
                    self.assertEqual(reach(gateway, version, address, 25)[0], "proxy", address)
                self.assertEqual(self.as_proxy(gateway, version, LOOPBACK[version]), "mta")
            self.expect(self.world.client, NEAR, "mta {peer} {meant} 25")

    def test_a_listener_on_one_address_gets_what_comes_by_another(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}))
        for version in FAMILIES:
            self.addCleanup(StandIn(world.gateway, version, 2525, "proxy", address=FAR[version]).close)
        for backend in self.each_backend():
            self.apply(backend, {"at": FAR})
            self.expect(world.client, NEAR, "proxy {peer} {meant} 25")

    def test_more_ports_than_one_match_takes(self):
        self.stand_ins((self.world.gateway, 2525, "proxy", {}))
        for backend in self.each_backend():
            self.apply(backend, {"ports": list(range(1000, 1040))})
            for port in (1000, 1014, 1015, 1016, 1030, 1039):
                self.expect(self.world.client, NEAR, f"proxy {{peer}} {{meant}} {port}", port=port)
            self.expect(self.world.client, NEAR, "refused", port=1040)


@unittest.skipUnless(available(), "needs root, ip, nft, iptables and ipset")
class Transparent(Kernel):
    """TPROXY and spoofed sources. The server's mail port on the gateway itself stands for an MTA behind the proxy."""

    def given(self, at):
        """The listeners, which somebody has to close."""
        stack = contextlib.ExitStack()
        for version in FAMILIES:
            stack.enter_context(StandIn(self.world.gateway, version, 2525, "proxy", address=at[version], transparent=True))
        return stack

    def test_tproxy(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}), (world.server, 25, "server", {}), (world.server, 2525, "another", {}))
        for at in (LOOPBACK, ANY):
            with self.given(at):
                for backend in self.each_backend():
                    with self.subTest(at=at[4]):
                        self.tproxy(backend, at)

    def tproxy(self, backend, at):
        client = self.world.client
        self.apply(backend, {"intercept": "tproxy", "scopes": ["input", "forward"], "at": at, "protected": networks(NEAR, SERVER)})
        self.expect(client, NEAR, "proxy {peer} {meant} 25")
        self.expect(client, SERVER, "proxy {peer} {meant} 25")
        # Not protected; and a port of the same number on another host is none of ours.
        self.expect(client, FAR, "mta {peer} {meant} 25")
        self.expect(client, SERVER, "another {peer} {meant} 2525", port=2525)
        counted = self.rules.counted()
        for version in FAMILIES:
            self.assertEqual([counted[f"l{FAMILIES.index(version)}", scope, version] for scope in ("input", "forward")], [1, 1])

    def test_tproxy_skips(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        self.addCleanup(self.given(LOOPBACK).close)
        for backend in self.each_backend():
            self.apply(backend, {"intercept": "tproxy", "at": LOOPBACK, "skip_sources": networks(CLIENT)})
            self.expect(world.client, NEAR, "mta {peer} {meant} 25")
            self.apply(backend, {"intercept": "tproxy", "at": LOOPBACK, "skip_destinations": networks(NEAR)})
            self.expect(world.client, NEAR, "mta {peer} {meant} 25")
            self.expect(world.client, FAR, "proxy {peer} {meant} 25")

    def test_spoofed_sources(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        spoofed = {"transparent": True, "mark": OWN_MARK}
        for backend in self.each_backend():
            for rp_filter in (0, 1, 2):
                for interface in ("all", "default", "lo", "near", "far"):
                    world.gateway.sysctl(f"net/ipv4/conf/{interface}/rp_filter", rp_filter)
                with self.subTest(rp_filter=rp_filter):
                    self.apply(backend, {"intercept": "tproxy", "at": LOOPBACK, "scopes": ["input", "forward"],
                                         "protected": networks(NEAR, SERVER), "downstream": "there"},
                               downstreams={"there": {"original": True, "identity": "spoof"}})
                    for version in FAMILIES:
                        for server, name in ((SERVER[version], "server"), (NEAR[version], "mta")):
                            told = reach(world.gateway, version, server, 25, source=CLIENT[version], **spoofed)
                            self.assertEqual(told, [name, CLIENT[version], server, "25"])
            self.rules.run("remove")
            for version in FAMILIES:  # it takes the rules
                self.assertEqual(reach(world.gateway, version, NEAR[version], 25, source=CLIENT[version], patience=QUICK, **spoofed),
                                 ["silence"])

    def test_nobody_listens_and_nothing_goes_round_us(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}), (world.server, 25, "server", {}))
        for backend in self.each_backend():
            for listener, answer in (({"intercept": "redirect"}, "refused"), ({"intercept": "tproxy", "at": LOOPBACK}, "silence")):
                self.apply(backend, {**listener, "scopes": ["input", "forward"], "protected": networks(NEAR, SERVER)})
                for address in (NEAR, SERVER):
                    self.expect(world.client, address, answer, patience=QUICK)

    def test_connections_that_exist_when_rules_come(self):
        world = self.world
        for backend in self.each_backend():
            for way, at in (("redirect", ANY), ("tproxy", LOOPBACK)):
                for version in FAMILIES:
                    for where, address in ((world.gateway, NEAR), (world.server, SERVER)):
                        with self.subTest(way=way, version=version, address=address[version]), where.socket(version) as listening_one:
                            listening_one.bind((ANY[version], 25))
                            listening_one.listen()
                            with world.client.connect(version, address[version], 25) as client, listening_one.accept()[0] as server:
                                self.apply(backend, {"intercept": way, "at": at, "scopes": ["input", "forward"],
                                                     "protected": networks(NEAR, SERVER)})
                                server.settimeout(PATIENCE)
                                client.sendall(b"hello")
                                self.assertEqual(server.recv(5), b"hello")
                            self.rules.run("remove")

    def test_marks_of_others_survive(self):
        world = self.world
        self.stand_ins((world.gateway, 25, "mta", {}))
        self.addCleanup(self.given(LOOPBACK).close)
        for backend in self.each_backend():
            self.apply(backend, {"intercept": "tproxy", "at": LOOPBACK})
            world.gateway.run(["nft", "-f", "-"], input=OTHERS)
            self.expect(world.client, NEAR, "proxy {peer} {meant} 25")
            listed = world.gateway.run(["nft", "list", "counter", "inet", "others", "seen"]).stdout
            self.assertNotIn("packets 0 ", listed)
            world.gateway.run(["nft", "delete", "table", "inet", "others"])


@unittest.skipUnless(available(), "needs root, ip, nft, iptables and ipset")
class Bridge(unittest.TestCase):
    def test_redirect_on_a_bridge(self):
        client, gateway, server = (Namespace() for _ in range(3))
        place = Place()
        self.addCleanup(place.remove)
        for each in (client, gateway, server):
            self.addCleanup(each.close)
        cable(gateway, "port0", client, "eth0")
        cable(gateway, "port1", server, "eth0")
        gateway.ip("link add br0 type bridge", "link set port0 master br0", "link set port1 master br0",
                   "link set port0 up", "link set port1 up")
        gateway.address("br0", NEAR[4] + "/24", NEAR[6] + "/64")
        client.address("eth0", CLIENT[4] + "/24", CLIENT[6] + "/64")
        mail = {4: "203.0.113.25", 6: "2001:db8:c::25"}
        server.address("eth0", mail[4] + "/24", mail[6] + "/64")
        for name in ("iptables", "ip6tables"):
            gateway.sysctl(f"net/bridge/bridge-nf-call-{name}", 0)
        rules = Rules(gateway, place)
        for backend in BACKENDS:
            config = rules.config(*({"intercept": "redirect", "address": listening(version), "scopes": ["forward"],
                                     "interfaces": ["br0"], "protected": [mail[version]]} for version in FAMILIES),
                                  firewall={"backend": backend})
            for version in FAMILIES:
                with self.subTest(backend=backend, version=version), StandIn(gateway, version, 2525, "proxy"), \
                        StandIn(server, version, 25, "server"):
                    self.assertEqual(reach(client, version, mail[version], 25)[0], "server")
                    rules.run("apply", "-c", config)
                    self.assertEqual(reach(client, version, mail[version], 25), ["proxy", CLIENT[version], mail[version], "25"])
                    rules.run("remove")
                    self.assertEqual(gateway.sysctl("net/bridge/bridge-nf-call-iptables"), "0")
                    self.assertEqual(reach(client, version, mail[version], 25)[0], "server")


if __name__ == "__main__":
    unittest.main()
