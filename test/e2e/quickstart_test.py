#!/usr/bin/env python3
"""The demonstration of appliance/quickstart, with gatepost's embedded defaults, in a network of its own."""
import os
import shutil
import signal
import subprocess
import unittest

from common import IS_ROOT, PATIENCE, PROGRAM, ROOT, Lines, Place, children_of, die_with_parent, wait_until

DEMONSTRATION = os.path.join(ROOT, "appliance/demonstration.py")
# Listens on the port, and becomes the program of its arguments with the socket still open.
HOLD_PORT = """import os, socket, sys
s = socket.create_server(("127.0.0.1", 2525)); s.set_inheritable(True)
os.execvp("python3", ["python3", *sys.argv[1:]])"""
TEST_FILE = "/usr/share/clamav-testfiles/clam.zip"


@unittest.skipUnless(IS_ROOT and shutil.which("ip") and shutil.which("unshare"), "needs root for a network namespace")
@unittest.skipUnless(os.path.exists(TEST_FILE), "clamav-testfiles is not installed")
class Quickstart(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def start(self, *arguments, before="", program="python3"):
        script = f"set -e; ip link set lo up; {before} exec {program} \"$@\""
        return subprocess.Popen(["unshare", "--net", "sh", "-c", script, "sh", DEMONSTRATION, "--gatepost", PROGRAM, "--state",
                                 self.place / "state", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, preexec_fn=die_with_parent)

    def once(self, **more):
        with self.start("--once", **more) as process:
            said = process.communicate(timeout=PATIENCE * 3)[0].decode()
        return process.returncode, said

    def test_once(self):
        status, said = self.once()
        self.assertEqual(status, 0, said)
        self.assertEqual(said.count("as it should"), 3, said)
        self.assertEqual(said.count("was told: 550 5.7.1 "), 2, said)
        for part in ("127.0.0.1:2525", "[::1]:2525", "PROTECT NOBODY"):
            self.assertIn(part, said)
        self.assertNotIn("\033", said)  # no colour where there is no terminal
        self.assertLessEqual(len(said.splitlines()), 14, said)
        path = said.split("The clean message lies at ")[1].splitlines()[0]
        with open(path) as file:
            self.assertIn("Hello, this message is clean.", file.read())

    def test_port_taken(self):
        status, said = self.once(program=f"python3 -c '{HOLD_PORT}'")
        self.assertEqual(status, 0, said)
        self.assertIn("2526", said)
        self.assertRegex(said, "note: .*2525.*taken")

    def test_without_ipv6(self):
        status, said = self.once(before="sysctl -qw net.ipv6.conf.all.disable_ipv6=1; ")
        self.assertEqual(status, 0, said)
        self.assertNotIn("[::1]:2525", said)
        self.assertRegex(said, r"note: .*IPv6")

    def test_serves_until_interrupted(self):
        process = self.start()
        lines = Lines(process.stdout)
        lines.wait_for("goes on serving")
        [gatepost] = children_of(process.pid)
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        lines.ended()
        self.assertEqual(process.returncode, 0, lines.tail())
        wait_until(lambda: not os.path.exists(f"/proc/{gatepost}"), "gatepost has ended")


if __name__ == "__main__":
    unittest.main()
