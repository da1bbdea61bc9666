"""firewall.manage while the programs of the packet filter take their time: gatepost goes on meanwhile with all that it is
there for, and rules are in force from when somebody serves to before nobody does, whatever happens in between."""
import fcntl
import os
import shutil
import signal
import unittest

from common import PROGRAM, Gatepost, children_of, config_for, role_of, wait_until
from firewall_case import BACKENDS, Firewall
from firewall_tools import Tools
from firewall_world import CLIENT, FAR, SERVER, _enter, snapshot
from gate_test import BRIEF, QUEUE
from interception_test import PORT, Server
from peers import Wire

IN, OUT = "rules go in", "rules go"
# The first program that changes anything, by backend and by what is under way.
STEPS = {("nft", IN): ["nft", "-f", "-"], ("nft", OUT): ["nft", "-f", "-"],
         ("iptables", IN): ["iptables-restore", "-w", "--noflush"],
         ("iptables", OUT): ["iptables-restore", "-w", "--noflush"]}


class ManagedStage(Firewall):
    def setUp(self):
        super().setUp()
        self.server = Server(self.world.server, 4)
        self.addCleanup(self.server.close)
        self.tools = Tools(self.place)
        self.before = snapshot(self.gateway)

    def wait_in(self, backend, when):
        self.tools.at({"argv": STEPS[backend, when]}, "wait")

    def serve(self, backend, wait_ready=True, words=(), more=None, port=PORT, **firewall):
        config = config_for(self.place, scan=False, loops=1, listener={
            "address": f"0.0.0.0:{port}", "downstream": "original", "intercept": "redirect", "scopes": ["forward"],
            "protected": [SERVER[4]]}, downstreams={})
        config.update(more or {})
        config["firewall"] = {"manage": True, "backend": backend, "state_directory": str(self.place / "rules"), **firewall}
        self.gatepost = Gatepost(self.place, config, preexec=lambda: _enter(self.gateway.fd), before=(*self.tools.before, *words),
                                 wait_ready=wait_ready)
        self.addCleanup(self.gatepost.__exit__, None)
        return self.gatepost

    def greeted_by(self):
        with Wire.over(self.world.client.connect(4, SERVER[4], 25)) as wire:
            self.assertEqual(wire.reply()[0], 220)
            wire.say(b"QUIT")
        return {FAR[4]: "gatepost", CLIENT[4]: "the server"}[self.server.peers[-1]]

    def worker(self):
        """Whoever runs the programs: it alone has kept the account of the supervisor."""
        (pid,) = [pid for pid in children_of(self.gatepost.pid) if role_of(pid) is None]
        return pid

    def wait_for_end_of(self, pid):
        wait_until(lambda: not os.path.exists(f"/proc/{pid}"), f"the end of {pid}")

    def assert_proxy_is_replaced(self):
        killed = self.gatepost.child("proxy")
        os.kill(killed, signal.SIGKILL)
        self.gatepost.log.wait_for(rf"the proxy \(pid {killed}\) ended: SIGKILL; a new one starts")
        wait_until(lambda: self.gatepost.child("proxy") != killed, "another proxy")

    def each_backend(self):
        for backend in BACKENDS:
            with self.subTest(backend=backend):
                yield backend

    def assert_ended_without_trace(self, with_status=0):
        status, log = self.gatepost.wait()
        self.assertEqual(status, with_status, log)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def remove_by_hand(self):
        self.gateway.run([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"])
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)


class ManagedRules(ManagedStage):
    def test_a_proxy_is_replaced_while_rules_go_in(self):
        for backend in self.each_backend():
            self.wait_in(backend, IN)
            gatepost = self.serve(backend, wait_ready=False)
            self.tools.wait_for_hanging()
            self.assertEqual(self.greeted_by(), "the server")
            self.assert_proxy_is_replaced()
            gatepost.signal(signal.SIGHUP)
            gatepost.log.wait_for("SIGHUP: certificates and keys are read again")
            self.assertNotIn("gatepost is serving", gatepost.log.text())
            self.tools.go_on()
            gatepost.log.wait_for(f"the rules of the packet filter are in force, by {backend}")
            gatepost.log.wait_for("gatepost is serving")
            self.assertEqual(self.greeted_by(), "gatepost")
            gatepost.signal(signal.SIGTERM)
            self.assert_ended_without_trace()

    def test_a_proxy_is_replaced_while_rules_go(self):
        for backend in self.each_backend():
            gatepost = self.serve(backend)
            self.wait_in(backend, OUT)
            gatepost.signal(signal.SIGTERM)
            self.tools.wait_for_hanging()
            self.assertEqual(self.greeted_by(), "gatepost")  # nobody meets a closed port
            self.assert_proxy_is_replaced()
            self.assertEqual(self.greeted_by(), "gatepost")
            self.tools.go_on()
            gatepost.log.wait_for("the rules of the packet filter let new connections go by")
            self.assertEqual(self.greeted_by(), "the server")
            self.assert_ended_without_trace()

    def test_term_while_rules_go_in_withdraws_them_when_they_are_in(self):
        for backend in self.each_backend():
            self.wait_in(backend, IN)
            gatepost = self.serve(backend, wait_ready=False)
            self.tools.wait_for_hanging()
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for("SIGTERM: draining")
            self.tools.go_on()
            gatepost.log.wait_for("the rules of the packet filter are in force")
            gatepost.log.wait_for("the rules of the packet filter are withdrawn")
            self.assert_ended_without_trace()
            self.assertNotIn("gatepost is serving", gatepost.log.text())

    def test_term_while_rules_go_in_leaves_those_that_are_fail_closed(self):
        self.wait_in("iptables", IN)
        gatepost = self.serve("iptables", wait_ready=False, gate={"queue": QUEUE, "on_failure": "closed"})
        self.tools.wait_for_hanging()
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("SIGTERM: draining")
        self.tools.go_on()
        gatepost.log.wait_for("the rules of the packet filter are in force")
        gatepost.log.wait_for("the rules of the packet filter stay")
        self.assertEqual(gatepost.wait()[0], 0)
        with self.assertRaises(TimeoutError):
            self.world.client.connect(4, SERVER[4], 25, patience=BRIEF)
        self.gateway.run([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"])
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_fail_closed_rules_whose_worker_is_killed_half_way_are_whole_at_the_end(self):
        self.wait_in("iptables", IN)
        gatepost = self.serve("iptables", wait_ready=False, gate={"queue": QUEUE, "on_failure": "closed"})
        self.tools.wait_for_hanging()
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("SIGTERM: draining")
        os.kill(self.worker(), signal.SIGKILL)
        gatepost.log.wait_for("may be in force in part: .* they go in once more")
        gatepost.log.wait_for("the rules of the packet filter are in force")
        gatepost.log.wait_for("the rules of the packet filter stay")
        self.assertEqual(gatepost.wait()[0], 0)
        with self.assertRaises(TimeoutError):
            self.world.client.connect(4, SERVER[4], 25, patience=BRIEF)
        self.remove_by_hand()

    def test_a_second_term_waits_a_while_for_who_changes_rules_and_never_ends(self):
        gatepost = self.serve("nft")
        lock = os.open(self.place / "rules", os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a gatepost firewall apply that was stopped
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("SIGTERM: draining")
        self.assertEqual(self.greeted_by(), "gatepost")
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("rules of the packet filter are left.*; run gatepost firewall remove")
        self.assertEqual(gatepost.wait()[0], 75)
        fcntl.flock(lock, fcntl.LOCK_UN)
        self.remove_by_hand()

    def test_rules_of_an_earlier_life_go_with_a_term_before_anybody_is_ready(self):
        scanner = self.place / "scanner-that-loads"
        with open(scanner, "w") as script:
            script.write("#!/bin/sh\nexec sleep 600\n")
        os.chmod(scanner, 0o755)
        loads = {"scanners": {"clamav": {"engine": "libclamav", "signatures": [self.place.signatures()], "workers": 1}}}
        for backend in self.each_backend():
            self.serve(backend).kill()
            gatepost = self.serve(backend, wait_ready=False, words=("env", f"GATEPOST_SCANNER={scanner}"), more=loads)
            gatepost.log.wait_for("gatepost .* starts")
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for("the rules of the packet filter are withdrawn")
            self.assertEqual(self.greeted_by(), "the server")
            self.assert_ended_without_trace()

    def test_who_cannot_begin_says_that_rules_of_an_earlier_life_are_in_force(self):
        self.serve("nft").kill()
        gatepost = self.serve("nft", wait_ready=False, more={"log": {"to": str(self.place / "no/such/log")}})
        status, said = gatepost.wait()
        self.assertEqual(status, 78, said)
        self.assertIn("rules of the packet filter are in force: unless another gatepost serves", said)
        self.remove_by_hand()

    def test_who_finds_its_port_taken_says_nothing_of_the_rules_of_the_one_that_serves(self):
        self.serve("nft")
        status, said = self.serve("nft", wait_ready=False).wait()
        self.assertEqual(status, 78, said)
        self.assertIn("the port is taken", said)
        self.assertNotIn("rules of the packet filter", said)
        # Nor where it fails before it comes to the port.
        config = {"spool": {"directory": str(self.place / "gatepost.json")}}
        status, said = self.serve("nft", wait_ready=False, more=config).wait()
        self.assertEqual(status, 78, said)
        self.assertIn("is not a directory", said)
        self.assertNotIn("rules of the packet filter", said)

    @unittest.skipUnless(shutil.which("strace"), "needs strace")
    def test_who_cannot_begin_at_all_withdraws_rules_of_an_earlier_life(self):
        self.serve("nft").kill()
        # The sanitizers' search for leaks is a tracer itself.
        no_leaks = "ASAN_OPTIONS=" + os.environ.get("ASAN_OPTIONS", "").replace("detect_leaks=1", "detect_leaks=0")
        failing = ("env", no_leaks, "strace", "-f", "-qq", "-o", os.devnull, "-e", "trace=capset", "-e", "inject=capset:error=EPERM")
        status, said = self.serve("nft", wait_ready=False, words=failing).wait()
        self.assertEqual(status, 78, said)
        self.assertIn("the rules of the packet filter are withdrawn", said)
        self.assertIn("cannot start", said)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_rules_that_cannot_step_aside_go_at_once(self):
        for backend in self.each_backend():
            gatepost = self.serve(backend)
            self.tools.at({"argv": STEPS[backend, OUT]}, "fail twice")
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for("the rules of the packet filter go at once, and what they divert may be cut off: .* told to fail")
            self.assert_ended_without_trace()

    def test_rules_that_cannot_be_removed_are_an_end_with_something_left(self):
        gatepost = self.serve("iptables")
        self.tools.at({"argv": ["iptables", "-w", "-t", "nat", "-D", "PREROUTING", "-j", "GATEPOST"]}, "fail")
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("rules of the packet filter are left: .* told to fail; run gatepost firewall remove")
        self.assertEqual(gatepost.wait()[0], 75)
        self.remove_by_hand()

    def test_a_second_term_cuts_when_new_connections_go_by(self):
        gatepost = self.serve("nft")
        with Wire.over(self.world.client.connect(4, SERVER[4], 25)) as wire:
            self.assertEqual(wire.reply()[0], 220)
            wire.say(b"EHLO client.example")
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            self.wait_in("nft", OUT)
            gatepost.signal(signal.SIGTERM)
            self.tools.wait_for_hanging()
            gatepost.signal(signal.SIGTERM)
            gatepost.log.wait_for("ending now: what still runs is cut")
            self.assertEqual(wire.say(b"RCPT TO:<b@example.com>")[0], 250)
            self.tools.go_on()
            self.assertEqual(wire.reply()[0], 421)
            self.assert_ended_without_trace(with_status=75)
        aside, _, behind = gatepost.log.text().partition("let new connections go by")
        self.assertEqual(('"outcome":"aborted"' in aside, '"outcome":"aborted"' in behind), (False, True))

    def test_a_worker_that_is_killed_is_followed_by_another(self):
        for backend in self.each_backend():
            self.wait_in(backend, IN)
            gatepost = self.serve(backend, wait_ready=False)
            for outcome, when in (("are in force", IN), ("let new connections go by", OUT)):
                program = self.tools.wait_for_hanging()
                os.kill(self.worker(), signal.SIGKILL)
                gatepost.log.wait_for("the rules of the packet filter are not .*: their process ended: SIGKILL; next try in")
                gatepost.log.wait_for("the rules of the packet filter " + outcome)
                wait_until(lambda: not os.path.exists(f"/proc/{program}"), "nothing goes on behind the other's back")
                if when == IN:
                    self.assertEqual(self.greeted_by(), "gatepost")
                    self.wait_in(backend, OUT)
                    gatepost.signal(signal.SIGTERM)
            self.assert_ended_without_trace()

    def test_a_killed_supervisor_leaves_nobody_who_goes_on(self):
        self.wait_in("nft", IN)
        gatepost = self.serve("nft", wait_ready=False)
        program, worker = self.tools.wait_for_hanging(), self.worker()
        gatepost.kill()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in (worker, program)), "both are gone")
        self.gateway.run([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"])
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)


if __name__ == "__main__":
    unittest.main()
