#!/usr/bin/env python3
"""Disks, quotas and descriptor tables that fail under one message: the client reads the right 4yz, nothing is left of
that message, and the next one passes. The faults are injected by strace, one per message, into one system call."""
import os
import re
import shutil
import unittest

from common import IS_ROOT, Gatepost, Place, config_for, descriptors_of, maildir_files, wait_until
from peers import Downstream
from traced import Traced

LARGE = b"Subject: large\r\n\r\n" + b"".join(b"line %06d of a message that lies in a file\r\n" % n for n in range(12000))
SMALL = b"Subject: small\r\n\r\nhello\r\n"
FULL = (452, b"4.3.1")
FAILED = (451, b"4.3.0")
SPOOL_FAULTS = [("openat", "EIO", FAILED), ("openat", "EDQUOT", FULL), ("openat", "ENOSPC", FULL), ("openat", "ENFILE", FAILED),
                ("openat", "EMFILE", FAILED), ("writev", "EIO", FAILED), ("writev", "EDQUOT", FULL), ("writev", "EFBIG", FULL)]
KEEPER_FAULTS = [(call, error, FULL if error in ("EDQUOT", "ENOSPC") else FAILED)
                 for call in ("writev", "fsync", "renameat2") for error in ("EIO", "EDQUOT")] + [
    ("openat", "ENFILE", FAILED), ("openat", "EDQUOT", FULL), ("pread64", "EIO", FAILED), ("writev", "ENOSPC", FULL)]


@unittest.skipUnless(IS_ROOT and shutil.which("strace"), "needs root and strace")
class DiskFaults(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def start(self, **sections):
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(self.place, loops=1, scan=False, **sections)))
        self.proxy, self.keeper = self.gatepost.child("proxy"), self.gatepost.child("keeper")
        wait_until(self.served, "a first message is taken")
        wait_until(lambda: self.gatepost.sessions() == 0, "the first session is over")
        self.before = self.descriptors()

    def descriptors(self):
        return len(descriptors_of(self.proxy)), len(descriptors_of(self.keeper))

    def send(self, content):
        """(code, enhanced code) of the reply to the content, in a session that then goes on."""
        with self.gatepost.wire() as wire:
            wire.to_data()
            wire.send(content + b".\r\n")
            code, text = wire.reply()
            self.assertEqual(wire.say(b"NOOP")[0], 250, "the session has ended")
            return code, text[4:9]

    def fault(self, pid, call, error, when="1", threads=True):
        return Traced(pid, self.place / "trace", f"trace={call}", f"inject={call}:error={error}:when={when}", "signal=none",
                      threads=threads)

    def assert_descriptors(self):
        wait_until(lambda: self.descriptors() == self.before, f"descriptors of proxy and keeper as before: {self.before}")
        self.assertEqual([name for name in descriptors_of(self.proxy) if name.startswith(self.place / "spool/#")], [])

    def test_spool(self):
        downstream = self.enterContext(Downstream())
        self.start(servers=[downstream.address], downstream={"reuse": False})
        for number, (call, error, wanted) in enumerate(SPOOL_FAULTS, 1):
            with self.subTest(call=call, error=error):
                with self.fault(self.proxy, call, error) as traced:
                    self.assertEqual(self.send(LARGE), wanted)
                    self.assertEqual(self.send(LARGE)[0], 250)
                self.assertEqual(traced.report.count("(INJECTED)"), 1, traced.report)
                self.assertEqual(len(downstream.messages), 1 + number)
                self.assert_descriptors()
        self.assertEqual({content for _, _, content in downstream.messages}, {SMALL, LARGE})

    def test_spool_in_the_middle_of_a_message(self):
        downstream = self.enterContext(Downstream())
        self.start(servers=[downstream.address], downstream={"reuse": False})
        for error, wanted in (("EIO", FAILED), ("EDQUOT", FULL)):
            with self.subTest(error=error), self.fault(self.proxy, "writev", error, when="2+") as traced:
                self.assertEqual(self.send(LARGE), wanted)
                self.assertEqual(self.send(SMALL)[0], 250)
            self.assertGreaterEqual(traced.report.count("(INJECTED)"), 1, traced.report)
        self.assertEqual([content for _, _, content in downstream.messages], [SMALL] * 3)

    def test_descriptor_for_the_keeper(self):
        """A message in memory becomes a memfd for the keeper; the system may have none."""
        self.start()
        for call, error in (("memfd_create", "ENFILE"), ("memfd_create", "ENOMEM")):
            with self.subTest(error=error), self.fault(self.proxy, call, error):
                self.assertEqual(self.send(SMALL), FAILED)
                self.assertEqual(self.send(SMALL)[0], 250)
        self.assert_kept(3)

    def test_maildir(self):
        self.start()
        for number, (call, error, wanted) in enumerate(KEEPER_FAULTS, 1):
            with self.subTest(call=call, error=error):
                with self.fault(self.keeper, call, error, threads=False) as traced:
                    self.assertEqual(self.send(SMALL), wanted)
                    self.assert_kept(number)
                    self.assertEqual(self.send(SMALL)[0], 250)
                self.assertEqual(traced.report.count("(INJECTED)"), 1, traced.report)
                self.assert_kept(number + 1)
                self.assert_descriptors()

    def test_maildir_whose_directory_cannot_be_synced(self):
        """The file has its name already: it must lose it again."""
        self.start()
        for number, (error, wanted) in enumerate((("EIO", FAILED), ("EDQUOT", FULL)), 1):
            with self.subTest(error=error), self.fault(self.keeper, "fsync", error, when="2", threads=False):
                self.assertEqual(self.send(SMALL), wanted)
                self.assert_kept(number)
                self.assertEqual(self.send(SMALL)[0], 250)

    def test_two_recipients_or_none(self):
        """The second copy fails: the first goes, too, since the one reply is for both."""
        self.start()
        with self.fault(self.keeper, "fsync", "EIO", when="2", threads=False), self.gatepost.wire() as wire:
            wire.to_data(recipients=(b"b@example.org", b"c@example.org"))
            wire.send(SMALL + b".\r\n")
            self.assertEqual(wire.reply()[0], 451)
        self.assert_kept(1)

    def assert_kept(self, count):
        stored = maildir_files(self.place / "mail")
        self.assertEqual(len(stored), count)
        self.assertTrue(all(octets.endswith(b"\n\nhello\n") for octets in stored.values()))
        unfinished = [name for parent, _, names in os.walk(self.place / "mail") for name in names if parent.endswith("/tmp")]
        self.assertEqual(unfinished, [])

    def test_no_descriptor_for_a_connection(self):
        """ENFILE of the whole system: the client is told, the listener goes on."""
        downstream = self.enterContext(Downstream())
        self.start(servers=[downstream.address], downstream={"reuse": False})
        with self.fault(self.proxy, "socket", "ENFILE"), self.gatepost.wire() as wire:
            code, text = wire.reply()
            self.assertEqual((code, text[4:9]), (421, b"4.4.1"))
        with self.fault(self.proxy, "accept4", "ENFILE"), self.gatepost.wire() as wire:
            code, text = wire.reply()
            self.assertEqual((code, text[4:9]), (421, b"4.3.2"))
        wait_until(self.served, "connections are taken again")
        self.assertEqual([content for _, _, content in downstream.messages], [SMALL] * 2)
        self.assert_descriptors()

    def served(self):
        try:
            return self.send(SMALL)[0] == 250
        except AssertionError:  # not at the banner, or not yet at RCPT
            return False

    def test_the_operator_is_told(self):
        self.start()
        with self.fault(self.keeper, "fsync", "EIO", threads=False):
            self.assertEqual(self.send(SMALL), FAILED)
        self.assertRegex(self.gatepost.log.wait_for(r"Input/output error"), r"fsync " + re.escape(self.place / "mail"))
        self.assertEqual(self.gatepost.summary(dsn="4.3.0")["outcome"], "answered")


if __name__ == "__main__":
    unittest.main()
