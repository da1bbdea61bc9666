#!/usr/bin/env python3
"""Whoever hangs, has lost a socket or cannot be started for want of descriptors is replaced, sooner or later, and the
supervisor outlives it all; whoever is well stays."""
import contextlib
import os
import re
import signal
import smtplib
import subprocess
import unittest

from common import IS_ROOT, Gatepost, Place, children_of, config_for, descriptors_of, wait_until
from scanner_mails import EICAR, mail

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
PAUSE = {"x86_64": "34"}.get(os.uname().machine, "73")  # pause(2); libc uses ppoll where an architecture has none


@contextlib.contextmanager
def leave_descriptors(pid, free):
    """Meanwhile the process gets no more than `free` new descriptors."""
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    limit = holes = 0
    while limit in used or holes < free:
        holes += limit not in used
        limit += 1
    with open(f"/proc/{pid}/limits") as file:
        before = re.search(r"^Max open files +(\d+)", file.read(), re.M)[1]
    with open(f"/proc/{pid}/status") as file:
        account = int(re.search(r"^Uid:\s+(\d+)", file.read(), re.M)[1])

    def allow(count):
        # As the process's own account: even root may need a capability for another's.
        subprocess.run(["prlimit", f"--pid={pid}", f"--nofile={count}:"], user=account, group=account, extra_groups=[], check=True)

    allow(limit)
    yield
    if os.path.exists(f"/proc/{pid}"):
        allow(before)


@unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
class Replacements(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, config):
        return self.enterContext(Gatepost(self.place, config))

    def reply_to(self, gatepost, content):
        """The code that the sender ends with; 0 = the connection was lost."""
        try:
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], content)
                return 250
        except smtplib.SMTPDataError as error:
            return error.smtp_code
        except smtplib.SMTPRecipientsRefused as error:
            return next(iter(error.recipients.values()))[0]
        except (OSError, smtplib.SMTPException):
            return 0

    def comes_back(self, gatepost):
        wait_until(lambda: self.reply_to(gatepost, CLEAN) == 250, "mail is taken again; the log:\n" + gatepost.log.tail())

    def wait_started(self, gatepost, scan):
        """Until the supervisor has closed the descriptor on which it said that it is ready."""
        def pipes():
            return sum(each.startswith("pipe:") for each in descriptors_of(gatepost.pid))
        wait_until(lambda: pipes() == 2 + scan, "standard output and error, and the scanner's words")

    def without_descriptors(self, role, free, says, scan=False):
        """`free` descriptors, and those that the supervisor had for the role."""
        gatepost = self.gatepost(config_for(self.place, scan=scan))
        self.wait_started(gatepost, scan)
        with leave_descriptors(gatepost.pid, free):
            os.kill(gatepost.child(role), signal.SIGKILL)
            for pause in (200, 400):  # it goes on trying
                gatepost.log.wait_for(says + rf": Too many open files.*{pause} ms")
        self.comes_back(gatepost)
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)

    def test_no_descriptors_for_a_keeper(self):
        self.without_descriptors("keeper", 0, "the keeper cannot be started")

    def test_no_descriptors_for_a_proxy(self):
        # Nor has it any itself: it ends as soon as it starts.
        self.without_descriptors("proxy", 0, "the (proxy cannot be started|keeper cannot be connected with the proxy)")

    def test_no_descriptors_for_a_scanner(self):
        self.without_descriptors("scanner", 2, "the scanner cannot be started", scan=True)

    def test_no_descriptors_for_the_sockets_of_the_loops(self):
        self.without_descriptors("keeper", 1, "the keeper cannot be connected with the proxy")

    def test_message_that_no_keeper_was_asked_about(self):
        gatepost = self.gatepost(config_for(self.place, scan=False))
        self.wait_started(gatepost, scan=False)
        with gatepost.wire() as wire:
            wire.to_data()
            with leave_descriptors(gatepost.pid, 0):
                os.kill(gatepost.child("keeper"), signal.SIGKILL)
                gatepost.log.wait_for("the keeper cannot be started")
                wire.send(CLEAN + b".\r\n")
                self.assertEqual(wire.reply()[0], 451)
        self.assertEqual(gatepost.summary(action="relay")["outcome"], "answered")
        self.comes_back(gatepost)
        self.assertNotIn("unknown", gatepost.log.text())

    def hangs(self, role, config):
        gatepost = self.gatepost(config)
        hung = gatepost.child(role)
        os.kill(hung, signal.SIGSTOP)
        self.assertEqual(self.reply_to(gatepost, CLEAN), 451)
        # Not at once: for some seconds a complaint may be about the predecessor.
        self.comes_back(gatepost)
        gatepost.log.wait_for(rf"the {role} \(pid {hung}\) gives no answer and is replaced")

    def test_keeper_that_hangs(self):
        self.hangs("keeper", config_for(self.place, scan=False, downstream={"reply_timeout": "1s"}))

    def test_scanner_that_hangs(self):
        self.hangs("scanner", config_for(self.place, limits={"scan_wait": "1s"}))

    def test_loop_that_loses_its_scanner(self):
        gatepost = self.gatepost(config_for(self.place))
        scanner = gatepost.child("scanner")
        with leave_descriptors(scanner, 0):
            # Too long to travel inside the request, and nobody can take the descriptor.
            self.assertEqual(self.reply_to(gatepost, mail(text=b"x" * 70 + b"\r\n" * 20_000)), 451)
            gatepost.log.wait_for("scanner: a connection of the proxy was dropped")
            # The other loop is served all the time; each message that this one defers is a complaint.
            wait_until(lambda: self.reply_to(gatepost, CLEAN) == 250 and gatepost.child("scanner") != scanner, "another scanner")
        self.comes_back(gatepost)

    def test_scanner_outlives_the_proxy(self):
        gatepost = self.gatepost(config_for(self.place, scanner={"test_hooks": True, "workers": 1}))
        scanner = gatepost.child("scanner")
        for _ in range(3):
            with gatepost.wire() as wire:
                wire.to_data()
                wire.send(b"X-Gatepost-Test: hang\r\n" + CLEAN + b".\r\n")
                proxy = gatepost.child("proxy")
                wait_until(lambda: self.hanging_worker(scanner), "a worker that hangs")
                os.kill(proxy, signal.SIGKILL)
                self.assertEqual(wire.reply()[0], 0)
            self.comes_back(gatepost)  # whoever worked for the dead one does so no longer
            self.assertEqual(self.reply_to(gatepost, mail(text=EICAR + b"\r\n")), 550)
            self.assertEqual(gatepost.child("scanner"), scanner)
        self.assertEqual(gatepost.log.text().count(" signatures, 1 workers"), 1)

    def hanging_worker(self, scanner):
        for pid in children_of(scanner):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/syscall") as file:
                if file.read().split()[0] == PAUSE:
                    return pid
        return None

    def test_scanner_that_does_not_end(self):
        gatepost = self.gatepost(config_for(self.place))
        os.kill(gatepost.child("scanner"), signal.SIGSTOP)
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)


if __name__ == "__main__":
    unittest.main()
