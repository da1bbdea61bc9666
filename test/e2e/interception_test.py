"""Connections that the packet filter hands to gatepost, in networks of the test's own (client, gateway, server), IPv4 and
IPv6: where they were going, who the server sees, and what is turned away. The rules are written by hand here; those that
gatepost writes have tests of their own."""
import contextlib
import json
import re
import signal
import socket
import threading
import unittest

import certificates
from common import IS_ROOT, Gatepost, Place, config_for, wait_until
from firewall_world import ANY, CLIENT, FAR, LOOPBACK, NEAR, SERVER, World, _enter, available
from peers import PATIENCE, Downstream, Wire

PORT = 2525
OWN = "0x02000000/0x0f000000"  # the mark of our own sockets
MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"
ANOTHER = "203.0.113.10"  # of the client's network


class Server:
    """A mail server that keeps who came and what they sent, and relays for nobody unless told. With `auth` it offers AUTH, and
    believes nobody."""

    auth = False
    relays = False

    def __init__(self, where, version, address=None, port=25):
        self.peers, self.ports, self.messages, self.opened = [], [], [], 0
        self.socket = where.socket(version)
        if version == 6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.settimeout(None)
        self.socket.bind((address or ANY[version], port))
        self.socket.listen(64)
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self):
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            self.opened += 1
            self.peers.append(peer[0])
            self.ports.append(peer[1])
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            connection.sendall(b"220 far.example ESMTP\r\n")
            for line in lines:
                verb = line[:4].upper()
                if verb == b"RCPT" and b"relay-probe" in line and not self.relays:
                    connection.sendall(b"554 5.7.1 Relay access denied\r\n")
                elif self.auth and verb in (b"EHLO", b"AUTH"):
                    connection.sendall(b"250-far.example\r\n250 AUTH PLAIN\r\n" if verb == b"EHLO" else b"535 5.7.8 No\r\n")
                elif verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    content = b""
                    while (text := lines.readline()) != b".\r\n":
                        content += text
                    self.messages.append(content)
                    connection.sendall(b"250 2.0.0 taken by far.example\r\n")
                else:
                    connection.sendall(b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n")
                if verb == b"QUIT":
                    return


def tables(version):
    return "iptables" if version == 4 else "ip6tables"


class Stage(unittest.TestCase):
    """A World, and gatepost on its gateway."""

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.place = Place()
        self.addCleanup(self.place.remove)

    def server(self, version, where=None, address=None, port=25):
        server = Server(where or self.world.server, version, address, port)
        self.addCleanup(server.close)
        return server

    def serve_listeners(self, listeners, downstream, scan=False, loops=1, **sections):
        config = config_for(self.place, scan=scan, loops=loops, **sections)
        config["listeners"] = listeners
        config["downstreams"] = {"there": {key: value for key, value in downstream.items() if value is not None}}
        self.gatepost = Gatepost(self.place, config, preexec=lambda: _enter(self.world.gateway.fd))
        self.addCleanup(self.gatepost.__exit__, None)
        return self.gatepost

    def wire(self, version, address, port=25, where=None):
        return Wire.over((where or self.world.client).connect(version, address, port))

    def send(self, version, address, where=None):
        with self.wire(version, address, where=where) as wire:
            self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
            wire.say(b"EHLO client.example")
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<b@example.net>")[0], 250)
            self.assertEqual(wire.say(b"DATA")[0], 354)
            wire.send(MESSAGE + b".\r\n")
            reply = wire.reply()
            wire.say(b"QUIT")
        return reply

    def events(self, gatepost, **wanted):
        found = []
        for line in gatepost.log.text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if all(event.get(key) == value for key, value in wanted.items()):
                    found.append(event)
        return found

    def refused(self, gatepost, reason):
        wait_until(lambda: self.events(gatepost, event="refused", reason=reason), f"the line about {reason}")
        return self.events(gatepost, event="refused", reason=reason)

    def assert_summary(self, gatepost, version, **more):
        meant = f"{SERVER[4]}:25" if version == 4 else f"[{SERVER[6]}]:25"
        wait_until(lambda: self.events(gatepost, outcome="answered", **more), "the summary line")
        line = self.events(gatepost, outcome="answered", **more)[0]
        self.assertEqual(line["meant_for"], meant)
        self.assertIn(CLIENT[version], line["client"])

@unittest.skipUnless(IS_ROOT and available(), "needs root and the tools of the packet filter")
class InterceptionTest(Stage):
    def rules(self, *lines, version):
        for line in lines:
            self.world.gateway.run([tables(version), "-w", *line.split()])

    def redirect(self, version, ports="25", more=""):
        self.rules(f"-t nat -A PREROUTING -i near -p tcp --dport {ports} {more}-j REDIRECT --to-ports {PORT}",
                   version=version)

    def tproxy(self, version, more=""):
        self.rules("-t mangle -N DIVERT", "-t mangle -A DIVERT -j MARK --set-mark 1", "-t mangle -A DIVERT -j ACCEPT",
                   "-t mangle -A PREROUTING -p tcp -m socket --transparent -j DIVERT",
                   f"-t mangle -A PREROUTING -i near -p tcp --dport 25 -j TPROXY {more}--tproxy-mark 1 --on-port {PORT}",
                   f"-t mangle -A OUTPUT -m mark --mark {OWN} -j CONNMARK --save-mark",
                   f"-t mangle -A OUTPUT -m connmark --mark {OWN} -m mark ! --mark {OWN} -j MARK --set-mark 1",
                   version=version)
        default = "0.0.0.0/0" if version == 4 else "::/0"
        self.world.gateway.ip(f"-{version} rule add fwmark 1 lookup 100",
                              f"-{version} route add local {default} dev lo table 100")

    def serve(self, version, listener=None, downstream=None):
        address = ("0.0.0.0" if version == 4 else "[::]") + f":{PORT}"
        keys = {"name": "taken", "address": address, "downstream": "there", "intercept": "redirect",
                "scopes": ["forward"], "protected": [SERVER[version]], **(listener or {})}
        return self.serve_listeners([{key: value for key, value in keys.items() if value is not None}],
                                    {"original": True, **(downstream or {})})

    def test_redirected_mail_goes_where_the_client_meant_to_go(self):
        for version in (4, 6):
            with self.subTest(version=version):
                server = self.server(version)
                gatepost = self.serve(version)
                self.redirect(version)
                self.assertEqual(self.send(version, SERVER[version])[0], 250)
                self.assertEqual(server.messages, [MESSAGE])
                self.assertEqual(set(server.peers), {FAR[version]})
                self.assert_summary(gatepost, version, direction="incoming")
                gatepost.__exit__(None)
                server.close()

    def test_a_spoofed_source_shows_the_server_its_client(self):
        for version in (4, 6):
            with self.subTest(version=version):
                server = self.server(version)
                gatepost = self.serve(version, {"intercept": "tproxy"}, {"identity": "spoof"})
                self.tproxy(version)
                for _ in range(40):  # more than one batch of sockets
                    self.assertEqual(self.send(version, SERVER[version])[0], 250)
                self.assertEqual(server.messages, [MESSAGE] * 40)
                self.assertEqual(set(server.peers), {CLIENT[version]})
                # Not one that the client may have itself: connection tracking would take the two for one.
                self.assertLess(max(server.ports), 32768)
                self.assertGreater(min(server.ports), 5000)
                self.assert_summary(gatepost, version)
                gatepost.__exit__(None)
                server.close()

    def send_from(self, source):
        with Wire.over(self.world.client.connect(4, SERVER[4], 25, source=source)) as wire:
            wire.to_data()
            self.assertEqual(wire.say(MESSAGE + b".")[0], 250)
            self.assertEqual(wire.say(b"QUIT")[0], 221)

    def test_a_connection_with_a_spoofed_source_serves_its_client_alone(self):
        server = self.server(4)
        self.serve(4, {"intercept": "tproxy"}, {"original": None, "servers": [SERVER[4] + ":25"], "identity": "spoof"})
        self.tproxy(4)
        self.world.client.address("eth0", ANOTHER + "/24")
        for source in (CLIENT[4], ANOTHER, CLIENT[4]):
            self.send_from(source)
        self.assertEqual(server.peers, [CLIENT[4], ANOTHER, CLIENT[4]])

    def test_a_connection_whose_tls_is_not_ours_serves_its_client_alone(self):
        # Before his STARTTLS it is plain text, where everybody else's mail goes by TLS.
        authority = certificates.Authority(self.place / "ca")
        with self.world.server.inside():
            server = self.enterContext(Downstream(at=(SERVER[4], 25), tls=authority.server_context("mta.example")))
        self.serve(4, {"tls": {"pass_sources": [CLIENT[4]]}},
                   {"original": None, "servers": [SERVER[4] + ":25"], "identity": "none", "accept_source_loss": True,
                    "tls": {"mode": "required"}})
        self.redirect(4)
        server.relays = False
        self.world.client.address("eth0", ANOTHER + "/24")
        with Wire.over(self.world.client.connect(4, SERVER[4], 25, source=CLIENT[4])) as wire:
            self.assertEqual([wire.reply()[0], wire.say(b"EHLO client.example")[0], wire.say(b"QUIT")[0]], [220, 250, 221])
        self.send_from(ANOTHER)
        self.assertEqual((len(server.messages), server.in_plain_text), (1, 0))

    def test_auto_spoofs_where_tproxy_intercepts(self):
        server = self.server(4)
        self.serve(4, {"intercept": "tproxy"})
        self.tproxy(4)
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(set(server.peers), {CLIENT[4]})

    def test_a_server_on_this_host_sees_its_client(self):
        for version in (4, 6):
            with self.subTest(version=version):
                server = self.server(version, self.world.gateway, NEAR[version])
                gatepost = self.serve(version, {"intercept": "tproxy", "scopes": ["input"],
                                                "protected": [NEAR[version]]}, {"identity": "spoof"})
                self.tproxy(version)
                self.assertEqual(self.send(version, NEAR[version])[0], 250)
                self.assertEqual(set(server.peers), {CLIENT[version]})
                gatepost.__exit__(None)
                server.close()

    def test_a_direct_connection_is_closed_and_logged_once(self):
        for intercept in ("redirect", "tproxy"):
            with self.subTest(intercept=intercept):
                gatepost = self.serve(4, {"intercept": intercept})
                for _ in range(5):
                    with self.world.client.connect(4, NEAR[4], PORT) as direct:
                        self.assertEqual(direct.recv(100), b"")
                refused = self.refused(gatepost, "not_intercepted")
                self.assertEqual(len(refused), 1)
                self.assertEqual(refused[0]["listener"], "taken")
                gatepost.__exit__(None)

    def assert_no_destination(self, version, port, reason, **listener):
        server = self.server(version, port=port)
        gatepost = self.serve(version, listener)
        self.redirect(version, ports=str(port))
        with self.world.client.connect(version, SERVER[version], port) as stray:
            self.assertEqual(stray.recv(100), b"")
        (line,) = self.refused(gatepost, reason)
        self.assertEqual((line["listener"], line["direction"], line["clients"]), ("taken", "incoming", 1))
        self.assertEqual(server.opened, 0)
        gatepost.__exit__(None)

    def test_what_is_not_protected_is_no_destination(self):
        for version, others in ((4, "198.51.100.0/24"), (6, "2001:db8:9::/48")):
            with self.subTest(version=version):
                self.assert_no_destination(version, 25, "destination_not_protected", protected=[others])

    def test_a_port_that_nobody_listed_is_no_destination(self):
        for version in (4, 6):
            with self.subTest(version=version):
                self.assert_no_destination(version, 22, "port_not_intercepted")

    def test_outgoing_mail_goes_anywhere_and_nobody_is_examined(self):
        server = self.server(4)
        gatepost = self.serve(4, {"direction": "outgoing", "protected": None})
        self.redirect(4)
        self.assertEqual(self.send(4, SERVER[4])[0], 250)
        self.assertEqual(server.opened, 1)
        self.assert_summary(gatepost, 4, direction="outgoing")

    def turned_away(self, gatepost):
        with self.wire(4, NEAR[4]) as wire:
            self.assertEqual(wire.reply()[0], 421)
        wait_until(lambda: "would be an open relay" in gatepost.log.text(), "the sentence about it")

    def test_outgoing_mail_for_this_host_makes_its_server_no_open_relay(self):
        server = self.server(4, self.world.gateway, NEAR[4])
        server.relays = True
        gatepost = self.serve(4, {"direction": "outgoing", "protected": None})
        self.redirect(4)
        self.turned_away(gatepost)
        self.assertEqual(server.messages, [])

    def test_a_socket_on_loopback_that_tproxy_brings_clients_to_is_no_open_relay(self):
        server = self.server(4, self.world.gateway, LOOPBACK[4], 10026)
        server.relays = True
        gatepost = self.serve_listeners([{"name": "taken", "address": f"{LOOPBACK[4]}:{PORT}", "downstream": "there", "intercept": "tproxy"}],
                                        {"servers": [f"{LOOPBACK[4]}:10026"]})
        self.tproxy(4, more=f"--on-ip {LOOPBACK[4]} ")
        self.turned_away(gatepost)
        self.assertEqual(server.messages, [])

    def taken_on_loopback(self):
        """A listener that clients of this host alone are led to, and behind it a server that relays for this host."""
        server = self.server(4, self.world.gateway, LOOPBACK[4], 10026)
        server.relays = True
        self.serve_listeners([{"name": "taken", "address": f"{LOOPBACK[4]}:{PORT}", "downstream": "there", "intercept": "redirect",
                               "direction": "outgoing", "scopes": ["output"]}], {"servers": [f"{LOOPBACK[4]}:10026"]})
        return server

    def test_a_client_of_this_host_needs_no_proof_whatever_its_address(self):
        server = self.taken_on_loopback()
        self.rules(f"-t nat -A OUTPUT -p tcp --dport 25 -j REDIRECT --to-ports {PORT}", version=4)
        self.assertEqual(self.send(4, NEAR[4], where=self.world.gateway)[0], 250)  # the kernel takes NEAR for its source
        self.assertEqual(server.messages, [MESSAGE])
        wait_until(lambda: self.events(self.gatepost, outcome="answered"), "the summary line")
        self.assertIn(NEAR[4], self.events(self.gatepost, outcome="answered")[0]["client"])

    def test_a_client_that_somebody_brings_to_loopback_from_elsewhere_does(self):
        server = self.taken_on_loopback()
        self.world.gateway.sysctl("net/ipv4/conf/near/route_localnet", 1)
        self.rules(f"-t nat -A PREROUTING -i near -p tcp --dport 25 -j DNAT --to-destination {LOOPBACK[4]}:{PORT}", version=4)
        self.turned_away(self.gatepost)
        self.assertEqual(server.messages, [])

    def assert_the_loop_ends(self, gatepost, version, address, before):
        """By itself, with what the log and the kernel have counted until there is no connection any more."""
        with self.wire(version, address) as wire:
            self.assertEqual(wire.reply()[0], 421)
        wait_until(lambda: self.world.gateway.tcp_counter("CurrEstab") == 0, "the end of all connections")
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        self.assertEqual(self.world.gateway.tcp_counter("PassiveOpens") - before, 2)  # the client's own, and one of ours
        (total,) = self.events(gatepost, event="refused_total", reason="loop")
        self.assertEqual((total["direction"], total["clients"]), ("outgoing", 1))

    def test_our_own_connection_that_comes_back_is_a_loop_and_ends(self):
        for version in (4, 6):
            with self.subTest(version=version):
                server, before = self.server(version), self.world.gateway.tcp_counter("PassiveOpens")
                gatepost = self.serve(version, {"direction": "outgoing", "protected": None, "scopes": ["forward", "output"]})
                self.redirect(version)
                self.rules(f"-t nat -A OUTPUT -p tcp --dport 25 -j REDIRECT --to-ports {PORT}", version=version)
                self.assert_the_loop_ends(gatepost, version, SERVER[version], before)
                self.assertEqual(server.opened, 0)

    def test_our_own_connection_that_a_router_sends_back_is_a_loop_with_tproxy_too(self):
        for version, farther in ((4, "198.51.100.7"), (6, "2001:db8:7::7")):
            with self.subTest(version=version):
                self.world.gateway.ip(f"-{version} route add {farther} via {SERVER[version]}")
                self.world.server.sysctl("net/ipv4/ip_forward" if version == 4 else "net/ipv6/conf/all/forwarding", 1)
                before = self.world.gateway.tcp_counter("PassiveOpens")
                gatepost = self.serve(version, {"intercept": "tproxy", "direction": "outgoing", "protected": None})
                self.tproxy(version)
                self.rules(f"-t mangle -A PREROUTING -i far -p tcp --dport 25 -j TPROXY --tproxy-mark 1 --on-port {PORT}", version=version)
                self.assert_the_loop_ends(gatepost, version, farther, before)

    def test_tls_that_is_passed_on_is_between_client_and_server(self):
        authority = certificates.Authority(self.place / "tls")
        tls = authority.server_context("far.example")
        with self.world.server.inside():
            server = Downstream(tls=tls, at=(SERVER[4], 25))
        self.addCleanup(server.close)
        gatepost = self.serve(4, {"tls": {"mode": "pass"}, "direction": "outgoing", "protected": None})
        self.redirect(4)
        with self.wire(4, SERVER[4]) as wire:
            wire.reply()
            self.assertIn(b"STARTTLS", wire.say(b"EHLO client.example")[1])
            self.assertEqual(wire.say(b"STARTTLS")[0], 220)
            wire.socket = authority.client_context().wrap_socket(wire.socket, server_hostname="far.example")
            wire.say(b"EHLO client.example")
            wire.say(b"MAIL FROM:<a@example.org>")
            wire.say(b"RCPT TO:<b@example.net>")
            self.assertEqual(wire.say(b"DATA")[0], 354)
            wire.send(MESSAGE + b".\r\n")
            self.assertEqual(wire.reply()[0], 250)
            wire.say(b"QUIT")
        self.assertEqual([content for _, _, content in server.messages], [MESSAGE])
        wait_until(lambda: self.events(gatepost, event="passed_unscanned"), "the line about it")

    def test_a_server_that_is_down_is_told_as_such(self):
        gatepost = self.serve(4)
        self.redirect(4)
        with self.wire(4, SERVER[4]) as wire:
            self.assertEqual(wire.reply()[0], 421)
        wait_until(lambda: re.search("downstream_refused", gatepost.log.text()), "the line about it")


if __name__ == "__main__":
    unittest.main()
