#!/usr/bin/env python3
"""Extensions before Postfix, which offers CHUNKING: each way in and out stores the same octets; what the client reads,
and what stands on top of the message."""
import random
import re
import smtplib
import unittest

from common import PATIENCE, Gatepost, Place, config_for, wait_until
from peers import Downstream
from postfix_server import Postfix, available, without_trace_fields

CONTENT = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: test\r\nMessage-ID: <%s@client.example>\r\n\r\n"


def ehlo_lines(port):
    with smtplib.SMTP("127.0.0.1", port, timeout=PATIENCE) as client:
        return client.ehlo("client.example")[1].decode().split("\n")


@unittest.skipUnless(available(), "needs root and Postfix")
class Extensions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.postfix = cls.enterClassContext(Postfix(cls.place))

    def gatepost(self, name, servers=None, **listener):
        place = Place()
        self.addCleanup(place.remove)
        config = config_for(place, servers=servers or [self.postfix.address], scan=False, listener=listener)
        config["hostname"] = name
        return self.enterContext(Gatepost(place, config))

    def begin(self, gatepost, user):
        wire = self.enterContext(gatepost.wire())
        self.assertEqual(wire.reply()[0], 220)
        self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
        wire.send(b"MAIL FROM:<%s@sender.example> BODY=8BITMIME\r\nRCPT TO:<%s@example.org>\r\n" % (user, user))
        return wire

    def test_octets_in_chunks(self):
        noise = random.Random(5)
        content = CONTENT % b"chunks" + b"".join(
            noise.choice([b".\r\n", b"..x\r\n", b"\x80\xff\r\n", b"\r\n", b"hello\r\n", b"y" * 990 + b"\r\n"])
            for _ in range(3000))
        wire = self.begin(self.gatepost("gatepost.example"), b"chunks")
        rest, replies = content, 2
        while rest:  # all in one go, as a client may
            size = noise.choice([1, 2, 3, 100, 70_000])
            wire.send(b"BDAT %d\r\n" % len(rest[:size]) + rest[:size])
            rest, replies = rest[size:], replies + 1
        wire.send(b"BDAT 0 LAST\r\n")
        self.assertEqual([wire.reply()[0] for _ in range(replies + 1)], [250] * (replies + 1))
        [stored] = self.postfix.delivered("chunks")
        self.assertEqual(without_trace_fields(stored), content.replace(b"\r\n", b"\n"))

    def test_chunking_withheld(self):
        """The way back where a server's BDAT is broken: dots and all."""
        gatepost = self.gatepost("gatepost.example", withhold=["CHUNKING"])
        self.assertNotIn("CHUNKING", ehlo_lines(gatepost.port))
        content = CONTENT % b"withheld" + b".\r\n..\r\n.x\r\n"
        with gatepost.smtp() as client:
            client.sendmail("a@sender.example", ["withheld@example.org"], content)
        [stored] = self.postfix.delivered("withheld")
        self.assertEqual(without_trace_fields(stored), content.replace(b"\r\n", b"\n"))

    def test_refused_chunk_is_no_command(self):
        wire = self.begin(self.gatepost("gatepost.example", max_message=100), b"big")
        octets = b"QUIT\r\n" * 100
        wire.send(b"BDAT %d\r\n" % len(octets) + octets + b"BDAT %d LAST\r\n" % len(octets) + octets + b"RSET\r\nNOOP\r\n")
        self.assertEqual([wire.reply()[0] for _ in range(6)], [250, 250, 552, 503, 250, 250])
        self.assertEqual(self.postfix.mailbox("big"), [])

    def test_two_in_a_row_with_received(self):
        """Neither of them takes the other for a loop (T:H5)."""
        inner = self.gatepost("inner.example", received=True)
        outer = self.gatepost("outer.example", servers=[f"127.0.0.1:{inner.port}"], received=True)
        with outer.smtp() as client:
            client.sendmail("a@sender.example", ["twice@example.org"], CONTENT % b"twice" + b"x\r\n")
        [stored] = self.postfix.delivered("twice")
        unfolded = re.sub(rb"\n\s+", b" ", stored).decode()
        ours = re.findall(r"^Received: from .*\(gatepost\).*$", unfolded, re.M)
        self.assertRegex(ours[0], r"by inner\.example \(gatepost\) with ESMTP id \S+ for <twice@example\.org>; \w{3}, \d+ ")
        self.assertRegex(ours[1], r"by outer\.example \(gatepost\) with ESMTP id ")
        self.assertEqual(len(ours), 2)

    def test_hidden(self):
        """Banner, EHLO and forwarded commands are Postfix's own."""
        gatepost = self.gatepost("gatepost.example", hide=True, max_message=0, forward_commands=["VRFY", "ETRN"])
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=PATIENCE) as direct:
            vrfy = direct.vrfy("someone@example.org")
        own = [line for line in ehlo_lines(self.postfix.port) if line != "STARTTLS"]
        self.assertEqual(ehlo_lines(gatepost.port), own)
        self.assertIn("CHUNKING", own)
        with gatepost.wire() as wire:
            self.assertEqual(wire.reply(), (220, b"220 mta.example ESMTP Postfix"))
        with gatepost.smtp() as client:
            self.assertEqual(client.vrfy("someone@example.org"), vrfy)


class ConnectionsOfOneClient(unittest.TestCase):
    """What a client leaves on a downstream connection is for nobody else (dialogue.md D4; T:B10)."""
    SECRET = b"AGFubmEAc2VjcmV0"  # NUL anna NUL secret

    def serve(self, **listener):
        place = Place()
        self.addCleanup(place.remove)
        self.downstream = self.enterContext(Downstream(keywords=(b"AUTH PLAIN",)))
        config = config_for(place, [self.downstream.address], scan=False, loops=1, downstream={"identity": "none"},
                            listener=listener)
        return self.enterContext(Gatepost(place, config))

    def session(self, gatepost, *commands):
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(b"Subject: x\r\n\r\n.\r\n")
            codes = [wire.reply()[0], *(wire.say(command)[0] for command in commands)]
            wire.say(b"QUIT")
        wait_until(lambda: gatepost.sessions() == 0, "the end of the session")
        return codes

    def test_shared_without_these(self):
        gatepost = self.serve()
        self.session(gatepost)
        self.session(gatepost)
        self.assertEqual(self.downstream.opened, 1)

    def test_auth(self):
        gatepost = self.serve()
        self.assertEqual(self.session(gatepost, b"AUTH PLAIN " + self.SECRET), [250, 235])
        self.session(gatepost)
        self.assertEqual(self.downstream.opened, 2)
        gatepost.signal(15)
        _, log = gatepost.wait()
        self.assertNotIn(self.SECRET.decode(), log)
        self.assertNotIn("secret", log)

    def test_vrfy(self):
        gatepost = self.serve(forward_commands=["VRFY"])
        self.assertEqual(self.session(gatepost, b"VRFY someone"), [250, 250])
        self.session(gatepost)
        self.assertEqual(self.downstream.opened, 2)


if __name__ == "__main__":
    unittest.main()
