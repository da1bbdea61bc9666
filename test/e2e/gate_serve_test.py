#!/usr/bin/env python3
"""gatepost with its gate, by rules of `gatepost firewall apply`: mail through it, and what becomes of new and of running
connections when the gate, the proxy or the supervisor is killed."""
import os
import signal
import time
import unittest

from common import Gatepost, config_for, only_when_full, wait_until
from firewall_case import Firewall
from firewall_world import ANY, CLIENT, FAR, SERVER, _enter
from gate_test import BRIEF, QUEUE, VERSIONS
from interception_test import MESSAGE, PORT, Server
from peers import Wire


class GateStage(Firewall):
    """gatepost with its gate on the gateway, and a mail server behind."""

    def serve(self, on_failure, **listener):
        """None: without a gate."""
        self.rules.state = self.place / "rules"  # root's alone
        config = config_for(self.place, scan=False, loops=1)
        config["listeners"] = [
            {"name": f"in{version}", "address": f"{ANY[version] if version == 4 else '[::]'}:{PORT}", "downstream": "original",
             "intercept": "redirect", "scopes": ["forward"], "protected": list(SERVER.values()), **listener}
            for version in VERSIONS]
        config["downstreams"] = {}
        config["firewall"] = {"gate": {"queue": QUEUE, "on_failure": on_failure}} if on_failure else {}
        self.config = config
        self.gatepost = Gatepost(self.place, config, preexec=lambda: _enter(self.gateway.fd))
        self.addCleanup(self.gatepost.__exit__, None)
        self.rules.run("apply", "-c", self.place / "gatepost.json")
        self.servers = {version: Server(self.world.server, version) for version in VERSIONS}
        for each in self.servers.values():
            self.addCleanup(each.close)

    def wire(self, version, patience=None):
        return Wire.over(self.world.client.connect(version, SERVER[version], 25, patience=patience))

    def tidy(self):
        self.rules.run("remove", "--drain", "0")
        self.gatepost.__exit__(None)
        for each in self.servers.values():
            each.close()


class GateServe(GateStage):
    def served_by(self, version):
        """Whom the server saw: the client itself, or the gateway."""
        with self.wire(version) as wire:
            self.assertEqual(wire.reply()[0], 220)
            wire.say(b"QUIT")
        seen = self.servers[version].peers[-1]
        return "gatepost" if seen == FAR[version] else "nobody" if seen == CLIENT[version] else seen

    def no_answer(self):
        for version in VERSIONS:
            with self.assertRaises(TimeoutError):
                self.world.client.connect(version, SERVER[version], 25, patience=BRIEF)

    def finish(self, wire):
        """A transaction of a connection that was there before."""
        wire.say(b"EHLO client.example")
        self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
        self.assertEqual(wire.say(b"RCPT TO:<b@example.net>")[0], 250)
        self.assertEqual(wire.say(b"DATA")[0], 354)
        wire.send(MESSAGE + b".\r\n")
        return wire.reply()[0]

    def test_mail_through_the_gate(self):
        self.serve("closed")
        for version in VERSIONS:
            with self.subTest(version=version), self.wire(version) as wire:
                self.assertEqual(wire.reply()[0], 220)
                self.assertEqual(self.finish(wire), 250)
                self.assertEqual(self.servers[version].messages, [MESSAGE])
                self.assertEqual(set(self.servers[version].peers), {FAR[version]})
        gate = self.gatepost.child("gate")
        self.gatepost.signal(signal.SIGTERM)
        status, log = self.gatepost.wait()
        self.assertEqual(status, 0, log)
        self.assertIn("gate: 2 queues from number 4100 on, fail-closed", log)
        self.assertIn("gate: 2 connections taken, 0 passed by", log)
        self.assertFalse(os.path.exists(f"/proc/{gate}"))

    def test_too_many_connections_are_reset_before_they_begin(self):
        self.serve("closed", max_client_connections=2)
        for version in VERSIONS:
            with self.subTest(version=version):
                for _ in range(2):
                    self.assertEqual(self.served_by(version), "gatepost")
                with self.assertRaises(ConnectionRefusedError):
                    self.wire(version)

    def test_a_gate_that_is_killed_is_replaced(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.serve(on_failure)
                running = self.wire(4)
                self.addCleanup(running.__exit__)
                self.assertEqual(running.reply()[0], 220)
                gate = self.gatepost.child("gate")
                os.kill(gate, signal.SIGKILL)
                self.gatepost.log.wait_for(r"the gate \(pid \d+\) ended: SIGKILL; a new one starts in")
                self.gatepost.log.wait_for("gate: 2 queues from number")
                self.assertNotEqual(self.gatepost.child("gate"), gate)
                for version in VERSIONS:
                    self.assertEqual(self.served_by(version), "gatepost")
                self.assertEqual(self.finish(running), 250)
                self.tidy()

    def hung(self, on_failure):
        """Stopped, it holds connections back until the supervisor has noticed; whoever waits is only late."""
        self.serve(on_failure)
        running = self.wire(4)
        self.addCleanup(running.__exit__)
        self.assertEqual(running.reply()[0], 220)
        gate = self.gatepost.child("gate")
        os.kill(gate, signal.SIGSTOP)
        for version in VERSIONS:
            with self.wire(version) as waiting:
                self.assertEqual(waiting.reply()[0], 220)
            self.assertEqual(self.servers[version].peers[-1], FAR[version])
        self.gatepost.log.wait_for(rf"the gate \(pid {gate}\) gives no answer and is replaced")
        self.gatepost.log.wait_for(r"the gate \(pid \d+\) ended: SIGKILL; a new one starts in")
        self.gatepost.log.wait_for("gate: 2 queues from number")
        self.assertFalse(os.path.exists(f"/proc/{gate}"))
        self.assertEqual(self.finish(running), 250)

    def test_a_gate_that_hangs_is_replaced(self):
        self.hung("closed")

    @only_when_full
    def test_a_gate_that_hangs_is_replaced_fail_open(self):
        self.hung("open")

    def test_a_gate_that_answers_is_left_alone(self):
        """For longer than it has to answer, and through a burst of connections."""
        self.serve("closed")
        gate = self.gatepost.child("gate")
        begun = time.monotonic()
        while time.monotonic() - begun < 6:
            self.assertEqual(self.served_by(4), "gatepost")
        self.assertEqual(self.gatepost.child("gate"), gate)
        self.assertNotIn("no answer", self.gatepost.log.text())

    def test_a_gate_that_hangs_goes_with_its_supervisor(self):
        self.serve("open")
        gate = self.gatepost.child("gate")
        os.kill(gate, signal.SIGSTOP)
        self.gatepost.kill()
        wait_until(lambda: not os.path.exists(f"/proc/{gate}"), "the end of the gate")
        self.assertEqual(self.served_by(4), "nobody")

    def test_the_supervisor_is_killed(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.serve(on_failure)
                running = self.wire(4)
                self.addCleanup(running.__exit__)
                self.assertEqual(running.reply()[0], 220)
                gate = self.gatepost.child("gate")
                self.gatepost.kill()
                wait_until(lambda: not os.path.exists(f"/proc/{gate}"), "the end of the gate")
                # Running connections end with the proxy; new ones do what the kernel was told.
                self.assertIn(running.reply()[0], (0, 421))
                if on_failure == "open":
                    for version in VERSIONS:
                        self.assertEqual(self.served_by(version), "nobody")
                else:
                    self.no_answer()
                self.tidy()

    def test_the_proxy_is_killed(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.serve(on_failure)
                proxy = self.gatepost.child("proxy")
                os.kill(proxy, signal.SIGKILL)
                self.gatepost.log.wait_for(r"the proxy \(pid \d+\) ended: SIGKILL; a new one starts in")
                # As soon as there is a new one, its connections are taken again.
                wait_until(lambda: self.tried(4) == "gatepost", "a new proxy")
                self.tidy()

    def tried(self, version):
        try:
            return self.served_by(version)
        except (OSError, AssertionError):
            return None

    def test_a_drain_turns_new_connections_away(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.serve(on_failure)
                running = self.wire(4)
                self.addCleanup(running.__exit__)
                self.assertEqual(running.reply()[0], 220)
                wire_is_busy = self.begin_transaction(running)
                self.gatepost.signal(signal.SIGTERM)
                self.gatepost.log.wait_for("draining")
                for version in VERSIONS:
                    if on_failure == "open":
                        wait_until(lambda: self.tried(version) == "nobody", "mail that goes by")
                    else:
                        wait_until(lambda: self.refused(version), "a reset")
                wire_is_busy()
                self.assertEqual(self.gatepost.wait()[0], 0)
                self.tidy()

    def test_a_listener_without_room_turns_new_connections_away(self):
        for on_failure, turned in (("open", "lets new connections by, unscanned"), ("closed", "resets new connections")):
            with self.subTest(on_failure):
                self.serve(on_failure, max_sessions=1)
                held = {version: self.wire(version) for version in VERSIONS}  # each is a listener of its own
                for wire in held.values():
                    self.addCleanup(wire.__exit__)
                    self.assertEqual(wire.reply()[0], 220)
                for version in VERSIONS:
                    if on_failure == "open":
                        wait_until(lambda: self.tried(version) == "nobody", "mail that goes by")
                    else:
                        wait_until(lambda: self.refused(version), "a reset")
                self.gatepost.log.wait_for(f"listener in. has no room for more sessions: the gate {turned}")
                held[4].say(b"QUIT")
                wait_until(lambda: self.tried(4) == "gatepost", "room again")
                self.assertNotEqual(self.tried(6), "gatepost")
                held[6].say(b"QUIT")
                wait_until(lambda: self.tried(6) == "gatepost", "room again")
                self.tidy()
                self.assertRegex(self.gatepost.log.text(), r"not ready, [1-9]\d* while it was full")

    def refused(self, version):
        try:
            with self.wire(version, BRIEF):
                return False
        except ConnectionRefusedError:
            return True
        except OSError:
            return False

    def begin_transaction(self, wire):
        wire.say(b"EHLO client.example")
        self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
        self.assertEqual(wire.say(b"RCPT TO:<b@example.net>")[0], 250)
        self.assertEqual(wire.say(b"DATA")[0], 354)

        def end():
            wire.send(MESSAGE + b".\r\n")
            self.assertEqual(wire.reply()[0], 250)
        return end


if __name__ == "__main__":
    unittest.main()
