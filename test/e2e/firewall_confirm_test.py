#!/usr/bin/env python3
"""gatepost firewall apply --confirm-within: whoever has locked himself out gets in again."""
import os
import shutil
import signal
import subprocess
import unittest

from common import PROGRAM, wait_until
from firewall_case import BACKENDS, EVERYTHING, NOT_APPLIED, NOT_CONFIRMED, Firewall
from firewall_tools import Tools
from firewall_world import NEAR, StandIn, reach, snapshot


class Confirm(Firewall):
    """With a time of one second nobody has to wait for long."""

    def reached(self):
        with StandIn(self.gateway, 4, 2525, "proxy"), StandIn(self.gateway, 4, 25, "mta"):
            return reach(self.world.client, 4, NEAR[4], 25)[0]

    def guardians(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline") as file:
                    if self.rules.state in file.read():
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def test_not_confirmed_in_time(self):
        for backend, before in self.each_host():
            config = self.configured(backend)
            self.rules.run("apply", "-c", config, "--confirm-within", "1s")
            self.assertEqual(self.reached(), "proxy")
            wait_until(lambda: not self.applied() and not self.guardians(), "the rules are taken back")
            self.expect(before)
            self.assertEqual(self.reached(), "mta")
            self.assertEqual(self.rules.run("confirm", check=False).returncode, NOT_APPLIED)

    def test_confirmed(self):
        for backend, before in self.each_host():
            config = self.configured(backend)
            applied = self.rules.run("apply", "-c", config, "--confirm-within", "1h")
            self.assertIn(f'unless "gatepost firewall confirm --state {self.rules.state}" is run', applied.stderr)
            self.assertEqual(len(self.guardians()), 1)
            self.assertFalse(self.rules.told("status")["confirmed"])
            # Until then nobody changes anything else.
            self.assertEqual(self.rules.run("apply", "-c", config, check=False).returncode, NOT_CONFIRMED)
            self.assertEqual(self.rules.run("confirm").stdout, "confirmed\n")
            wait_until(lambda: not self.guardians(), "nobody waits any more")
            self.assertTrue(self.rules.told("status")["confirmed"])
            self.rules.run("remove")
            self.expect(before)

    def test_removed_before_the_time(self):
        before = snapshot(self.gateway)
        self.rules.run("apply", "-c", self.configured("nft"), "--confirm-within", "1h")
        self.rules.run("remove")
        wait_until(lambda: not self.guardians(), "nobody waits any more")
        self.expect(before)

    def test_not_confirmed_while_the_state_cannot_be_read(self):
        def garbage(directory):
            with open(os.path.join(directory, "firewall.json"), "w") as file:
                file.write("{")
        harms = {"others may write there": (lambda directory: os.chmod(directory, 0o775), False),
                 "it is gone": (shutil.rmtree, True),
                 "the file is gone": (lambda directory: os.unlink(os.path.join(directory, "firewall.json")), False),
                 "the file is garbage": (garbage, True)}
        for what, (harm, former) in harms.items():
            with self.subTest(what):
                before = snapshot(self.gateway)
                if former:
                    self.rules.run("apply", "-c", self.configured("nft", *EVERYTHING[:3]))
                in_force = snapshot(self.gateway)
                self.rules.run("apply", "-c", self.configured("nft"), "--confirm-within", "1s")
                self.assertNotEqual(snapshot(self.gateway), in_force)
                harm(self.rules.state)
                wait_until(lambda: not self.guardians(), "the rules are taken back")
                self.expect(in_force)
                if os.path.isdir(self.rules.state):
                    os.chmod(self.rules.state, 0o755)
                self.rules.run("remove")
                self.expect(before)

    def test_a_change_that_is_not_confirmed_gives_way_to_what_was_in_force(self):
        for backend, before in self.each_host():
            self.rules.run("apply", "-c", self.configured(backend, *EVERYTHING[:3]))
            in_force = snapshot(self.gateway)
            self.rules.run("apply", "-c", self.configured(BACKENDS[1 - BACKENDS.index(backend)]), "--confirm-within", "1s")
            wait_until(lambda: not self.guardians(), "the rules are taken back")
            self.expect(in_force)
            self.rules.run("remove")
            self.expect(before)

    def test_the_connection_breaks_and_the_command_is_killed(self):
        """As over ssh: the terminal goes, and with it all that the command has started, but not who takes the rules back."""
        tools = Tools(self.place)
        before = snapshot(self.gateway)
        config = self.configured("nft")
        tools.at(self.rules.told("plan", "-c", config)["plan"]["apply"][-1], "hang")
        process = self.gateway.popen(["setsid", *tools.before, PROGRAM, "firewall", "apply", "-c", config, "--state", self.rules.state,
                                      "--confirm-within", "1s"], stdout=subprocess.DEVNULL)
        hanging = tools.wait_for_hanging()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        wait_until(lambda: not os.path.exists(f"/proc/{hanging}"), "programs end with who runs them")
        wait_until(lambda: not self.applied() and not self.guardians(), "the rules are taken back")
        self.expect(before)

    def test_on_a_terminal_enter_confirms(self):
        config = self.configured("nft")
        for key, status, said in ((b"\n", 0, "They are kept."), (b"", NOT_CONFIRMED, "Not confirmed: they are taken back."),
                                  (b"\x04", NOT_CONFIRMED, "Not confirmed: they are taken back when the time is over.")):
            terminal, inner = os.openpty()
            process = self.gateway.popen([PROGRAM, "firewall", "apply", "-c", config, "--state", self.rules.state, "--confirm-within",
                                          "1h" if key == b"\n" else "3s"], stdin=inner, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            os.close(inner)
            wait_until(self.applied, "the rules are in force")
            os.write(terminal, key)
            self.assertEqual(process.wait(60), status)
            told = process.stderr.read()
            self.assertIn("Press Enter", told)
            self.assertEqual(told.splitlines()[-1].rpartition(": " if status == 0 else "\n")[-1], said)
            process.stderr.close()
            os.close(terminal)
            wait_until(lambda: not self.guardians(), "nobody waits any more")
            self.assertEqual(self.applied(), status == 0)
            self.rules.run("remove")


if __name__ == "__main__":
    unittest.main()
