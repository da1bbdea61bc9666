#!/usr/bin/env python3
"""`hide` (dialogue.md D8): the same dialogue with a Postfix and with gatepost before it, side by side. Nothing but what the
masks name may differ: the 354, a refusal of DATA, which comes at the end of data, the replies to chunks, and queue ids."""
import re
import unittest

from common import Gatepost, Place, config_for
from peers import Wire
from postfix_server import Postfix, available, without_trace_fields

CONTENT = b"Message-ID: <%s@client.example>\r\nX-Gatepost-Verdict: mine\r\nSubject: x\r\n\r\n..\r\nhello\r\n"
BODY = b"Subject: big\r\n\r\n" + b"x" * 70 + b"\r\n"
MASKS = (
    (rb"354 .*", b"354"),
    (rb"queued as \w+", b"queued as ID"),
    (rb"250 2\.0\.0 (?:Ok: )?(\d+) (?:bytes|octets received)$", rb"250 \1 octets"),  # to BDAT, the last one excepted
)
SETTINGS = """smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 100
message_size_limit = 100000
"""
COMMANDS = (b"EHLO client.example", b"NOOP", b"NOOP with words", b"HELP", b"HELP me", b"RSET", b"VRFY someone@example.org",
            b"VRFY", b"ETRN example.org", b"XYZZY", b"xyzzy 1 2", b"EHLO", b"HELO", b"MAIL", b"MAIL FROM", b"RCPT TO:<b@example.org>",
            b"MAIL FROM:<>", b"RSET", b"MAIL FROM:<a@sender.example> SIZE=999999", b"MAIL FROM:<a@sender.example> FOO=bar",
            b"MAIL FROM:<a@sender.example> BODY=9BIT", b"MAIL FROM:<a@sender.example> BODY=8BITMIME SIZE=100",
            b"MAIL FROM:<b@sender.example>", b"RCPT", b"RCPT TO:", b"RCPT TO:<someone@elsewhere.example>", b"RCPT TO:<hidden@example.org>",
            b"RCPT TO:<hidden@example.org> FOO=bar", b"NOOP", b"VRFY hidden@example.org")


def masked(reply):
    text = reply[1]
    for pattern, instead in MASKS:
        text = re.sub(pattern, instead, text)
    return text


def record(port):
    """[(what was sent, its masked reply)]"""
    said = []
    with Wire(port) as wire:
        said.append((b"", masked(wire.reply())))

        def say(line, more=b""):
            wire.send(line + b"\r\n" + more)
            said.append((line, masked(wire.reply())))

        for line in COMMANDS:
            say(line)
        say(b"DATA")
        say(CONTENT % b"data" + b".")
        # No more than the RFC allows: no recipients, a nested BDAT, a chunk too big.
        for line, chunk in ((b"MAIL FROM:<a@sender.example>", b""), (b"RCPT TO:<hidden@example.org>", b""),
                            (b"BDAT 4", b"X: y"), (b"BDAT 2", b"\r\n"), (b"NOOP", b""), (b"BDAT %d LAST" % len(BODY), BODY)):
            say(line, chunk)
        for line in (b"HELO client.example", b"MAIL FROM:<a@sender.example>", b"RSET", b"NOOP"):
            say(line)
        say(b"QUIT")
        said.append((b"the end", wire.reply()[1]))
    return said


@unittest.skipUnless(available(), "needs root and Postfix")
class Hide(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.postfix = cls.enterClassContext(Postfix(cls.place, settings=SETTINGS))

    def gatepost(self, **listener):
        place = Place()
        self.addCleanup(place.remove)
        config = config_for(place, [self.postfix.address], scan=False,
                            listener={"max_message": 0, "max_errors": 100, "max_junk": 1000, "forward_commands": ["VRFY", "ETRN", "EXPN"], **listener})
        return self.enterContext(Gatepost(place, config))

    def test_side_by_side(self):
        direct = record(self.postfix.port)
        through = record(self.gatepost(hide=True).port)
        self.assertEqual(len([reply for _, reply in direct if reply[:1] == b"5"]), 17, "the dialogue is about refusals, too")
        for expected, got in zip(direct, through, strict=True):
            self.assertEqual(got, expected)
        first, second = [each for each in self.postfix.delivered("hidden", 4) if b"<data@" in each]
        self.assertEqual(without_trace_fields(first), without_trace_fields(second))

    def test_the_comparison_can_fail(self):
        direct, through = record(self.postfix.port), record(self.gatepost().port)
        different = [line for (line, reply), (_, shown) in zip(direct, through, strict=True) if reply != shown]
        for line in (b"", b"EHLO client.example", b"HELP", b"XYZZY", b"MAIL FROM:<b@sender.example>", b"HELO client.example"):
            self.assertIn(line, different)


if __name__ == "__main__":
    unittest.main()
