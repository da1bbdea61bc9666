#!/usr/bin/env python3
"""The real gatepost-scanner with the test signatures: what it finds, and what it says it could not look into.

GATEPOST_SCANNER names the program; default: build/scanner/gatepost-scanner.
"""
import os
import random
import tempfile
import unittest
import zipfile

from scanner_mails import (EICAR, PREFIX, bzipped, encrypted_zip, gzipped, mail, nested_messages, nested_multiparts,
                           nested_zip, zipped)
from scanner_program import Scanner, encode_request, memory_file

SECRET = (b"e.zip", encrypted_zip("a.txt", b"hello" * 100))
DEEP = (b"d.zip", nested_zip(b"hello", 25))
TEST_FILE = "/usr/share/clamav-testfiles/clam.exe"


def marked(marker):
    return mail(first=b"X-Gatepost-Test: " + marker + b"\r\n")


class Verdicts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scanner = Scanner(max_file_size=1_000_000, max_scan_size=20_000_000, max_files=100)
        cls.addClassCleanup(cls.scanner.__exit__)

    def tearDown(self):
        self.assertEqual(self.scanner.leftovers(), [])

    def check(self, content, outcome, reason="", name=None):
        report = self.scanner.scan(content)
        self.assertEqual(report.outcome, outcome, report)
        self.assertTrue(all(f.engine == "clamav" for f in report.findings), report)
        decisive = [f for f in report.findings if f.outcome == outcome]
        if reason:
            self.assertIn(reason, [f.reason for f in decisive])
        if name:
            self.assertTrue(any(name in f.name for f in decisive), report)
        return report

    def test_hello(self):
        self.assertEqual(self.scanner.hellos[0].signatures, 2)
        self.assertEqual(self.scanner.hellos[0].test_only, 1)
        self.assertRegex(self.scanner.hellos[0].version, r"^ClamAV \d")

    def test_clean(self):
        for content in (mail(), mail((b"a.bin", bytes(range(256)) * 40)), b"", b"\r\n", b"\r\nbody\r\n", b"Subject: x\r\n",
                        b"\0" * 1000, b"From me@example.org Thu Jan  1\r\n\r\nx\r\n", mail(text=b"x" * 300_000)):
            self.assertEqual(self.check(content, "clean").findings, [])

    def test_eicar(self):
        for content in (mail(text=EICAR + b"\r\n"), mail((b"e.com", EICAR)), mail((b"e.zip", zipped({"e.com": EICAR}))),
                        mail((b"e.gz", gzipped(EICAR))), mail((b"e.zip", nested_zip(EICAR, 5))),
                        nested_messages(mail((b"e.com", EICAR)), 3),
                        mail((b"noise", random.Random(1).randbytes(400_000)), (b"e.com", EICAR))):  # mapped, not copied
            self.check(content, "infected", name="Gatepost.Test.EICAR")

    @unittest.skipUnless(os.path.exists(TEST_FILE), "clamav-testfiles is not installed")
    def test_clamav_test_file(self):
        with open(TEST_FILE, "rb") as file:
            octets = file.read()
        for content in (mail((b"c.exe", octets)), mail((b"c.zip", zipped({"clam.exe": octets})))):
            self.check(content, "infected", name="Gatepost.Test.ClamAV")

    def test_first_header_does_not_hide_mail(self):
        for first in (b"DKIM-Signature: v=1; a=rsa-sha256\r\n", b"ARC-Seal: i=1\r\n", b"X-Any: 1\r\n", b"MZ: a\r\n",
                      b"Authentication-Results: x\r\n", b"Content-Type: text/plain\r\n", b"PK\3\4: a\r\n", b"%PDF-1.4: x\r\n",
                      b"GIF89a: x\r\n", b"From someone Thu Jan  1 00:00:00 1970\r\n", b" leading\r\n", b"\0\r\n"):
            with self.subTest(first=first):
                self.check(mail((b"e.com", EICAR), first=first), "infected", name="EICAR")

    def test_encrypted(self):
        self.check(mail(SECRET), "unscannable", "encrypted")

    def test_virus_wins(self):
        for parts in ((SECRET, (b"e.com", EICAR)), ((b"e.com", EICAR), SECRET), (DEEP, (b"e.com", EICAR)),
                      (SECRET, (b"e.zip", zipped({"e.com": EICAR})))):
            self.check(mail(*parts), "infected", name="EICAR")

    def test_recursion(self):
        self.check(mail(DEEP), "unscannable", "recursion")
        self.check(mail((b"d.zip", nested_zip(EICAR, 25))), "unscannable", "recursion")
        self.check(nested_multiparts(b"Content-Type: text/plain\r\n\r\nx\r\n", 60), "unscannable", "recursion")

    def test_no_reason_hides_another(self):
        for parts in ((SECRET, DEEP), (DEEP, SECRET)):
            report = self.check(mail(*parts), "unscannable")
            self.assertLessEqual({"encrypted", "recursion"}, {f.reason for f in report.findings})

    def test_files(self):
        self.check(mail((b"m.zip", zipped({str(i): b"x%d" % i for i in range(200)}))), "unscannable", "files")

    def test_sizes(self):
        padding = random.Random(2).randbytes(4096) * 300
        for octets in (zipped({"1": padding + EICAR}), zipped({"1": padding + EICAR}, zipfile.ZIP_BZIP2),
                       gzipped(padding + EICAR), bzipped(padding + EICAR), nested_zip(zipped({"1": padding}), 2)):
            self.check(mail((b"big", octets)), "unscannable", "size")
        self.check(mail(text=b"x\r\n" * 400_000), "unscannable", "size")
        self.check(mail((b"bomb.zip", zipped({str(i): b"\0" * 990_000 for i in range(40)}))), "unscannable", "size")

    def test_exact_size_limit(self):
        self.check(mail((b"a.zip", zipped({"1": b"A" * 1_000_000}))), "clean")
        self.check(mail((b"a.zip", zipped({"1": b"A" * 1_000_001}))), "unscannable", "size")

    def test_litter_is_removed(self):
        self.check(marked(b"litter"), "clean")  # tearDown looks

    def test_wrong_length_is_no_verdict(self):
        for octets in (PREFIX, PREFIX + b"x" * 99, PREFIX + b"x" * 101, b""):
            for size in (100, 1_000_000):
                fd = memory_file(octets)
                self.scanner.send(encode_request(5, len(PREFIX), size), [fd])
                os.close(fd)
                report = self.scanner.report()
                if (len(octets), size) != (len(PREFIX) + 100, 100):
                    self.assertEqual([f.failure for f in report.findings], ["storage"], report)

    def test_other_descriptors_are_no_verdict(self):
        read, write = os.pipe()
        for fd in (read, os.open("/", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)):
            for size in (100, 1_000_000):
                self.scanner.send(encode_request(6, 0, size), [fd])
                self.assertEqual(self.scanner.report().outcome, "error")
            os.close(fd)
        os.close(write)

    def test_regular_file_at_any_offset(self):
        for octets in (mail((b"e.com", EICAR)), mail((b"x", bytes(500_000)), (b"e.com", EICAR))):
            with tempfile.NamedTemporaryFile() as file:
                file.write(PREFIX + octets)
                file.flush()
                fd = os.open(file.name, os.O_RDONLY)
                os.lseek(fd, 17, os.SEEK_SET)
                self.scanner.send(encode_request(7, len(PREFIX), len(octets)), [fd])
                os.close(fd)
                self.assertEqual(self.scanner.report().outcome, "infected")

if __name__ == "__main__":
    unittest.main()
