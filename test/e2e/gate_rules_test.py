#!/usr/bin/env python3
"""The rules around the gate as `gatepost firewall` writes them, in a real kernel, IPv4 and IPv6: every scope and way, with
a gate, without one in both kinds of failure, and gone without a trace."""
import contextlib
import errno
import itertools
import unittest

from common import ROOT, wait_until
from firewall_case import THERE, Firewall
from firewall_world import ANY, CLIENT, LOOPBACK, NEAR, SERVER, StandIn, reach, snapshot
from gate_test import BRIEF, QUEUE, VERSIONS, GateProgram
from peers import PATIENCE

PORT = 2525
TOOLS = {4: "iptables", 6: "ip6tables"}


class GateStage(Firewall):
    def apply(self, *, way="redirect", scopes=("forward",), on_failure="closed", gate=QUEUE, host=ANY, bans=None,
              backend="iptables", **keys):
        """A listener for each family; the queue of the second is the next one."""
        listeners = [{"intercept": way, "address": f"{host[4]}:{PORT}", "scopes": list(scopes), **keys},
                     {"intercept": way, "address": f"[{host[6]}]:{PORT}", "scopes": list(scopes), **keys}]
        sections = {"gate": {"queue": gate, "on_failure": on_failure}} if gate else {}
        if bans is not None:
            sections["bans"] = bans
        config = self.configured("auto" if gate else backend, *listeners, **sections)
        self.rules.run("apply", "-c", config)
        self.assertEqual(self.rules.told("status")["backend"], "iptables" if gate else backend)
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


class GateRules(GateStage):
    ports = itertools.count(42000)

    def test_forwarded_and_redirected(self):
        before = snapshot(self.gateway)
        self.apply(protected=list(SERVER.values()))
        self.forwarded()
        with self.gate(connections=2):
            self.each_answers("gatepost", "gatepost", "refused")
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
        self.each_answers("server")
        self.rules.run("remove")
        self.expect(before)

    def test_what_is_skipped_passes_with_the_lists_that_are_in_force(self):
        """They are the kernel's: a gate that runs needs not be told, and one that is gone is not missed."""
        for way, host in (("redirect", ANY), ("tproxy", LOOPBACK)):
            with contextlib.ExitStack() as stack:
                for version in VERSIONS:
                    more = {"address": LOOPBACK[version], "transparent": True} if way == "tproxy" else {}
                    stack.enter_context(StandIn(self.gateway, version, PORT, "gatepost", **more))
                    stack.enter_context(StandIn(self.world.server, version, 25, "server"))
                given = {"way": way, "host": host, "protected": list(SERVER.values()), "downstream": "original"}
                with self.subTest(way=way), self.gate():
                    for lists in ({"skip_sources": list(CLIENT.values())}, {"skip_destinations": list(SERVER.values())}):
                        self.apply(**given, **lists)
                        self.each_answers("server")
                        self.apply(**given)
                        self.each_answers("gatepost")
                self.apply(**given, skip_sources=list(CLIENT.values()))
                self.each_answers("server")
            self.rules.run("remove", "--drain", "0")

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

    def test_all_scopes_at_once(self):
        before = snapshot(self.gateway)
        self.apply(scopes=["input", "forward", "output"], protected=[*NEAR.values(), *SERVER.values()])
        self.forwarded()
        self.stand_in((self.gateway, 25, "mta", {}))
        with self.gate(connections=1):
            self.each_answers("gatepost", "refused", to=NEAR)
        with self.gate(connections=1):
            self.each_answers("gatepost", "refused")
        with self.gate(connections=1):
            self.each_answers("gatepost", "refused", where=self.gateway)
        self.rules.run("remove")
        self.expect(before)

    def dropped(self, version):
        listed = self.world.server.run([TOOLS[version], "-nvxL", "INPUT"]).stdout
        return int(listed.splitlines()[2].split()[0])

    def drop_at_server(self, verb):
        for tool in TOOLS.values():
            self.world.server.run([tool, "-w", verb, "INPUT", "-p", "tcp", "--dport", "25", "-j", "DROP"])

    def begun(self):
        """By each family: the server has not seen the first packet, which is sent again after a second."""
        self.drop_at_server("-A")
        all_begun = [self.enterContext(self.world.client.socket(version)) for version in VERSIONS]
        for version, client in zip(VERSIONS, all_begun):
            client.setblocking(False)
            self.assertEqual(client.connect_ex((SERVER[version], 25)), errno.EINPROGRESS)
            wait_until(lambda version=version: self.dropped(version), "the first packet")
        return all_begun

    def assert_server_answers(self, begun):
        self.drop_at_server("-D")
        for client in begun:
            client.settimeout(PATIENCE)
            self.assertTrue(client.recv(100).startswith(b"220 server"))

    def test_what_began_to_go_by_goes_by_when_the_gate_is_back(self):
        self.apply(protected=list(SERVER.values()), on_failure="open")
        self.forwarded()
        begun = self.begun()
        with self.gate(open=True):
            self.assert_server_answers(begun)
            self.each_answers("gatepost")

    def test_what_began_to_go_by_goes_by_when_the_proxy_is_ready(self):
        self.apply(protected=list(SERVER.values()), on_failure="open")
        self.forwarded()
        with self.gate(open=True, ready=False) as gate:
            begun = self.begun()
            gate.control.send(b"ready")
            self.assert_server_answers(begun)
            self.each_answers("gatepost")

    def test_nothing_else_goes_by_on_the_port_of_what_went_by(self):
        """The server has forgotten a connection that the client does not close, where connection tracking remembers it."""
        for way, host, stand_in in (("redirect", ANY, {}), ("tproxy", LOOPBACK, {"transparent": True})):
            self.apply(way=way, host=host, protected=list(SERVER.values()), on_failure="open", downstream="original")
            port = next(self.ports)
            with contextlib.ExitStack() as stack:
                for version in VERSIONS:
                    more = {**stand_in, "address": LOOPBACK[version]} if stand_in else {}
                    stack.enter_context(StandIn(self.gateway, version, PORT, "gatepost", **more))
                for version in VERSIONS:
                    with self.subTest(way=way, version=version):
                        self.by_and_forgotten(version, port)
                        with self.gate(open=True):
                            answer = reach(self.world.client, version, SERVER[version], 25, source=(CLIENT[version], port), patience=BRIEF)
                            self.assertEqual(answer[0], "silence" if way == "redirect" else "gatepost")
            self.rules.run("remove", "--drain", "0")

    def by_and_forgotten(self, version, port):
        source = (CLIENT[version], port)
        with StandIn(self.world.server, version, 25, "server"):
            client = self.world.client.connect(version, SERVER[version], 25, source=source)
            self.assertTrue(client.recv(100).startswith(b"220 server"))
            with self.cut_off(version):
                for where, what in ((self.world.client, "dst"), (self.world.server, "src")):
                    where.run(["ss", "-K", what, f"[{SERVER[version]}]" if version == 6 else SERVER[version]])
                client.close()

    @contextlib.contextmanager
    def cut_off(self, version):
        """Nobody hears from the client."""
        rule = ["FORWARD", "-p", "tcp", "-j", "DROP"]
        self.gateway.run([TOOLS[version], "-w", "-I", *rule])
        yield
        self.gateway.run([TOOLS[version], "-w", "-D", *rule])

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
        without = "\n".join(line for line in golden.splitlines() if "\tqueue " not in line and " queue " not in line) + "\n"
        self.gateway.run(["nft", "-f", "-"], input=without)
        failed = self.rules.run("plan", "-c", self.configured("nft", {"intercept": "redirect", "address": "0.0.0.0:2525"},
                                                             gate={"queue": QUEUE}), check=False)
        self.assertIn("the kernel does not load queue", failed.stderr)


if __name__ == "__main__":
    unittest.main()
