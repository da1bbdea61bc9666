#!/usr/bin/env python3
"""A downstream that dribbles its replies, octet by octet, over real sockets: the client has its answer within the time
that the configuration gives, a slow server that keeps within it is no fault, and a late reply reaches nobody."""
import contextlib
import socket
import threading
import time
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import PATIENCE, SANITIZED

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
TIMEOUT = 0.8  # seconds, for everything that has one
SLACK = 4.0 if SANITIZED else 1.0
PACE = 0.05  # between two octets; a reply of less than TIMEOUT / PACE octets is in time
STAGES = ("banner", "EHLO", "MAIL", "RCPT", "DATA", "end")
REPLIES = {"banner": b"220 a", "EHLO": b"250 a", "MAIL": b"250 b", "RCPT": b"250 c", "DATA": b"354 d", "end": b"250 e"}


class Dribbler:
    """Answers at once but at the stage it is set to: there the reply comes octet by octet, for as long as somebody listens."""

    def __init__(self):
        self.set(None)
        self._end = threading.Event()
        self._server = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def set(self, stage, reply=b"", pause=PACE):
        self.stage, self.reply, self.pause = stage, reply, pause
        self.sent = 0  # octets of it that were taken
        self.contents = []
        self.over = threading.Event()  # a connection has ended since

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.set()
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._server.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            lines = connection.makefile("rb")
            self._answer(connection, "banner")
            for line in lines:
                verb = line[:4].decode("latin-1")
                self._answer(connection, verb if verb in REPLIES else "EHLO")
                if verb == "DATA":
                    self.contents.append(b"".join(iter(lines.readline, b".\r\n")))
                    self._answer(connection, "end")
        self.over.set()

    def _answer(self, connection, stage):
        if stage != self.stage:
            return connection.sendall(REPLIES[stage] + b"\r\n")
        for octet in self.reply:
            connection.sendall(bytes([octet]))
            self.sent += 1
            if self._end.wait(self.pause):  # the pace, not a wait for anything
                return None
        return None


class SlowDownstream(unittest.TestCase):
    def setUp(self):
        place = Place()
        self.addCleanup(place.remove)
        self.dribbler = self.enterContext(Dribbler())
        timeout = f"{round(TIMEOUT * 1000)}ms"
        self.gatepost = self.enterContext(Gatepost(place, config_for(
            place, servers=[self.dribbler.address], scan=False, limits={"relay_wait": timeout},
            downstream={"greeting_timeout": timeout, "reply_timeout": timeout, "identity": "none"})))

    def talk(self, wire):
        """(stage, code, text, seconds) of the first reply that is negative, or of the last one."""
        steps = ((None, "banner"), (b"EHLO c.example", "EHLO"), (b"MAIL FROM:<a@example.org>", "MAIL"),
                 (b"RCPT TO:<b@example.org>", "RCPT"), (b"DATA", "DATA"), (CLEAN + b".", "end"))
        for line, stage in steps:
            began = time.monotonic()
            code, text = wire.reply() if line is None else wire.say(line)
            if code >= 400 or code == 0:
                break
        return stage, code, text, time.monotonic() - began

    def check_endless(self, stage, reply):
        self.dribbler.set(stage, reply)
        with self.gatepost.wire() as wire:
            told_at, code, text, seconds = self.talk(wire)
            # DATA is answered by us; what the server says to it shows at the end of data.
            self.assertEqual(told_at, "end" if stage == "DATA" else stage, text)
            self.assertRegex(text, rb"^4\d\d 4\.4\.[12] ")
            self.assertGreater(seconds, TIMEOUT * 0.9, "not as long as the configuration allows")
            self.assertLess(seconds, TIMEOUT + SLACK)
            self.assertGreater(self.dribbler.sent, 3, "it has not dribbled")
            self.assertTrue(self.dribbler.over.wait(PATIENCE), "the server's connection stays open")

    def test_each_reply(self):
        """A line without end, or lines without end: every octet is a sign of life, and none buys time."""
        for stage in STAGES:
            with self.subTest(stage=stage):
                self.check_endless(stage, REPLIES[stage][:3] + b" " + b"x" * 5000)
        for stage in ("EHLO", "end"):
            with self.subTest(stage=stage, lines=True):
                self.check_endless(stage, (REPLIES[stage][:3] + b"-x\r\n") * 1000)
        outcomes = [line["outcome"] for line in self.gatepost.records() if line.get("size") == len(CLEAN)]
        self.assertEqual(outcomes, ["answered", "unknown", "unknown"])  # DATA, end, end

    def test_slow_but_in_time(self):
        for stage in STAGES:
            with self.subTest(stage=stage):
                reply = REPLIES[stage] + b"\r\n"
                self.dribbler.set(stage, reply, pause=TIMEOUT / 3 / len(reply))
                with self.gatepost.wire() as wire:
                    told_at, code, text, _ = self.talk(wire)
                self.assertEqual((told_at, code), ("end", 250), text)
                self.assertEqual(self.dribbler.contents, [CLEAN])

    def test_late_reply_reaches_nobody(self):
        """It is complete only when the next transaction has begun (T:C8)."""
        reply = b"250 too late\r\n"
        self.dribbler.set("end", reply, pause=TIMEOUT * 1.5 / len(reply))
        with self.gatepost.wire() as wire:
            self.assertEqual(self.talk(wire)[:2], ("end", 451))
            self.dribbler.stage = None  # the server is itself again
            for line, code in ((b"MAIL FROM:<c@example.org>", 250), (b"RCPT TO:<d@example.org>", 250), (b"DATA", 354),
                               (CLEAN + b".", 250)):
                got, text = wire.say(line)
                self.assertEqual(got, code, text)
                self.assertNotIn(b"too late", text)
        wait_until(lambda: self.dribbler.contents == [CLEAN, CLEAN], "the second message")


if __name__ == "__main__":
    unittest.main()
