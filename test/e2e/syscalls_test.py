#!/usr/bin/env python3
"""What the kernel sees of the proxy: its loops make no call that waits for a disk, and interrupted or partial calls change
nothing (T:F4). Watched by strace."""
import re
import unittest

from common import IS_ROOT, Gatepost, Place, config_for, maildir_files, wait_until
from scanner_mails import EICAR, mail
from traced import Traced

# What waits for storage, or for other programs.
FORBIDDEN = ("fsync", "fdatasync", "syncfs", "sync_file_range", "sync", "rename", "renameat2", "link", "linkat", "mkdir",
             "unlink", "execve", "wait4")
BODY = b"".join(b"line %06d of a message that does not stay in memory\r\n" % number for number in range(12000))


@unittest.skipUnless(IS_ROOT, "needs root to trace the processes")
class Syscalls(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def send(self, gatepost, count=5):
        for number in range(count):
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], mail(text=b"hello %d\r\n" % number))
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], b"Subject: large\r\n\r\n" + BODY)
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(mail(text=EICAR + b"\r\n") + b".\r\n")
            self.assertEqual(wire.reply()[0], 550)

    def test_a_loop_never_waits_for_a_disk(self):
        gatepost = self.enterContext(Gatepost(self.place, config_for(self.place)))
        with Traced(gatepost.child("proxy"), self.place / "trace", "trace=file,process,fsync,fdatasync,syncfs,sync_file_range,sync",
                    "signal=none") as traced:
            self.send(gatepost)
        called = {match[1] for match in re.finditer(r"^\d+ +(\w+)\(", traced.report, re.M)}
        self.assertEqual(called & set(FORBIDDEN), set(), traced.report[-2000:])
        opened = set(re.findall(r'open(?:at)?\([^"]*"([^"]*)"', traced.report))
        spool = self.place / "spool"
        strange = {path for path in opened if path != spool and not path.startswith("/proc/self/fd/")}
        self.assertEqual(strange, set(), "opened outside the spool")
        self.assertIn(spool, opened)  # the large message: the trace sees what it should
        self.assertEqual(len(maildir_files(self.place / "mail")), 6)

    def test_interrupted_calls_change_nothing(self):
        gatepost = self.enterContext(Gatepost(self.place, config_for(self.place)))
        calls = "write,writev,sendto,sendmsg,recvfrom,recvmsg,accept4,pread64"
        with Traced(gatepost.child("proxy"), self.place / "trace", f"trace={calls}",
                    f"inject={calls}:error=EINTR:when=2+3") as traced:
            self.send(gatepost)
        self.assertGreater(traced.report.count("(INJECTED)"), 20)
        files = maildir_files(self.place / "mail")
        wait_until(lambda: len(maildir_files(self.place / "mail")) == 6, "six messages")
        bodies = [octets for octets in files.values() if BODY.replace(b"\r\n", b"\n") in octets]
        self.assertEqual(len(bodies), 1, "the large message came whole, once")

    def test_interrupted_calls_of_the_keeper_change_nothing(self):
        gatepost = self.enterContext(Gatepost(self.place, config_for(self.place)))
        calls = "write,writev,pread64,fsync,openat,recvmsg,sendmsg,copy_file_range,sendfile"
        with Traced(gatepost.child("keeper"), self.place / "trace", f"trace={calls}",
                    f"inject={calls}:error=EINTR:when=2+3") as traced:
            self.send(gatepost)
        self.assertGreater(traced.report.count("(INJECTED)"), 5)
        self.assertEqual(len(maildir_files(self.place / "mail")), 6)


if __name__ == "__main__":
    unittest.main()
