#!/usr/bin/env python3
"""Peers that mean harm, over real sockets: many, slow, endless, deaf (T:A7, B12, B13, C1, C2, C9)."""
import contextlib
import resource
import select
import socket
import time
import unittest

from common import IS_ROOT, Gatepost, Place, config_for, maildir_files, memory_of, wait_until
from peers import PATIENCE, SANITIZED

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
SLACK = 1024 * (64 if SANITIZED else 6)  # KiB that a proxy may grow by, whatever one peer sends


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class Hostile(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))

    def start(self, **sections):
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(self.place, **sections)))
        self.proxy = self.gatepost.child("proxy")

    def serves_well(self):
        began = time.monotonic()
        with self.gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)
        return time.monotonic() - began

    def grown(self, before):
        return memory_of(self.proxy) - before

    def pour(self, wire, piece, octets):
        """As much of it as is taken; a peer that hangs up ends it."""
        with contextlib.suppress(ConnectionError):
            for _ in range(octets // len(piece)):
                wire.send(piece)

    def test_two_thousand_dribblers_and_one_good_client(self):
        self.start()
        with contextlib.ExitStack() as crowd:
            dribblers = []
            for _ in range(2000):
                dribblers.append(crowd.enter_context(socket.create_connection(("127.0.0.1", self.gatepost.port), PATIENCE)))
            for turn in range(3):
                for dribbler in dribblers:
                    dribbler.send(b"EHL"[turn:turn + 1])
                self.assertLess(self.serves_well(), 2 * (10 if SANITIZED else 1), "a good client waits for slow ones")
        self.assertEqual(len(maildir_files(self.place / "mail")), 3)

    def test_replies_that_nobody_reads(self):
        self.start(listener={"max_junk": 1_000_000})
        self.serves_well()
        before = memory_of(self.proxy)
        with self.gatepost.wire() as wire:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            wire.socket.setblocking(False)
            sent = 0
            while sent < 100_000 and select.select([], [wire.socket], [], 0.5)[1]:
                with contextlib.suppress(BlockingIOError):
                    sent += wire.socket.send(b"NOOP\r\n" * 1000) // 6
            self.assertLess(self.grown(before), SLACK)
            self.serves_well()

    def test_a_hundred_megabytes_without_line_end(self):
        self.start(listener={"max_message": 1 << 20})
        self.serves_well()
        before = memory_of(self.proxy)
        with self.gatepost.wire() as wire:
            wire.reply()
            self.pour(wire, b"x" * 100_000, 100_000_000)
            self.assertLess(self.grown(before), SLACK, "as a command")
        with self.gatepost.wire() as wire:
            wire.to_data()
            self.pour(wire, b"x" * 100_000, 100_000_000)
            self.assertLess(self.grown(before), SLACK, "as content")
            wire.send(b"\r\n.\r\n")
            self.assertEqual(wire.reply()[0], 552)
            self.assertEqual(wire.say(b"NOOP")[0], 250)
        self.serves_well()

    def test_ten_thousand_noops(self):
        self.start()
        with self.gatepost.wire() as wire:
            wire.reply()
            self.pour(wire, b"NOOP\r\n" * 100, 60_000)
            codes = []
            while (code := wire.reply()[0]) not in (0, 421):
                codes.append(code)
            self.assertEqual(code, 421)
            self.assertLessEqual(len(codes), 200)
        self.serves_well()

    def test_a_browser(self):
        self.start()
        with self.gatepost.wire() as wire:
            wire.reply()
            wire.send(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertEqual(wire.reply()[0], 221)
            self.assertEqual(wire.reply()[0], 0)

    def test_refusal_in_the_middle_of_fifty_megabytes(self):
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.start(servers=[f"127.0.0.1:{server.getsockname()[1]}"], scan=False, listener={"max_message": 100 << 20},
                       downstream={"identity": "none"})
            with self.gatepost.wire() as wire:
                behind, _ = server.accept()
                with behind:
                    self.downstream_refuses_early(wire, behind)
            wait_until(lambda: "552" in self.gatepost.log.text(), "the refusal in the log")

    def downstream_refuses_early(self, wire, behind):
        behind.settimeout(PATIENCE)
        behind.send(b"220 here\r\n")
        wire.reply()
        for ours, answer in ((b"EHLO c", b"250 here"), (b"MAIL FROM:<a@b.org>", b"250 ok"), (b"RCPT TO:<c@d.org>", b"250 ok")):
            wire.send(ours + b"\r\n")
            behind.recv(1000)
            behind.send(answer + b"\r\n")
            self.assertEqual(wire.reply()[0], 250)
        self.assertEqual(wire.say(b"DATA")[0], 354)
        self.pour(wire, b"a line of seventy-eight octets, more or less, to fill the buffers\r\n" * 1000, 50_000_000)
        wire.send(b".\r\n")
        behind.recv(1000)
        behind.send(b"354 go on\r\n")
        behind.recv(100_000)
        behind.send(b"552 5.3.4 no more\r\n")  # and reads nothing any more
        code, text = wire.reply()
        self.assertEqual((code, text[4:9]), (552, b"5.3.4"))


if __name__ == "__main__":
    unittest.main()
