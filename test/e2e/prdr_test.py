"""PRDR (draft-hall-prdr) towards SMTP clients in front of an LMTP server: each recipient's own reply where they differ, one
reply where they do not, and the retry is the client's business for those recipients that have not got it."""
import re
import socket
import struct
import unittest

from common import Gatepost, Place, config_for
from lmtp_peer import LmtpServer
from peers import Downstream
from scanner_mails import EICAR

CONTENT = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
BUSY, NEVER = b"450 4.2.0 busy", b"550 5.2.1 never"
STORED = (250, b"250 2.0.0 stored")
ONE_EACH = (353, b"353 One reply per recipient follows")
NAMES = (b"r1", b"r2", b"r3")


class PrdrTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.mda = self.enterContext(LmtpServer(chunking=True))

    def serve(self, **more):
        config = config_for(self.place, servers=[self.mda.address], scan=more.pop("scan", False),
                            downstream={"protocol": "lmtp"}, **more)
        return self.enterContext(Gatepost(self.place, config))

    def fates(self, *replies):
        for name, reply in zip(NAMES, replies):
            if reply:
                self.mda.replies[name.decode() + "@example.org"].append(reply)

    def begin(self, wire, names=NAMES, prdr=b" PRDR"):
        self.assertEqual(wire.reply()[0], 220)
        self.assertIn(b"PRDR", re.split(b"\n250[ -]", wire.say(b"EHLO client.example")[1]))
        self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>" + prdr)[0], 250)
        for name in names:
            self.assertEqual(wire.say(b"RCPT TO:<" + name + b"@example.org>")[0], 250)

    def by_data(self, wire, content=CONTENT):
        self.assertEqual(wire.say(b"DATA")[0], 354)
        wire.send(content + b".\r\n")

    def replies(self, wire, count):
        """Then the session goes on, so that there was none more."""
        got = [wire.reply() for _ in range(count)]
        self.assertEqual(wire.say(b"NOOP")[0], 250)
        return got

    def copies(self):
        return sorted(recipient for recipient, _ in self.mda.copies)

    def test_each_fares_by_itself(self):
        gatepost = self.serve()
        with gatepost.wire() as wire:
            self.begin(wire)
            self.fates(None, BUSY, NEVER)
            self.by_data(wire)
            self.assertEqual(self.replies(wire, 5), [ONE_EACH, STORED, (450, BUSY), (550, NEVER),
                                                     (250, b"250 2.0.0 Ok, as each recipient's reply says")])
            # The client sends it to the second one alone, and that is no second copy for the first.
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org> PRDR")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<r2@example.org>")[0], 250)
            self.by_data(wire)
            self.assertEqual(self.replies(wire, 1), [STORED])
        self.assertEqual(self.copies(), ["r1@example.org", "r2@example.org"])

    def test_alike_is_one_reply(self):
        for reply in (None, BUSY, NEVER):
            with self.subTest(reply), self.serve().wire() as wire:
                self.begin(wire)
                self.fates(reply, reply, reply)
                self.by_data(wire)
                self.assertEqual(self.replies(wire, 1), [(int(reply[:3]), reply) if reply else STORED])

    def test_nobody_has_it(self):
        with self.serve().wire() as wire:
            self.begin(wire)
            self.fates(BUSY, NEVER, NEVER)
            self.by_data(wire)
            got = self.replies(wire, 5)
            self.assertEqual(got[:4], [ONE_EACH, (450, BUSY), (550, NEVER), (550, NEVER)])
            self.assertEqual(got[4][0], 451)
        self.assertEqual(self.copies(), [])

    def test_a_client_that_hears_no_reply_gives_nobody_a_second_copy(self):
        gatepost = self.serve()
        with gatepost.wire() as wire:
            self.begin(wire)
            self.fates(None, BUSY, None)
            self.mda.before_reply = lambda recipient: self.cut(wire) if recipient == "r3@example.org" else None
            self.by_data(wire)
            gatepost.summary(outcome="answer_lost")
        self.mda.before_reply = lambda recipient: None
        with gatepost.wire() as wire:
            self.begin(wire)
            self.by_data(wire)
            self.assertEqual(self.replies(wire, 1)[0][0], 250)
        self.assertEqual(self.copies(), [name.decode() + "@example.org" for name in NAMES])

    def cut(self, wire):
        """By RST, so that whatever is written is lost at once."""
        wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        wire.socket.close()

    def test_by_chunks(self):
        with self.serve().wire() as wire:
            self.begin(wire)
            self.fates(NEVER, None, None)
            for chunk, last in ((CONTENT[:20], b""), (CONTENT[20:], b" LAST")):
                wire.send(b"BDAT %d%s\r\n" % (len(chunk), last) + chunk)
            self.assertEqual(wire.reply()[0], 250)  # of the first
            self.assertEqual([code for code, _ in self.replies(wire, 5)], [353, 550, 250, 250, 250])
        self.assertEqual(self.mda.copies, [("r2@example.org", CONTENT), ("r3@example.org", CONTENT)])

    def test_pipelined_to_the_end(self):
        with self.serve().wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            self.fates(None, NEVER)
            wire.send(b"MAIL FROM:<a@example.org> PRDR\r\nRCPT TO:<r1@example.org>\r\nRCPT TO:<r2@example.org>\r\nDATA\r\n")
            self.assertEqual([wire.reply()[0] for _ in range(4)], [250, 250, 250, 354])
            wire.send(CONTENT + b".\r\nQUIT\r\n")
            self.assertEqual([wire.reply()[0] for _ in range(5)], [353, 250, 550, 250, 221])

    def test_infected_is_refused_once_for_all(self):
        with self.serve(scan=True).wire() as wire:
            self.begin(wire)
            self.by_data(wire, b"Subject: x\r\n\r\n" + EICAR + b"\r\n")
            [(code, text)] = self.replies(wire, 1)
            self.assertEqual((code, text[:9]), (550, b"550 5.7.1"))
        self.assertEqual(self.mda.transactions, 0)

    def test_who_does_not_ask_gets_one_reply(self):
        with self.serve().wire() as wire:
            self.begin(wire, prdr=b"")
            self.fates(None, NEVER, None)
            self.by_data(wire)
            self.assertEqual(self.replies(wire, 1)[0][0], 554)

    def test_refused_where_it_is_not_offered(self):
        with Downstream(keywords=(b"PRDR",)) as server:
            config = config_for(self.place, servers=[server.address], scan=False)
            with Gatepost(self.place, config) as gatepost, gatepost.wire() as wire:
                wire.reply()
                self.assertNotIn(b"PRDR", wire.say(b"EHLO client.example")[1])
                self.assertEqual(wire.say(b"MAIL FROM:<a@example.org> PRDR")[0], 555)


if __name__ == "__main__":
    unittest.main()
