#!/usr/bin/env python3
"""The maildir downstream: what lies there, whose mailbox it is, and that 250 means that it is on the disk."""
import os
import re
import select
import shutil
import smtplib
import subprocess
import unittest

from common import IS_ROOT, PATIENCE, Gatepost, Place, config_for, maildir_files
from scanner_mails import EICAR, mail

CONTENT = b"From: a@example.org\r\nX-Gatepost-Verdict: forged\r\nSubject: t\r\n\r\n.dot\r\n\r\n8-bit \xe9\r\nlast\r\n"


class Maildir(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, **sections):
        return self.enterContext(Gatepost(self.place, config_for(self.place, **sections)))

    def stored(self):
        return maildir_files(self.place / "mail")

    def reply_to(self, gatepost, recipient):
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            wire.say(b"MAIL FROM:<a@example.org>")
            code, text = wire.say(b"RCPT TO:<" + recipient + b">")
            return code, text[4:9]

    def test_one_copy_per_recipient(self):
        gatepost = self.gatepost()
        recipients = ["b@example.org", "c@example.org", "b@Other.example"]
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", recipients, CONTENT)
        stored = self.stored()
        self.assertEqual(sorted(os.path.relpath(os.path.dirname(path), self.place / "mail") for path in stored),
                         ["example.org/b/new", "example.org/c/new", "other.example/b/new"])
        body = CONTENT.replace(b"X-Gatepost-Verdict: forged\r\n", b"").replace(b"\r\n", b"\n")
        for path, octets in stored.items():
            top, rest = octets[:-len(body)], octets[-len(body):]
            self.assertEqual(rest, body)
            user = os.path.basename(os.path.dirname(os.path.dirname(path))).encode()
            self.assertRegex(top, rb"\AReturn-Path: <a@example\.org>\nDelivered-To: " + user + rb"@(example\.org|Other\.example)\n"
                             rb"Received: from client\.example \(\[127\.0\.0\.1\]\)\n\tby gatepost\.example \(gatepost\) with ESMTP "
                             rb"id \S+\n\tfor <" + user + rb"@\S+>; \w{3}, \d+ \w{3} \d{4} \d\d:\d\d:\d\d \+0000\n\Z")
            self.assertTrue(path.endswith(f",S={len(octets)}"), path)

    def test_names_are_unique(self):
        gatepost = self.gatepost()
        with gatepost.smtp() as client:
            for _ in range(50):
                client.sendmail("a@example.org", ["b@example.org"], CONTENT)
        self.assertEqual(len(self.stored()), 50)

    def test_infected_is_not_stored(self):
        gatepost = self.gatepost()
        with gatepost.smtp() as client, self.assertRaises(smtplib.SMTPDataError):
            client.sendmail("a@example.org", ["b@example.org"], mail(text=EICAR + b"\r\n"))
        self.assertEqual(self.stored(), {})

    def test_unknown_mailbox(self):
        os.makedirs(self.place / "mail/example.org/known")
        for parent in ("mail", "mail/example.org", "mail/example.org/known"):
            os.chmod(self.place / parent, 0o777)
        gatepost = self.gatepost(downstream={"create": False})
        self.assertEqual(self.reply_to(gatepost, b"unknown@example.org"), (550, b"5.1.1"))
        self.assertEqual(self.reply_to(gatepost, b"known@example.org"), (250, b"2.1.5"))

    def test_no_way_out_of_the_directory(self):
        gatepost = self.gatepost()
        for local_part in (b'"../x"', b'"a/../../x"', b'"/etc/x"', b'".."', b'"."', b'".hidden"', b"x" * 300):
            code, enhanced = self.reply_to(gatepost, local_part + b"@example.org")
            self.assertIn(code // 100, (5,), (local_part, code, enhanced))
        self.assertEqual(self.stored(), {})
        self.assertFalse(os.path.exists(self.place / "x"))

    @unittest.skipUnless(IS_ROOT and shutil.which("strace"), "needs root and strace")
    def test_on_the_disk_before_250(self):
        gatepost = self.gatepost()
        with gatepost.smtp() as client:  # makes the mailbox
            client.sendmail("a@example.org", ["b@example.org"], CONTENT)
        trace = self.place / "trace"
        tracer = subprocess.Popen(["strace", "-f", "-y", "-o", trace, "-e", "trace=openat,fsync,renameat2,sendmsg,sendto,write",
                                   "-p", str(gatepost.child("keeper"))], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            self.assertTrue(select.select([tracer.stderr], [], [], PATIENCE)[0], "strace says nothing")
            self.assertIn(b"attached", tracer.stderr.readline())
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], CONTENT)
        finally:
            tracer.terminate()
            tracer.wait(PATIENCE)
            tracer.stderr.close()
        with open(trace) as file:
            calls = file.read()
        # The answer to the lookup comes first; then: written, synced, renamed, the directory synced, answered.
        self.assertRegex(calls, re.compile(
            r"openat\([^\n]*/b/tmp/.*?fsync\(\d+<[^>]*/b/tmp/.*?renameat2\([^\n]*/b/tmp/[^\n]*/b/new/.*?fsync\(\d+<[^>]*/b/new>.*?send(msg|to)\(",
            re.S))
        rename = calls.index("renameat2(")
        answer = re.search(r"send(msg|to)\(", calls[calls.index("/b/tmp/"):])
        self.assertGreater(calls.index("/b/tmp/") + answer.start(), rename, calls)


if __name__ == "__main__":
    unittest.main()
