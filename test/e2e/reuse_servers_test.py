#!/usr/bin/env python3
"""What one client has done on a connection to the mail server is not counted against the next one (dialogue.md D4): Postfix
slows down and hangs up by the errors and junk commands of a connection, Exim hangs up by its commands without mail,
Sendmail slows down with each greeting."""
import os
import sys
import time
import unittest

from common import Gatepost, Place, config_for, wait_until
from postfix_server import Postfix, available

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from neighbours.exim import EximServer  # noqa: E402
from neighbours.packages import Unavailable  # noqa: E402
from neighbours.sendmail import Sendmail  # noqa: E402

CONTENT = b"Subject: hello\r\n\r\nHello Bert\r\n"
REFUSED = b"RCPT TO:<nobody@elsewhere.example>"
PAUSE = 1  # second at least, for each reply to somebody who has done too much: a session has six of them


class Reused(unittest.TestCase):
    def serve(self, address, place, **keys):
        config = config_for(place, [address], scan=False, loops=1, downstream={"identity": "none", **keys})
        return self.enterContext(Gatepost(place, config))

    def session(self, gatepost, *lines, name=b"a.example"):
        """Ends before this returns, and what is left of it downstream may serve the next one. The codes of the replies."""
        with gatepost.wire() as wire:
            codes = [wire.reply()[0]]
            codes += [wire.say(line)[0] for line in (b"EHLO " + name, *lines, b"QUIT")]
        wait_until(lambda: gatepost.sessions() == 0, "the end of the session")
        return codes

    def undisturbed(self, gatepost):
        """The next client delivers its mail as if nobody had been there."""
        began = time.monotonic()
        codes = self.session(gatepost, b"MAIL FROM:<b@sender.example>", b"RCPT TO:<b@example.org>", b"DATA", CONTENT + b".",
                             name=b"b.example")
        self.assertEqual(codes, [220, 250, 250, 250, 354, 250, 221])
        self.assertLess(time.monotonic() - began, 3 * PAUSE)


class BehindAny(Reused):
    """What each of the servers has to bear; their sessions are as slow as the server makes them."""

    def setUp(self):
        own = Place()
        self.addCleanup(own.remove)
        self.gatepost = self.serve(self.server.address, own)

    def test_greetings_without_mail(self):
        for number in range(30):
            self.assertEqual(self.session(self.gatepost, name=b"a%d.example" % number), [220, 250, 221])
        self.undisturbed(self.gatepost)

    def test_greetings_with_mail(self):
        for number in range(10):
            self.undisturbed(self.gatepost)
            self.session(self.gatepost, name=b"a%d.example" % number)

    def test_recipients_that_are_only_asked_for(self):
        for number in range(30):
            codes = self.session(self.gatepost, b"MAIL FROM:<>", b"RCPT TO:<b@example.org>", b"RSET", name=b"a%d.example" % number)
            self.assertEqual(codes, [220, 250, 250, 250, 250, 221])
        self.undisturbed(self.gatepost)

    def test_resets(self):
        for _ in range(15):
            self.assertEqual(self.session(self.gatepost, *[b"RSET"] * 4), [220, *[250] * 5, 221])
        self.undisturbed(self.gatepost)


class Unpacked(BehindAny):
    """Of a package that is fetched for the test."""

    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        try:
            cls.server = cls.enterClassContext(cls.program(place))
        except Unavailable as missing:
            raise unittest.SkipTest(str(missing)) from None


class BehindExim(Unpacked):
    program = EximServer

    def said(self, words):
        with open(self.server.directory + "/log-main", errors="replace") as log:
            return words in log.read()

    def connected(self):
        port = f":{self.server.port:04X}"
        with open("/proc/net/tcp") as sockets:
            return any(fields[2].endswith(port) and fields[3] != "06" for fields in map(str.split, sockets))

    def stored(self, token):
        drop = os.path.join(self.server.directory, "mail/new")
        names = os.listdir(drop) if os.path.isdir(drop) else []
        return sum(token in open(os.path.join(drop, name), "rb").read() for name in names)

    def test_a_message_that_takes_more_keep_alives_than_it_bears(self):
        """It hangs up after ten NOOPs; whoever sends the message does not hear of it."""
        place, token = Place(), b"slowly, for Exim"
        self.addCleanup(place.remove)
        gatepost = self.serve(self.server.address, place, keepalive="20ms")
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(b"Subject: " + token + b"\r\n")
            wait_until(lambda: self.said('too many nonmail commands (last was "NOOP")'), "the end of Exim's patience")
            wait_until(lambda: not self.connected(), "gatepost has seen it")
            self.assertEqual(wire.say(b"\r\nHello Bert\r\n.")[0], 250, gatepost.log.tail())
            self.assertEqual(wire.say(b"QUIT")[0], 221)
        self.assertEqual(wait_until(lambda: self.stored(token), "the message"), 1)


class BehindSendmail(Unpacked):
    program = Sendmail


@unittest.skipUnless(available(), "needs root and Postfix")
class BehindPostfix(BehindAny):
    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        cls.server = cls.enterClassContext(Postfix(place))

    def connections(self):
        return self.server.log().count("]: connect from")

    def test_connections_are_reused_at_all(self):
        before = self.connections()
        for number in range(5):
            self.undisturbed(self.gatepost)
            self.session(self.gatepost, name=b"a%d.example" % number)
        self.assertEqual(self.connections(), before + 1)

    def test_each_message_tells_of_its_own_client(self):
        for name in (b"first.example", b"second.example"):
            recipient = name.split(b".")[0]
            self.session(self.gatepost, b"MAIL FROM:<a@sender.example>", b"RCPT TO:<" + recipient + b"@example.org>", b"DATA",
                         CONTENT + b".", name=name)
            [stored] = self.server.delivered(recipient.decode())
            self.assertIn(b"Received: from " + name + b" ", stored)

    def test_fifteen_errors_in_one_session(self):
        with self.gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO a.example")
            wire.send(b"MAIL FROM:<a@sender.example>\r\n" + 15 * (REFUSED + b"\r\n") + b"QUIT\r\n")
            began = time.monotonic()
            self.assertEqual(wire.reply()[0], 250)
            self.assertEqual([wire.reply()[0] for _ in range(15)], [454] * 15)
            self.assertGreater(time.monotonic() - began, 3 * PAUSE)  # that is how Postfix treats him
        wait_until(lambda: self.gatepost.sessions() == 0, "the end of the session")
        self.undisturbed(self.gatepost)

    def test_fifteen_errors_one_in_each_session(self):
        for _ in range(15):
            self.assertEqual(self.session(self.gatepost, b"MAIL FROM:<a@sender.example>", REFUSED), [220, 250, 250, 454, 221])
        self.undisturbed(self.gatepost)

    def test_more_greetings_without_mail_than_it_bears(self):
        for number in range(130):
            self.assertEqual(self.session(self.gatepost, name=b"a%d.example" % number), [220, 250, 221])
        self.undisturbed(self.gatepost)


del BehindAny, Unpacked  # they are no tests of their own


if __name__ == "__main__":
    unittest.main()
