"""Whole stories with the rules that gatepost itself writes: a router before a mail server, a gateway before a server on the
same host, outgoing mail of a network, outgoing mail of this host; by both backends, IPv4 and IPv6, and gone without a
trace."""
import os
import re
import unittest

from common import IS_ROOT, PROGRAM, ROOT, wait_until
from firewall_world import CLIENT, FAR, NEAR, SERVER, Rules, available, snapshot
from interception_test import MESSAGE, PORT, Server, Stage
from peers import Wire

OWN_MARK = 0x02000000
LISTENERS = {4: "0.0.0.0", 6: "[::]"}


@unittest.skipUnless(IS_ROOT and available(), "needs root and the tools of the packet filter")
class Stories(Stage):
    backend = "nft"

    def setUp(self):
        super().setUp()
        self.rules_of = Rules(self.world.gateway, self.place)

    def begin(self, listener, downstream):
        """gatepost for both families and its rules; undone, and looked at, when the test is over."""
        listeners = [{"name": f"taken{version}", "address": f"{address}:{PORT}", "downstream": "there", **listener}
                     for version, address in LISTENERS.items()]
        before = snapshot(self.world.gateway)
        gatepost = self.serve_listeners(listeners, downstream, firewall={"backend": self.backend})
        self.rules_of.run("apply", "-c", self.place / "gatepost.json")
        self.addCleanup(lambda: self.assertEqual(snapshot(self.world.gateway), before))
        self.addCleanup(self.rules_of.run, "remove")
        return gatepost

    def test_a_router_before_a_mail_server_that_sees_its_clients(self):
        servers = {version: self.server(version) for version in (4, 6)}
        self.begin({"intercept": "tproxy", "scopes": ["forward"], "protected": [SERVER[4], SERVER[6]]},
                   {"original": True, "identity": "spoof"})
        for version, server in servers.items():
            with self.subTest(version=version):
                self.assertEqual(self.send(version, SERVER[version])[0], 250)
                self.assertEqual((server.messages, set(server.peers)), ([MESSAGE], {CLIENT[version]}))

    def assert_talks(self, wire, version):
        self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
        for command, code in ((b"MAIL FROM:<a@example.org>", 250), (b"RCPT TO:<b@example.net>", 250), (b"DATA", 354)):
            self.assertEqual(wire.say(command)[0], code)
        wire.send(MESSAGE + b".\r\n")
        self.assertEqual(wire.reply()[0], 250)

    def test_client_and_router_may_have_the_same_port_to_the_same_server(self):
        servers = {version: self.server(version) for version in (4, 6)}
        self.begin({"intercept": "tproxy", "scopes": ["forward"], "protected": [SERVER[4], SERVER[6]]},
                   {"original": True, "identity": "spoof"})
        for version, server in servers.items():
            with self.subTest(version=version), self.wire(version, SERVER[version]) as first:
                self.assertEqual(first.reply()[0], 220)
                taken = (CLIENT[version], server.ports[0])  # by the router, for the first
                with Wire.over(self.world.client.connect(version, SERVER[version], 25, source=taken)) as second:
                    self.assertEqual(second.reply()[0], 220)
                    self.assert_talks(second, version)
                    self.assert_talks(first, version)
                # The other way about: the router comes to a port that the client has.
                own = first.socket.getsockname()[:2]
                with Wire.over(self.world.gateway.connect(version, SERVER[version], 25, source=own, transparent=True,
                                                          mark=OWN_MARK)) as third:
                    self.assertEqual(third.reply(), (220, b"220 far.example ESMTP"))
                    self.assertEqual(third.say(b"EHLO client.example")[0], 250)
                    self.assert_talks(first, version)
                self.assertEqual(set(server.peers), {CLIENT[version]})

    def test_what_a_server_says_after_our_end_does_not_go_to_the_client(self):
        self.begin({"intercept": "tproxy", "scopes": ["forward"], "protected": [SERVER[4], SERVER[6]]},
                   {"original": True, "identity": "spoof"})
        for version in (4, 6):
            with self.subTest(version=version), self.world.server.socket(version) as server:
                server.bind((SERVER[version], 25))
                server.listen()
                ours = self.world.gateway.connect(version, SERVER[version], 25, source=CLIENT[version], transparent=True,
                                                  mark=OWN_MARK)
                with server.accept()[0] as connection:
                    ours.close()
                    half_closed = lambda: "FIN-WAIT-2" in self.world.gateway.run(["ss", "-tan"]).stdout
                    wait_until(half_closed, "our end")
                    connection.sendall(b"221 2.0.0 bye\r\n")
                    wait_until(lambda: not half_closed(), "what the server says has reached us, who reset it")
                self.assertEqual(self.world.client.tcp_counter("OutRsts"), 0)

    def test_a_router_that_redirects(self):
        servers = {version: self.server(version) for version in (4, 6)}
        gatepost = self.begin({"intercept": "redirect", "scopes": ["forward"], "protected": [SERVER[4], SERVER[6]]},
                              {"original": True})
        for version, server in servers.items():
            with self.subTest(version=version):
                self.assertEqual(self.send(version, SERVER[version])[0], 250)
                self.assertEqual((server.messages, set(server.peers)), ([MESSAGE], {FAR[version]}))
                self.assert_summary(gatepost, version, direction="incoming", listener=f"taken{version}")

    def test_a_gateway_before_a_server_on_the_same_host(self):
        servers = {version: self.server(version, self.world.gateway, NEAR[version]) for version in (4, 6)}
        self.begin({"intercept": "tproxy"}, {"original": True})
        for version, server in servers.items():
            with self.subTest(version=version):
                self.assertEqual(self.send(version, NEAR[version])[0], 250)
                self.assertEqual(set(server.peers), {CLIENT[version]})

    def test_outgoing_mail_of_a_network_and_of_this_host(self):
        servers = {version: self.server(version) for version in (4, 6)}
        gatepost = self.begin({"intercept": "redirect", "direction": "outgoing", "scopes": ["forward", "output"]},
                              {"original": True})
        for version, server in servers.items():
            with self.subTest(version=version):
                self.assertEqual(self.send(version, SERVER[version])[0], 250)
                self.assertEqual(self.send(version, SERVER[version], self.world.gateway)[0], 250)
                self.assertEqual(server.messages, [MESSAGE] * 2)
                self.assert_summary(gatepost, version, direction="outgoing", listener=f"taken{version}")
        self.assertEqual(self.events(gatepost, event="refused"), [])

    def test_who_is_on_a_skip_list_goes_straight(self):
        server = self.server(4)
        gatepost = self.begin({"intercept": "redirect", "direction": "outgoing", "scopes": ["forward"],
                               "skip_sources": [CLIENT[4]]}, {"original": True})
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(set(server.peers), {CLIENT[4]})
        self.assertEqual(self.events(gatepost, outcome="answered"), [])


    def test_rules_come_and_go_with_the_daemon(self):
        server = self.server(4)
        before = snapshot(self.world.gateway)
        listener = {"name": "taken", "address": f"0.0.0.0:{PORT}", "downstream": "there", "intercept": "redirect",
                    "direction": "outgoing", "scopes": ["forward"]}
        gatepost = self.serve_listeners([listener], {"original": True},
                                        firewall={"backend": self.backend, "manage": True,
                                                  "state_directory": self.place / "rules"})
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(server.peers, [FAR[4]])
        self.assertNotEqual(snapshot(self.world.gateway), before)
        gatepost.process.terminate()
        self.assertEqual(gatepost.wait()[0], 0)
        self.assertEqual(snapshot(self.world.gateway), before)
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(server.peers[1:], [CLIENT[4]])


    def test_what_a_kill_leaves_behind_and_how_it_goes(self):
        server = self.server(4)
        before = snapshot(self.world.gateway)
        listener = {"name": "taken", "address": f"0.0.0.0:{PORT}", "downstream": "there", "intercept": "redirect",
                    "direction": "outgoing", "scopes": ["forward"]}
        gatepost = self.serve_listeners([listener], {"original": True},
                                        firewall={"backend": self.backend, "manage": True,
                                                  "state_directory": self.place / "rules"})
        gatepost.kill()
        with self.assertRaises(ConnectionRefusedError):  # the rules are the kernel's
            self.wire(4, SERVER[4])
        config = self.place / "gatepost.json"
        self.assertIn("in force", self.world.gateway.run([PROGRAM, "firewall", "status", "-c", config]).stdout)
        with open(os.path.join(ROOT, "appliance/systemd/gatepost.service")) as unit:
            (line,) = re.findall("^ExecStopPost=-(.*)$", unit.read(), re.MULTILINE)
        words = {"/usr/bin/gatepost": PROGRAM, "/etc/gatepost/gatepost.json": config}
        self.world.gateway.run([words.get(word, word) for word in line.split()])
        self.assertEqual(snapshot(self.world.gateway), before)
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(server.peers, [CLIENT[4]])


class StoriesWithIptables(Stories):
    backend = "iptables"


if __name__ == "__main__":
    unittest.main()
