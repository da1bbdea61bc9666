#!/usr/bin/env python3
"""UNIX sockets on both legs."""
import os
import signal
import stat
import unittest

from common import Gatepost, Place, config_for, wait_until
from lmtp_peer import LmtpServer, UnixWire

CONTENT = b"Subject: test\r\n\r\nhello\r\n"


class UnixSockets(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.path = self.place / "in.sock"
        self.mda = self.enterContext(LmtpServer(self.place / "mda.sock"))

    def config(self, protocol="lmtp", **more):
        return config_for(self.place, servers=[self.mda.address], scan=False, downstream={"protocol": "lmtp"},
                          listener={"address": "unix:" + self.path, "protocol": protocol, **more})

    def deliver(self, hello=b"LHLO", sender=b"a@example.org"):
        with UnixWire(self.path) as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(wire.say(hello + b" client.example")[0], 250)
            self.assertEqual(wire.say(b"MAIL FROM:<" + sender + b">")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<c@example.org>")[0], 250)
            self.assertEqual(wire.say(b"DATA")[0], 354)
            wire.send(CONTENT + b".\r\n")
            replies = [wire.reply() for _ in range(2 if hello == b"LHLO" else 1)]
            self.assertEqual(wire.say(b"QUIT")[0], 221)
            return replies

    def test_lmtp_in_and_out(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        self.assertEqual(gatepost.listeners, {"inbound": "unix:" + self.path})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o666)
        self.mda.replies["c@example.org"].append(b"450 4.2.0 busy")
        self.assertEqual([code for code, _ in self.deliver()], [250, 450])
        self.assertEqual(self.mda.copies, [("b@example.org", CONTENT)])
        summary = gatepost.summary(relay=self.mda.address)
        self.assertEqual(summary["client"], "unix")

    def test_smtp_in(self):
        self.enterContext(Gatepost(self.place, self.config("smtp")))
        self.assertEqual(self.deliver(b"EHLO")[0][0], 250)
        self.assertEqual(self.mda.got("c@example.org"), 1)

    def test_many_clients_of_all_loops(self):
        self.enterContext(Gatepost(self.place, self.config()))
        wires = [self.enterContext(UnixWire(self.path)) for _ in range(100)]
        for wire in wires:
            self.assertEqual(wire.reply()[0], 220)
        for wire in wires:
            self.assertEqual(wire.say(b"QUIT")[0], 221)

    def test_the_file_goes_with_the_service(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        self.assertFalse(os.path.exists(self.path))

    def test_what_a_killed_gatepost_leaves_is_replaced(self):
        first = self.enterContext(Gatepost(self.place, self.config()))
        first.kill()
        self.assertTrue(os.path.exists(self.path))
        self.enterContext(Gatepost(self.place, self.config()))
        self.assertEqual(self.deliver()[0][0], 250)

    def test_a_second_gatepost_takes_nothing_away(self):
        self.enterContext(Gatepost(self.place, self.config()))
        second = Gatepost(self.place, self.config(), wait_ready=False)
        status, log = second.wait()
        self.assertEqual(status, 78)
        self.assertIn("another program listens there", log)
        self.assertEqual(self.deliver()[0][0], 250)

    def test_no_directory(self):
        self.path = self.place / "none/in.sock"
        status, log = Gatepost(self.place, self.config(), wait_ready=False).wait()
        self.assertEqual(status, 78)
        self.assertIn("the directory must exist", log)

    def test_nobody_behind(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        os.unlink(self.place / "mda.sock")
        with UnixWire(self.path) as wire:
            self.assertEqual(wire.reply()[0], 421)
        wait_until(lambda: "downstream_refused" in gatepost.log.text(), "a log line")


if __name__ == "__main__":
    unittest.main()
