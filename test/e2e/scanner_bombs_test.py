#!/usr/bin/env python3
"""The real gatepost-scanner and what is made to keep it busy: archives that unpack to many GiB, deep nesting, documents
with a password. Time and temporary space stay bounded, the worker lives, and nothing of it is ever clean."""
import os
import threading
import time
import unittest

from peers import SANITIZED
from scanner_mails import (EICAR, encrypted_pdf, mail, nested_messages, nested_zip, zip_bomb, zipped)
from scanner_program import Scanner

GIB = 1 << 30
SECONDS = 120 if SANITIZED else 20
UNPACKED = 400 << 20  # libclamav's max_scan_size


class Peak:
    """The most that a file system held while the context lasted, in octets."""

    def __init__(self, path):
        self.path, self.octets = path, 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self._end.wait(0.005):  # samples
            room = os.statvfs(self.path)
            self.octets = max(self.octets, (room.f_blocks - room.f_bfree) * room.f_frsize)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._end.set()
        self._thread.join()


class Bombs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scanner = Scanner(workers=1)
        cls.addClassCleanup(cls.scanner.__exit__)

    def setUp(self):
        self.workers = self.scanner.workers()

    def tearDown(self):
        self.assertEqual(self.scanner.workers(), self.workers, "a worker died")
        self.assertEqual(self.scanner.leftovers(), [])
        self.assertEqual(self.scanner.scan(mail()).outcome, "clean")

    def check(self, content, reason):
        began = time.monotonic()
        with Peak(self.scanner.place) as peak:
            self.scanner.request(1, content)
            report = self.scanner.report(seconds=SECONDS * 2)
        self.assertLess(time.monotonic() - began, SECONDS)
        self.assertEqual(report.outcome, "unscannable", report)
        self.assertIn(reason, [finding.reason for finding in report.findings])
        if os.geteuid() == 0:  # else the file system is everybody's
            self.assertLess(peak.octets, UNPACKED + len(content))

    def test_forty_megabytes_that_are_forty_gigabytes(self):
        bomb = zip_bomb(20, 2 * GIB)
        self.assertGreater(len(bomb), 40_000_000)
        self.check(mail((b"bomb.zip", bomb)), "size")

    def test_members_that_each_are_small_enough(self):
        with Scanner(workers=1, max_scan_size=40 << 20, max_file_size=10 << 20) as scanner, Peak(scanner.place) as peak:
            report = scanner.scan(mail((b"bomb.zip", zip_bomb(1000, 9 << 20))))
            self.assertEqual((report.outcome, report.findings[0].reason), ("unscannable", "size"), report)
        if os.geteuid() == 0:
            self.assertLess(peak.octets, 60 << 20)

    def test_bombs_in_bombs(self):
        """As 42.zip: 16 archives of 16 archives of 16 files of 2 GiB each, 8 TiB in all."""
        content = zip_bomb(16, 2 * GIB)
        for _ in range(2):
            content = zipped({f"{index}.zip": content for index in range(16)})
        self.check(mail((b"42.zip", content)), "size")

    def test_twenty_archives_deep(self):
        self.check(mail((b"deep.zip", nested_zip(EICAR, 20))), "recursion")
        self.check(mail((b"deep.zip", nested_zip(b"hello", 20))), "recursion")

    def test_twenty_messages_deep(self):
        self.check(nested_messages(mail((b"e.com", EICAR)), 20), "recursion")
        self.check(nested_messages(mail(), 20), "recursion")


class Documents(unittest.TestCase):
    def test_pdf(self):
        with Scanner(workers=1) as scanner:
            def outcome(content):
                report = scanner.scan(content)
                return report.outcome, {finding.reason for finding in report.findings if finding.outcome == report.outcome}

            text = b"BT (hello) Tj ET " + EICAR
            locked, open_to_all = encrypted_pdf(text), encrypted_pdf(text, b"")
            self.assertNotIn(EICAR, locked + open_to_all)
            for pack in (lambda pdf: mail((b"a.pdf", pdf)), lambda pdf: mail((b"a.zip", zipped({"a.pdf": pdf})))):
                self.assertEqual(outcome(pack(locked)), ("unscannable", {"encrypted"}))
                # Whoever opens this one is asked for nothing, so it must be looked into.
                self.assertEqual(outcome(pack(open_to_all)), ("infected", {""}))
                self.assertEqual(outcome(pack(encrypted_pdf(b"BT (hello) Tj ET", b"")))[0], "clean")


if __name__ == "__main__":
    unittest.main()
