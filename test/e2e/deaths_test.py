#!/usr/bin/env python3
"""Each process is killed under load: the clients in flight get 4yz or a closed connection, never 250 for what is not
stored, and the service comes back."""
import os
import signal
import smtplib
import threading
import unittest

from common import IS_ROOT, PATIENCE, Gatepost, Place, children_of, config_for, maildir_files, wait_until
from peers import Downstream
from scanner_mails import EICAR, mail

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"


def marked(marker):
    return b"X-Gatepost-Test: " + marker + b"\r\n" + CLEAN


@unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
class Deaths(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, **more):
        config = config_for(self.place, scanner={"test_hooks": True, "workers": 2}, **more)
        return self.enterContext(Gatepost(self.place, config))

    def send(self, gatepost, content):
        """The reply to end of data."""
        with gatepost.smtp() as client:
            try:
                client.sendmail("a@example.org", ["b@example.org"], content)
                return 250
            except smtplib.SMTPDataError as error:
                return error.smtp_code

    def comes_back(self, gatepost):
        def served():
            try:
                return self.send(gatepost, CLEAN) == 250
            except (OSError, smtplib.SMTPException):
                return False
        wait_until(served, "mail is taken again; the log:\n" + gatepost.log.tail())
        self.assertEqual(self.send(gatepost, mail(text=EICAR + b"\r\n")), 550)

    def at_data(self, gatepost):
        wire = self.enterContext(gatepost.wire())
        wire.to_data()
        return wire

    def hanging(self, gatepost):
        """A client whose message is with a worker that never ends; and the worker."""
        scanner = gatepost.child("scanner")
        before = set(children_of(scanner))
        wire = self.at_data(gatepost)
        wire.send(marked(b"hang") + b".\r\n")

        def busy():
            for pid in children_of(scanner):
                with open(f"/proc/{pid}/syscall") as file:
                    if file.read().split()[0] == PAUSE:
                        return pid
            return None
        return wire, wait_until(busy, f"a worker that hangs; workers before: {before}")

    def test_worker_that_crashes(self):
        gatepost = self.gatepost()
        for marker in (b"crash", b"abort", b"exit"):
            self.assertEqual(self.send(gatepost, marked(marker)), 451)
            self.assertEqual(self.send(gatepost, CLEAN), 250)

    def test_crashes_among_parallel_mail(self):
        gatepost = self.gatepost()
        replies, stop = [], threading.Event()

        def crash():
            while not stop.is_set():
                self.send(gatepost, marked(b"crash"))

        def clean():
            replies.extend(self.send(gatepost, CLEAN) for _ in range(50))

        crasher = threading.Thread(target=crash)
        senders = [threading.Thread(target=clean) for _ in range(4)]
        for thread in [crasher, *senders]:
            thread.start()
        for thread in senders:
            thread.join()
        stop.set()
        crasher.join()
        self.assertEqual(replies, [250] * 200)

    def test_worker_killed(self):
        gatepost = self.gatepost()
        wire, worker = self.hanging(gatepost)
        os.kill(worker, signal.SIGKILL)
        self.assertEqual(wire.reply()[0], 451)
        self.comes_back(gatepost)

    def test_worker_that_hangs(self):
        gatepost = self.gatepost(limits={"scan_wait": "1s"})
        wire, _ = self.hanging(gatepost)
        self.assertEqual(wire.reply()[0], 451)
        self.assertEqual(gatepost.summary(action="defer")["status"], "UNSCANNABLE:time")
        self.comes_back(gatepost)

    def test_nursery_killed(self):
        gatepost = self.gatepost()
        scanner = gatepost.child("scanner")
        wire, worker = self.hanging(gatepost)
        os.kill(scanner, signal.SIGKILL)
        self.assertEqual(wire.reply()[0], 451)
        wait_until(lambda: not os.path.exists(f"/proc/{worker}"), "the workers die with it")
        self.comes_back(gatepost)

    def test_keeper_killed(self):
        gatepost = self.gatepost()
        wire = self.at_data(gatepost)
        keeper = gatepost.child("keeper")
        os.kill(keeper, signal.SIGSTOP)
        wire.send(CLEAN + b".\r\n")
        # What is scanned by now waits for the keeper, or will find none.
        self.assertEqual(self.send_infected_meanwhile(gatepost), 0)
        os.kill(keeper, signal.SIGKILL)
        code, text = wire.reply()
        stored = len(maildir_files(self.place / "mail"))
        self.assertTrue(code == 451 and stored <= 1 or code == 250 and stored == 1, (code, text, stored))
        self.comes_back(gatepost)

    def send_infected_meanwhile(self, gatepost):
        """A session without the keeper: the banner comes, RCPT is not answered. 0 = nothing was claimed."""
        with gatepost.wire() as wire:
            self.assertEqual(wire.reply()[0], 220)
            wire.send(b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\n")
            self.assertEqual((wire.reply()[0], wire.reply()[0]), (250, 250))
        return 0

    def test_proxy_killed(self):
        held, release = threading.Event(), threading.Event()

        def on_data(_):
            if not release.is_set():
                held.set()
                release.wait(PATIENCE * 2)

        downstream = self.enterContext(Downstream(on_data))
        self.addCleanup(release.set)
        gatepost = self.gatepost(servers=[downstream.address])
        idle = self.enterContext(gatepost.wire())
        self.assertEqual(idle.reply()[0], 220)
        wire = self.at_data(gatepost)
        wire.send(CLEAN + b".\r\n")
        self.assertTrue(held.wait(PATIENCE), gatepost.log.tail())
        os.kill(gatepost.child("proxy"), signal.SIGKILL)
        self.assertEqual(wire.reply(), (0, b""))
        self.assertEqual(idle.reply(), (0, b""))
        release.set()
        line = gatepost.log.wait_for(r'"outcome":"unknown"')
        for part in ('"size":%d' % len(CLEAN), downstream.address, '"id":"', '"hash":"', '"client":"127.0.0.1:', '"listener":"'):
            self.assertIn(part, line)
        self.comes_back(gatepost)

    def test_supervisor_killed(self):
        gatepost = self.gatepost()
        processes = gatepost.children()
        self.assertGreaterEqual(len(processes), 3)
        gatepost.kill()
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in processes), "nobody outlives the supervisor")


# pause(2); libc uses ppoll where an architecture has none.
PAUSE = {"x86_64": "34"}.get(os.uname().machine, "73")

if __name__ == "__main__":
    unittest.main()
