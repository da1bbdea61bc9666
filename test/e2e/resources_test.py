#!/usr/bin/env python3
"""Descriptors, memory and disk: they return to where they were, and running out of them is answered, not suffered."""
import ctypes
import os
import resource
import smtplib
import threading
import time
import unittest

from common import (IS_ROOT, PATIENCE, Gatepost, Place, config_for, descriptors_of, maildir_files,
                    memory_of, wait_until)
from peers import SANITIZED, Downstream
from scanner_mails import EICAR, mail

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
ROLES = ("proxy", "keeper", "scanner")
_libc = ctypes.CDLL(None, use_errno=True)


def small_disk(path, options):
    """For preexec: a tmpfs over `path` in a mount namespace of gatepost's own, gone with it."""
    def mount():
        for outcome in (_libc.unshare(0x00020000),  # CLONE_NEWNS
                        _libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None),  # MS_REC | MS_PRIVATE
                        _libc.mount(b"tmpfs", path.encode(), b"tmpfs", 0, options)):
            if outcome != 0:
                raise OSError(ctypes.get_errno(), "mount")
    return mount


def one_session(gatepost, number):
    """Sessions of every kind and end."""
    kind = number % 5
    with gatepost.wire() as wire:
        if kind == 0:
            wire.reply()
            return  # gone after the banner
        wire.to_data()
        if kind == 1:
            wire.send(b"half a mess")
            return  # gone inside the content
        if kind == 2:
            wire.send(b"half a mess")
            return wire.reset()
        wire.send((mail(text=EICAR + b"\r\n") if kind == 3 else CLEAN) + b".\r\n")
        code = wire.reply()[0]
        if code != (550 if kind == 3 else 250):
            raise AssertionError(f"kind {kind} was answered {code}")
        wire.say(b"QUIT")


def many_sessions(gatepost, count, senders=8):
    failures = []

    def run(first):
        try:
            for number in range(first, count, senders):
                one_session(gatepost, number)
        except Exception as error:  # shown by the test, not lost in the thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(first,)) for first in range(senders)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class Resources(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def counts(self, gatepost):
        return {role: len(descriptors_of(gatepost.child(role))) for role in ROLES}

    def test_after_a_thousand_sessions(self):
        downstream = self.enterContext(Downstream())
        gatepost = self.enterContext(Gatepost(self.place, config_for(self.place, servers=[downstream.address])))
        before = self.counts(gatepost)
        many_sessions(gatepost, 300)  # pools and allocators fill once
        wait_until(lambda: self.counts(gatepost) == before, f"descriptors as at the start: {before}")
        memory = {role: memory_of(gatepost.child(role)) for role in ROLES}
        many_sessions(gatepost, 1000)
        wait_until(lambda: self.counts(gatepost) == before, f"descriptors as at the start: {before}")
        if SANITIZED:
            return  # a sanitizer keeps freed memory on purpose
        for role in ROLES:
            self.assertLess(memory_of(gatepost.child(role)), memory[role] + 2048, f"{role}, in KiB")

    def test_out_of_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

        downstream = self.enterContext(Downstream())
        config = config_for(self.place, servers=[downstream.address], scan=False, loops=1)
        gatepost = self.enterContext(Gatepost(self.place, config, preexec=few))
        good = self.enterContext(gatepost.wire())
        good.to_data()
        crowd = [self.enterContext(gatepost.wire()) for _ in range(100)]
        proxy = gatepost.child("proxy")
        gatepost.log.wait_for(r"descriptors|files")  # the operator is told
        began, cpu = time.monotonic(), self.cpu_seconds(proxy)
        good.socket.settimeout(1)
        with self.assertRaises(TimeoutError):
            good.socket.recv(1)  # a second in which nothing happens
        self.assertLess((self.cpu_seconds(proxy) - cpu) / (time.monotonic() - began), 0.1, "it spins")
        good.socket.settimeout(PATIENCE)
        good.send(CLEAN + b".\r\n")
        self.assertEqual(good.reply()[0], 250)
        for wire in crowd:
            wire.socket.close()
        wait_until(lambda: self.takes_mail(gatepost), "mail is taken again")

    @staticmethod
    def cpu_seconds(pid):
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @staticmethod
    def takes_mail(gatepost):
        try:
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], CLEAN)
            return True
        except (OSError, smtplib.SMTPException):
            return False

    def full_disk(self, directory, **sections):
        """gatepost with 1 MB under `directory`; a large message is 452 4.3.1, small ones still pass, three times over."""
        path = self.place / directory
        os.mkdir(path)
        config = config_for(self.place, **sections)
        gatepost = self.enterContext(Gatepost(self.place, config, preexec=small_disk(path, b"size=1m,mode=1777")))
        for _ in range(3):
            with gatepost.wire() as wire:
                wire.to_data()
                wire.send(b"Subject: large\r\n\r\n" + b"x" * 76 * 40_000 + b"\r\n.\r\n")
                code, text = wire.reply()
                self.assertEqual((code, text[:9]), (452, b"452 4.3.1"), text)
                self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], CLEAN)
        return f"/proc/{gatepost.pid}/root{path}"

    def test_spool_full(self):
        downstream = self.enterContext(Downstream())
        path = self.full_disk("spool", servers=[downstream.address])
        used = os.statvfs(path)
        self.assertLessEqual((used.f_blocks - used.f_bfree) * used.f_frsize, 65536, "left behind in the spool")
        self.assertEqual(len(downstream.messages), 3)

    def test_maildir_full(self):
        path = self.full_disk("mail")
        stored = maildir_files(path)
        self.assertEqual(len(stored), 3)
        self.assertTrue(all(b"hello" in octets for octets in stored.values()))
        unfinished = [name for parent, _, names in os.walk(path) for name in names if parent.endswith("/tmp")]
        self.assertEqual(unfinished, [])


if __name__ == "__main__":
    unittest.main()
