"""What becomes of a connection by the interface where it comes in: diverted, left alone, or dropped; both backends, both
ways, IPv4 and IPv6. Who is dropped has no connection, neither to gatepost nor round it, while rules change either."""
import concurrent.futures
import re
import unittest

from common import only_when_full
from firewall_case import BACKENDS, Firewall
from firewall_world import ANY, CLIENT, LOOPBACK, NEAR, SERVER, Namespace, StandIn, cable, reach, snapshot
from gate_test import QUEUE
from raw_packets import CWR, ECE, FIN, PSH, RST, SYN, URG, send_packet

FAMILIES = (4, 6)
QUICK = 0.6  # seconds for an answer that is not to come
LAN = {4: "198.51.100.9", 6: "2001:db8:a::9"}
GUEST = {4: "100.64.5.9", 6: "2001:db8:b::9"}
FRIEND = {4: "100.64.5.10", 6: "2001:db8:b::10"}
PREFIX = {4: 24, 6: 64}
SEEN = """table inet seen {
    counter first {
    }
    chain input {
        type filter hook input priority -400; policy accept
        tcp dport 25 counter name first
    }
}"""


def at(version, port, address=ANY):
    return f"[{address[version]}]:{port}" if version == 6 else f"{address[version]}:{port}"


def gateway_of(address):
    return re.sub(r"\w+$", "1", address)


class Interfaces(Firewall):
    """Clients by three interfaces of the gateway: near as ever, lan and guest."""

    def setUp(self):
        super().setUp()
        self.hosts = {}
        for name, address in (("lan", LAN), ("guest", GUEST)):
            host = self.hosts[name] = Namespace()
            self.addCleanup(host.close)
            cable(self.gateway, name, host, "eth0")
            self.gateway.address(name, *(f"{gateway_of(each)}/{PREFIX[version]}" for version, each in address.items()))
            host.address("eth0", *(f"{each}/{PREFIX[version]}" for version, each in address.items()))
            host.ip(f"route add default via {gateway_of(address[4])}", f"-6 route add default via {gateway_of(address[6])}")
        for version, address in FRIEND.items():
            self.hosts["guest"].run(["ip", "address", "add", f"{address}/{PREFIX[version]}", "dev", "eth0", *(["nodad"] if version == 6 else [])])
        for version in FAMILIES:
            for where, name, port, more in ((self.gateway, "mta", 25, {}), (self.world.server, "server", 25, {}),
                                            (self.gateway, "redirect", 2525, {}), (self.gateway, "first", 2527, {}),
                                            (self.gateway, "tproxy", 2526, {"address": LOOPBACK[version], "transparent": True})):
                self.addCleanup(StandIn(where, version, port, name, **more).close)

    def listeners(self, way, **more):
        address = {"redirect": (2525, ANY), "tproxy": (2526, LOOPBACK)}[way]
        return [{"name": f"{way}{version}", "intercept": way, "address": at(version, *address), "scopes": ["input", "forward"],
                 "protected": [*NEAR.values(), *SERVER.values()], "downstream": "original", **more} for version in FAMILIES]

    def met(self, host, source=None):
        """Who answers at the gateway's own address and at the server's, by IPv4 and IPv6."""
        tries = [(version, target) for version in FAMILIES for target in (NEAR, SERVER)]
        with concurrent.futures.ThreadPoolExecutor() as threads:
            words = threads.map(lambda each: reach(host, each[0], each[1][each[0]], 25, source=source and source[each[0]],
                                                   patience=QUICK), tries)
        return {(version, "input" if target is NEAR else "forward"): found[0]
                for (version, target), found in zip(tries, words, strict=True)}

    def assert_met(self, host, incoming, forwarded, source=None):
        self.assertEqual(self.met(host, source), {(version, scope): name for version in FAMILIES
                                                  for scope, name in (("input", incoming), ("forward", forwarded))})

    def each(self, ways=("redirect", "tproxy")):
        for backend in BACKENDS:
            for way in ways:
                with self.subTest(backend=backend, way=way):
                    before = snapshot(self.gateway)
                    yield backend, way
                    self.rules.run("remove")
                    self.expect(before)

    def dropped(self):
        return {(rule["scope"], rule["version"]): rule.get("dropped") for rule in self.rules.told("status")["rules"]}

    def test_one_is_diverted_one_left_alone_one_dropped(self):
        for backend, way in self.each():
            for interfaces in ({}, {"interfaces": ["near"]}):
                self.rules.run("apply", "-c", self.configured(backend, *self.listeners(
                    way, **interfaces, skip_interfaces=["lan"], drop_interfaces=["guest"], skip_sources=list(FRIEND.values()))))
                self.assert_met(self.world.client, way, way)
                self.assert_met(self.hosts["lan"], "mta", "server")
                self.assertEqual(set(self.dropped().values()), {0})
                self.assert_met(self.hosts["guest"], "silence", "silence", GUEST)
                self.assertTrue(all(count > 0 for count in self.dropped().values()), self.dropped())
                self.assert_met(self.hosts["guest"], "mta", "server", FRIEND)
            self.assertIn(f"first packets were dropped on guest ({way}4, forward, IPv4)", self.rules.run("status").stdout)

    def test_nothing_that_a_server_could_take_for_a_first_packet_comes_through(self):
        self.world.server.run(["nft", "-f", "-"], input=SEEN)
        for backend, way in self.each():
            self.rules.run("apply", "-c", self.configured(backend, *self.listeners(way, drop_interfaces=["guest"])))
            for version in FAMILIES:
                for flags in (SYN, SYN | FIN, SYN | PSH, SYN | URG | PSH, SYN | ECE | CWR, SYN | FIN | PSH | URG):
                    send_packet(self.hosts["guest"], version, GUEST[version], SERVER[version], flags)
            self.assertEqual(self.dropped()["forward", 4], 6)
            self.assertEqual(self.dropped()["forward", 6], 6)
            self.assertIn("packets 0 ", self.world.server.run(["nft", "list", "counter", "inet", "seen", "first"]).stdout)

    def test_odd_first_packets_of_what_is_intercepted_go_round_nobody(self):
        """Connection tracking calls them invalid, and so nothing is redirected; some systems take them for first packets."""
        self.world.server.run(["nft", "-f", "-"], input=SEEN)
        for backend, way in self.each():
            for gate in ({}, {"gate": {"queue": QUEUE}}) if backend == "iptables" else ({},):  # fail-closed, and nobody answers
                self.rules.run("apply", "-c", self.configured(backend, *self.listeners(way), **gate))
                for version in FAMILIES:
                    for flags in (SYN | FIN, SYN | RST, SYN | FIN | PSH | URG):
                        send_packet(self.world.client, version, CLIENT[version], SERVER[version], flags)
                self.assertIn("packets 0 ", self.world.server.run(["nft", "list", "counter", "inet", "seen", "first"]).stdout)

    def test_the_first_listener_in_the_file_decides(self):
        for backend, way in self.each():
            first = {"name": "first", "intercept": "redirect", "address": "0.0.0.0:2527", "scopes": ["forward"],
                     "protected": [SERVER[4]], "interfaces": ["guest"], "skip_interfaces": ["lan"]}
            self.rules.run("apply", "-c", self.configured(
                backend, first, *self.listeners(way, interfaces=["near"], drop_interfaces=["guest", "lan"])))
            self.assertEqual(self.met(self.hosts["guest"]), {(4, "forward"): "first", (4, "input"): "silence", (6, "forward"): "silence",
                                                             (6, "input"): "silence"})
            self.assertEqual(self.met(self.hosts["lan"]), {(4, "forward"): "server", (4, "input"): "silence", (6, "forward"): "silence",
                                                           (6, "input"): "silence"})

    def test_mail_of_this_host_itself_by_where_it_goes_out(self):
        for backend, _ in self.each(ways=["redirect"]):
            for key, name in (("skip_interfaces", "server"), ("drop_interfaces", "silence"), (None, "redirect")):
                listeners = self.listeners("redirect", scopes=["output"], protected=list(SERVER.values()), **({key: ["far"]} if key else {}))
                self.rules.run("apply", "-c", self.configured(backend, *listeners))
                for version in FAMILIES:
                    self.assertEqual(reach(self.gateway, version, SERVER[version], 25, patience=QUICK)[0], name)
                    own = reach(self.gateway, version, SERVER[version], 25, patience=QUICK, mark=0x02000000)
                    self.assertEqual(own[0], "server")  # the proxy goes where it wants

    def expect_between(self, host, allowed):
        for found in self.met(host).values():
            self.assertIn(found, allowed)

    def changed(self, backend, listeners, allowed):
        """Step by step, as apply makes them."""
        config = self.configured(backend, *listeners)
        for why in self.rules.step_by_step(config):
            with self.subTest(why):
                self.expect_between(self.hosts["guest"], allowed)
        self.rules.run("apply", "-c", config)

    def change(self, way):
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                before = snapshot(self.gateway)
                dropping = self.listeners(way, interfaces=["near"], drop_interfaces=["guest"])
                taking = self.listeners(way, interfaces=["near", "guest"])
                self.rules.run("apply", "-c", self.configured(backend, *dropping))
                self.changed(backend, self.listeners(way, interfaces=["near", "lan"], drop_interfaces=["guest"]), {"silence"})
                self.changed(backend, taking, {"silence", way})
                self.changed(backend, dropping, {"silence", way})
                self.rules.run("remove")
                self.expect(before)

    def test_who_is_dropped_finds_no_way_round_while_rules_change(self):
        self.change("redirect")

    @only_when_full
    def test_who_is_dropped_finds_no_way_round_while_rules_change_with_tproxy(self):
        self.change("tproxy")

    def test_a_gate_is_not_asked_about_them(self):
        """It does not run, and is fail-closed: whoever is asked about gets no answer."""
        listeners = self.listeners("redirect", skip_interfaces=["lan"], drop_interfaces=["guest"], skip_sources=list(FRIEND.values()))
        self.rules.run("apply", "-c", self.configured("iptables", *listeners, gate={"queue": QUEUE}, bans={"on": True}))
        self.assert_met(self.hosts["lan"], "mta", "server")
        self.assert_met(self.hosts["guest"], "silence", "silence", GUEST)
        self.assertTrue(all(count > 0 for count in self.dropped().values()), self.dropped())
        self.assert_met(self.world.client, "silence", "silence")

    def test_verify_looks_at_the_rules_that_drop(self):
        for backend, way in self.each(ways=["redirect"]):
            config = self.configured(backend, *self.listeners(way, drop_interfaces=["guest"]))
            self.rules.run("apply", "-c", config)
            told = self.rules.run("verify", "-c", config, check=False).stdout
            self.assertEqual(len(re.findall("^inspected .* the rule is there that drops what comes by guest", told, re.M)), 4, told)
            if backend == "nft":
                self.gateway.run(["nft", "flush", "chain", "inet", "gatepost", "prerouting_drop"])
                self.gateway.run(["nft", "delete", "chain", "inet", "gatepost", "forward4.redirect4-dropped"])
                self.gateway.run(["nft", "delete", "counter", "inet", "gatepost", "forward4.redirect4-dropped"])
            else:
                self.gateway.run(["iptables", "-w", "-t", "raw", "-F", "GATEPOST_1_FORWARD_DROP"])
            told = self.rules.run("verify", "-c", config, check=False)
            self.assertIn("no rule drops what comes by guest", told.stdout)
            self.assertIn("the rule forward4.redirect4-dropped is missing", told.stdout)
            self.assertNotEqual(told.returncode, 0)


if __name__ == "__main__":
    unittest.main()
