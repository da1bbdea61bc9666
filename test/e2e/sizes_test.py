#!/usr/bin/env python3
"""Messages of exactly the sizes at which something changes: the packet that a small one travels in, the buffer it is read
into, memory or file, the limits of scanner and listener. Each is scanned to its last octet and arrives as it was."""
import re
import unittest

from common import Gatepost, Place, config_for
from peers import Downstream
from scanner_mails import EICAR, PREFIX

MAX_INLINE = 16384  # with PREFIX: scanner/job.h
MAX_COPIED = 256 << 10  # with PREFIX: scanner/message.cc
SPOOL_MEMORY = 256 << 10  # config.h
MAX_FILE = 1 << 20
HEADER = b"From: a@example.org\r\nSubject: size\r\n\r\n"


def content(size, last=b""):
    """Of that many octets, with `last` at the very end."""
    room = size - len(HEADER) - len(last) - 2
    lines = (b"0123456789" * 7 + b"\r\n") * (room // 72)
    rest = room - len(lines)
    filler = b"x" * (rest - 2) + b"\r\n" if rest >= 2 else b"y" * rest
    return HEADER + lines + filler + last + b"\r\n"


def around(size):
    return [size - 1, size, size + 1]


class Sizes(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.downstream = self.enterContext(Downstream())

    def start(self, **sections):
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(self.place, servers=[self.downstream.address],
                                                                          **sections)))
        self.wire = self.enterContext(self.gatepost.wire())
        self.wire.reply()
        return self.wire.say(b"EHLO client.example")[1]

    def send(self, octets, parameters=b""):
        for line, code in ((b"MAIL FROM:<a@example.org>" + parameters, 250), (b"RCPT TO:<b@example.org>", 250), (b"DATA", 354)):
            got = self.wire.say(line)
            if got[0] != code:
                return got[0], got[1][4:9]
        self.wire.send(octets + b".\r\n")
        code, text = self.wire.reply()
        return code, text[4:9]

    def check(self, size):
        octets = content(size)
        self.assertEqual(len(octets), size)
        self.assertEqual(self.send(octets), (250, b"2.0.0"), size)
        self.assertEqual(self.downstream.messages[-1][2], octets, size)
        self.assertEqual(self.send(content(size, EICAR)), (550, b"5.7.1"), size)
        self.assertEqual(self.gatepost.summary(size=size, action="refuse")["status"], "VIRUS:Gatepost.Test.EICAR.UNOFFICIAL")

    def test_ways_to_the_scanner(self):
        self.start()
        for size in (*around(MAX_INLINE - len(PREFIX)), *around(MAX_COPIED - len(PREFIX)), *around(SPOOL_MEMORY)):
            self.check(size)
        self.assertEqual(self.send(b""), (250, b"2.0.0"))

    def test_limit_of_the_listener(self):
        offered = self.start(listener={"max_message": MAX_FILE})
        self.assert_limit(offered, MAX_FILE)

    def test_limit_of_the_scanner(self):
        """What EHLO offers is scanned: the line in front, which the scanner adds, counts for nobody."""
        offered = self.start(scanner={"max_file_size": MAX_FILE})
        self.assert_limit(offered, MAX_FILE)

    def test_limit_that_is_no_multiple_of_anything(self):
        offered = self.start(scanner={"max_file_size": 300_001})
        self.assert_limit(offered, 300_001)

    def assert_limit(self, offered, most):
        self.assertEqual(int(re.search(rb"SIZE (\d+)", offered)[1]), most)
        self.check(most - 1)
        self.check(most)
        self.assertEqual(self.send(content(most), b" SIZE=%d" % most), (250, b"2.0.0"))
        taken = len(self.downstream.messages)
        self.assertEqual(self.send(content(most + 1)), (552, b"5.3.4"))
        self.assertEqual(self.send(content(most + 1, EICAR)), (552, b"5.3.4"))
        self.assertEqual(self.wire.say(b"MAIL FROM:<a@example.org> SIZE=%d" % (most + 1))[0], 552)
        self.assertEqual(self.send(content(1000)), (250, b"2.0.0"))
        self.assertEqual(len(self.downstream.messages), taken + 1)


if __name__ == "__main__":
    unittest.main()
