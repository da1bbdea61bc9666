"""Connections that run while rules of the packet filter come and go: those that were there before go on past gatepost, and
those that were brought to it go on through it until they have ended; nobody's mail is cut off, lost or sent twice."""
import itertools
import os
import signal
import subprocess
import unittest

from common import PROGRAM, Gatepost, Lines, config_for, wait_until
from firewall_case import BACKENDS, Firewall
from firewall_world import CLIENT, NEAR, SERVER, _enter, snapshot
from gate_test import BRIEF, QUEUE
from interception_test import MESSAGE, PORT, Server
from peers import Wire

WAYS = ("redirect", "tproxy")
BY = "let new connections go by gatepost"


class RunningStage(Firewall):
    def setUp(self):
        super().setUp()
        self.servers = {version: Server(self.world.server, version) for version in (4, 6)}
        for server in self.servers.values():
            self.addCleanup(server.close)
        self.before = snapshot(self.gateway)

    def each_kind(self):
        for backend in BACKENDS:
            for way in WAYS:
                with self.subTest(backend=backend, way=way):
                    yield backend, way

    def config(self, backend, way, **firewall):
        config = config_for(self.place, scan=False, loops=1, listener={})
        config["listeners"] = [{"name": f"taken{version}", "address": f"{address}:{PORT}", "downstream": "there", "intercept": way,
                                "scopes": ["forward"], "protected": [SERVER[version]]}
                               for version, address in ((4, "0.0.0.0"), (6, "[::]"))]
        config["downstreams"] = {"there": {"original": True, "identity": "spoof" if way == "tproxy" else "none",
                                           **({"accept_source_loss": True} if way == "redirect" else {})}}
        config["firewall"] = {"backend": backend, "state_directory": str(self.place / "rules"), **firewall}
        return config

    def serve(self, backend, way, config=None, **firewall):
        self.gatepost = Gatepost(self.place, config or self.config(backend, way, **firewall), preexec=lambda: _enter(self.gateway.fd))
        self.addCleanup(self.gatepost.__exit__, None)
        return self.gatepost

    def firewall(self, action, *words, check=True):
        return self.gateway.run([PROGRAM, "firewall", action, *words, "-c", self.place / "gatepost.json"], check=check)

    def connect(self, version):
        return Wire.over(self.world.client.connect(version, SERVER[version], 25))

    def half_sent(self, version):
        """In the middle of a message."""
        wire = self.enterContext(self.connect(version))
        wire.to_data()
        wire.send(MESSAGE[:10])
        return wire

    def assert_rest_is_taken(self, wire, version):
        wire.send(MESSAGE[10:] + b".\r\n")
        self.assertEqual(wire.reply()[0], 250)
        self.assertEqual(self.servers[version].messages.pop(), MESSAGE)

    def is_scanned(self, version):
        """Whether a new connection meets gatepost, which takes no NOOP with a text that is too long."""
        with self.connect(version) as wire:
            self.assertEqual(wire.reply()[0], 220)
            code = wire.say(b"NOOP " + b"x" * 5000)[0]
            wire.say(b"QUIT")
        return code != 250

    def assert_nothing_is_left(self, status=0):
        got, log = self.gatepost.wait()
        self.assertEqual(got, status, log)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def deaf(self, verb):
        """What gatepost says in the server's name does not come to the client any more (verb "-A"), or again."""
        self.world.client.run(["iptables", "-w", verb, "INPUT", "-p", "tcp", "--sport", "25", "-j", "DROP"])


class Running(RunningStage):
    def test_what_ran_before_the_rules_goes_on(self):
        for backend, way in self.each_kind():
            self.serve(backend, way)
            running = {version: self.half_sent(version) for version in (4, 6)}
            self.firewall("apply")
            for version, wire in running.items():
                self.assertTrue(self.is_scanned(version))
                self.assert_rest_is_taken(wire, version)
            self.firewall("remove")
            self.assertMultiLineEqual(snapshot(self.gateway), self.before)
            self.gatepost.__exit__(None)

    def test_a_message_gets_its_250_through_rules_that_go(self):
        for backend, way in self.each_kind():
            gatepost = self.serve(backend, way, manage=True)
            running = {version: self.half_sent(version) for version in (4, 6)}
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for(BY)
            for version, wire in running.items():
                self.assertFalse(self.is_scanned(version))
                self.assert_rest_is_taken(wire, version)
            self.assert_nothing_is_left()

    def test_rules_stay_until_a_client_has_its_last_reply(self):
        for backend, way in self.each_kind():
            gatepost = self.serve(backend, way, manage=True)
            wire = self.half_sent(4)
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for(BY)
            proxy = gatepost.child("proxy")
            self.deaf("-A")
            wire.send(MESSAGE[10:] + b".\r\n")
            wait_until(lambda: not os.path.exists(f"/proc/{proxy}"), "the proxy has ended")
            self.assertEqual(self.servers[4].messages.pop(), MESSAGE)
            self.deaf("-D")
            self.assertEqual(wire.reply()[0], 250)
            self.assert_nothing_is_left()

    def test_a_client_that_takes_nothing_keeps_rules_for_a_while_only(self):
        gatepost = self.serve("nft", "redirect", manage=True)
        wire = self.half_sent(4)
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for(BY)
        self.deaf("-A")
        wire.send(MESSAGE[10:] + b".\r\n")
        gatepost.log.wait_for("1 diverted connections are not waited for any longer")
        self.assert_nothing_is_left()

    def test_what_runs_for_too_long_is_cut_by_gatepost_and_not_by_the_rules(self):
        for backend, way in self.each_kind():
            config = self.config(backend, way, manage=True)
            config["limits"] = {"drain": "100ms"}
            self.serve(backend, way, manage=True, config=config)
            wire = self.half_sent(4)
            self.gatepost.signal(signal.SIGTERM)
            self.assertEqual(wire.reply()[0], 421)
            self.assert_nothing_is_left(status=75)

    def test_remove_waits_for_what_runs(self):
        for backend, way in self.each_kind():
            self.serve(backend, way)
            self.firewall("apply")
            running = {version: self.half_sent(version) for version in (4, 6)}
            removal = self.gateway.popen([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"], stdout=subprocess.DEVNULL,
                                         stderr=subprocess.PIPE)
            said = Lines(removal.stderr)
            # Of a session by TPROXY both sides are known by their addresses: it is one all the same.
            self.assertIn("2 diverted connections go on", said.wait_for("diverted"))
            status = self.firewall("status", check=False).stdout.splitlines()
            self.assertEqual(status[0], f"let new connections by, by {backend}")
            self.assertIn("2 diverted connections run now", status)
            self.assertIn("about to be removed", self.firewall("verify", check=False).stderr)
            for version, wire in running.items():
                self.assertFalse(self.is_scanned(version))
                self.assert_rest_is_taken(wire, version)
                self.assertIsNone(removal.poll())
            for wire in running.values():
                wire.say(b"QUIT")
            self.assertEqual(removal.wait(), 0)
            self.assertMultiLineEqual(snapshot(self.gateway), self.before)
            self.gatepost.__exit__(None)

    def test_remove_leaves_what_is_applied_while_it_waits(self):
        self.serve("nft", "redirect")
        self.firewall("apply")
        wire = self.half_sent(4)
        removal = self.gateway.popen([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"], stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        Lines(removal.stderr).wait_for("1 diverted connections go on")
        self.firewall("apply")
        with removal.stdout:
            self.assertIn(b"others were at work meanwhile", removal.stdout.read())
        self.assertEqual(removal.wait(), 75)
        self.assertTrue(self.is_scanned(4))
        self.assert_rest_is_taken(wire, 4)

    def test_remove_waits_no_longer_than_it_is_told(self):
        self.serve("nft", "redirect")
        self.firewall("apply")
        self.half_sent(4)
        removed = self.firewall("remove", "--drain", "1s")
        self.assertIn("1 diverted connections may be cut off now", removed.stderr)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)
        self.firewall("apply")
        self.half_sent(4)
        self.assertEqual(self.firewall("remove", "--drain", "0").stderr, "")
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)
        self.gatepost.kill()  # it still waits for what does not come any more

    def test_rules_that_are_applied_meanwhile_stay(self):
        for backend, way in self.each_kind():
            gatepost = self.serve(backend, way, manage=True)
            wire = self.half_sent(4)
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for(BY)
            self.assertFalse(self.is_scanned(4))
            self.firewall("apply")  # as a gatepost that is started while this one drains
            self.assert_rest_is_taken(wire, 4)
            status, log = gatepost.wait()
            self.assertEqual(status, 0, log)
            self.assertEqual(self.firewall("status").stdout.splitlines()[0], f"in force, by {backend}")
            self.firewall("remove")
            self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_a_kill_meanwhile_leaves_what_the_next_one_takes_over(self):
        for backend, way in self.each_kind():
            gatepost = self.serve(backend, way, manage=True)
            self.half_sent(4)
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for(BY)
            gatepost.kill()
            self.assertFalse(self.is_scanned(4))
            self.serve(backend, way, manage=True)
            self.assertTrue(self.is_scanned(4))
            self.gatepost.signal(signal.SIGTERM)
            self.assert_nothing_is_left()


class Reused(RunningStage):
    """A port that a client takes again while gatepost still remembers the connection before (TIME_WAIT, for it closes first)."""

    def messages(self, wire):
        """Who greets, after a whole message."""
        with wire:
            wire.to_data()
            self.assertEqual(wire.say(MESSAGE + b".")[0], 250)
            self.assertEqual(wire.say(b"QUIT")[0], 221)
            self.assertEqual(wire.reply()[0], 0)

    ports = itertools.count(40100)

    def each_is_taken(self, version, address):
        port = next(self.ports)
        for _ in range(3):
            connected = self.world.client.connect(version, address, 25, source=(CLIENT[version], port), patience=BRIEF)
            self.messages(Wire.over(connected))
        wait_until(lambda: sum(f":{port}\"" in line and '"outcome":"answered"' in line for line in self.gatepost.log.all) == 3,
                   f"three messages from port {port} through gatepost")

    def test_the_same_port_again(self):
        for backend, way in self.each_kind():
            for gate in ({}, {"gate": {"queue": QUEUE, "on_failure": "closed"}}):
                if gate and backend == "nft":
                    continue
                config = self.config(backend, way, manage=True, **gate)
                for listener, version in zip(config["listeners"], (4, 6)):
                    listener.update(scopes=["input", "forward"], protected=[NEAR[version], SERVER[version]])
                self.serve(backend, way, config=config)
                local = [Server(self.gateway, version) for version in (4, 6)]  # on all addresses, as most do
                for version in (4, 6):
                    for address in (NEAR[version], SERVER[version]):
                        with self.subTest(backend=backend, way=way, gate=gate, address=address):
                            self.each_is_taken(version, address)
                for each in local:
                    each.close()
                self.gatepost.signal(signal.SIGTERM)
                self.assertEqual(self.gatepost.wait()[0], 0)
                self.firewall("remove")  # what is fail-closed


if __name__ == "__main__":
    unittest.main()
