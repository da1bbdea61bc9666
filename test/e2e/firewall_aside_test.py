"""What comes in between while rules step aside for connections that run: another gatepost, somebody who applies rules, a
program that fails, a kill. Nobody is cut off by it, and nothing is left."""
import fcntl
import os
import signal
import subprocess
import unittest

from common import PROGRAM, Gatepost, only_when_full, wait_until
from firewall_running_test import BY, RunningStage
from firewall_tools import Tools
from firewall_world import _enter, snapshot
from interception_test import MESSAGE

STAY = "were applied while gatepost ended, and stay"


class Aside(RunningStage):
    def serve_with(self, tools, backend):
        self.gatepost = Gatepost(self.place, self.config(backend, "redirect", manage=True), before=tools.before,
                                 preexec=lambda: _enter(self.gateway.fd))
        self.addCleanup(self.gatepost.__exit__, None)
        return self.gatepost

    def draining(self, backend="nft", way="redirect"):
        """A gatepost that has stepped aside, and its session."""
        gatepost = self.serve(backend, way, manage=True)
        wire = self.half_sent(4)
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for(BY)
        return gatepost, wire

    def assert_ended(self, gatepost):
        status, log = gatepost.wait()
        self.assertEqual(status, 0, log)
        return log

    def test_a_gatepost_that_ends_does_not_cut_off_another_one(self):
        for way in ("redirect", "tproxy"):
            with self.subTest(way=way):
                first, wire = self.draining(way=way)
                second = self.serve("nft", way, manage=True)
                self.assertTrue(self.is_scanned(4))
                proxy = second.child("proxy")  # asked for now: with nobody to serve it may be gone before the log is read
                second.signal(signal.SIGTERM)
                second.log.wait_for(BY)
                wait_until(lambda pid=proxy: not os.path.exists(f"/proc/{pid}"), "it serves nobody")
                self.assert_rest_is_taken(wire, 4)
                self.assert_ended(second)
                self.assert_ended(first)
                self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_neither_the_one_that_stepped_aside_after_it(self):
        first, wire = self.draining()
        second, another = self.draining()
        proxy = first.child("proxy")
        self.assert_rest_is_taken(wire, 4)
        wait_until(lambda: not os.path.exists(f"/proc/{proxy}"), "it serves nobody")
        self.assert_rest_is_taken(another, 4)
        self.assert_ended(first)
        self.assert_ended(second)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_rules_that_are_applied_meanwhile_stay_and_the_log_says_so(self):
        gatepost, wire = self.draining()
        self.firewall("apply")
        self.assert_rest_is_taken(wire, 4)
        self.assertIn(STAY, self.assert_ended(gatepost))
        self.firewall("remove")
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_rules_that_nobody_has_confirmed_yet_step_aside(self):
        gatepost = self.serve("nft", "redirect", manage=True)
        wire = self.half_sent(4)
        self.firewall("apply", "--confirm-within", "300s")
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for(BY)
        self.assert_rest_is_taken(wire, 4)
        self.assert_nothing_is_left()

    def test_rules_that_were_half_replaced_step_aside(self):
        tools = Tools(self.place)
        gatepost = self.serve("iptables", "redirect", manage=True)
        wire = self.half_sent(4)
        tools.at({"argv": ["ip6tables-restore", "-w", "--noflush"]}, "hang")
        applying = self.gateway.popen([*tools.before, PROGRAM, "firewall", "apply", "-c", self.place / "gatepost.json"],
                                      stdout=subprocess.DEVNULL)
        program = tools.wait_for_hanging()
        applying.kill()
        applying.wait()
        os.kill(program, signal.SIGKILL)
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for(BY)
        self.assert_rest_is_taken(wire, 4)
        self.assert_nothing_is_left()

    def test_a_program_that_fails_once_cuts_nobody_off(self):
        tools = Tools(self.place)
        for backend, step in (("nft", ["nft", "-f", "-"]), ("iptables", ["ip6tables-restore", "-w", "--noflush"])):
            with self.subTest(backend=backend):
                gatepost = self.serve_with(tools, backend)
                wire = self.half_sent(4)
                tools.at({"argv": step}, "fail")
                gatepost.signal(signal.SIGTERM)
                gatepost.log.wait_for("cannot step aside, next try now: .* told to fail")
                gatepost.log.wait_for(BY)
                self.assert_rest_is_taken(wire, 4)
                self.assert_nothing_is_left()

    @only_when_full
    def test_neither_does_somebody_who_has_the_lock_for_long(self):
        gatepost = self.serve("nft", "redirect", manage=True)
        wire = self.half_sent(4)
        lock = os.open(self.place / "rules", os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("cannot step aside, next try now: .* has held the lock", 40)
        fcntl.flock(lock, fcntl.LOCK_UN)
        gatepost.log.wait_for(BY)
        self.assert_rest_is_taken(wire, 4)
        self.assert_nothing_is_left()

    def test_what_a_kill_has_left_to_a_client_that_takes_nothing_is_not_waited_for(self):
        gatepost = self.serve("nft", "redirect", manage=True)
        wire = self.half_sent(4)
        self.deaf("-A")
        wire.send(MESSAGE[10:] + b".\r\n")
        wait_until(lambda: self.servers[4].messages, "the message, whose reply its client does not get")
        gatepost.kill()
        removed = self.gateway.run([PROGRAM, "firewall", "remove", "--unless-fail-closed", "-c", self.place / "gatepost.json"])
        self.assertIn("1 diverted connections may be cut off now", removed.stderr)  # after 5 s, and not after 60
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def fail_to_apply(self, tools):
        tools.at({"argv": ["nft", "-f", "-"]}, "fail")
        failed = self.gateway.run([*tools.before, PROGRAM, "firewall", "apply", "-c", self.place / "gatepost.json"], check=False)
        self.assertIn("the rules that were in force before are in force again", failed.stderr)

    def test_who_fails_to_apply_others_meanwhile_cuts_nobody_off(self):
        tools = Tools(self.place)
        gatepost = self.serve("nft", "redirect")
        self.firewall("apply")
        wire = self.half_sent(4)
        removal = self.gateway.popen([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"],
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.assertIn("1 diverted connections go on", removal.stderr.readline())
        self.fail_to_apply(tools)
        self.assert_rest_is_taken(wire, 4)
        wire.say(b"QUIT")
        said, _ = removal.communicate()
        self.assertEqual(removal.returncode, 0, said)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)
        gatepost.kill()

    def test_nor_those_that_another_gatepost_serves(self):
        tools = Tools(self.place)
        first, wire = self.draining()
        second, another = self.draining()
        proxy = first.child("proxy")
        self.assert_rest_is_taken(wire, 4)
        wait_until(lambda: not os.path.exists(f"/proc/{proxy}"), "it serves nobody")
        self.fail_to_apply(tools)
        self.assert_rest_is_taken(another, 4)
        self.assert_ended(first)
        self.assert_ended(second)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def test_nothing_is_left_of_what_was_confirmed(self):
        self.serve("nft", "redirect")
        self.firewall("apply", "--confirm-within", "300s")
        self.firewall("confirm")
        self.firewall("remove")
        self.assert_no_file()

    def test_nor_of_what_nobody_has_confirmed_and_that_stepped_aside(self):
        self.serve("nft", "redirect")
        self.firewall("apply", "--confirm-within", "300s")
        wire = self.half_sent(4)
        removal = self.gateway.popen([PROGRAM, "firewall", "remove", "-c", self.place / "gatepost.json"],
                                     stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.assertIn("1 diverted connections go on", removal.stderr.readline())
        self.assert_rest_is_taken(wire, 4)
        wire.say(b"QUIT")
        removal.communicate()
        self.assert_no_file()

    def test_who_waits_for_the_confirmation_and_is_slow_brings_nothing_back(self):
        self.serve("nft", "redirect")
        self.firewall("apply")
        self.firewall("apply", "--confirm-within", "300s")
        (guardian,) = self.guardians()
        os.kill(guardian, signal.SIGSTOP)
        self.firewall("confirm")
        self.firewall("remove")
        os.kill(guardian, signal.SIGCONT)
        wait_until(lambda: not os.path.exists(f"/proc/{guardian}"), "its end")
        self.assert_no_file()
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    def guardians(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if "--confirm-within" in words and self.place / "gatepost.json" in words:
                found.append(int(pid))
        return found

    def assert_no_file(self):
        wait_until(lambda: not os.path.exists(self.place / "rules/firewall.json"), "nothing is remembered")

    def test_what_the_timer_brings_back_is_removed_when_nobody_is_left(self):
        gatepost, wire = self.draining()
        self.firewall("apply", "--confirm-within", "2s")
        self.assert_rest_is_taken(wire, 4)
        self.assert_ended(gatepost)
        wait_until(lambda: not os.path.exists(self.place / "rules/firewall.json"), "the end of the timer's work")
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)


if __name__ == "__main__":
    unittest.main()
