#!/usr/bin/env python3
"""What senders write into the log (T:I5): every octet wherever it is legal, and where it is not; each line is one JSON
object of one event, the count of lines is exact, and what was said comes back as it was said."""
import json
import unicodedata
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import Downstream
from scanner_mails import EICAR, mail

HOSTILE = ["\x1b[2J\x1b]0;title\x07", "%s%n%x", "a\u2028b\u2029c", "\u202egnp.exe", "\x7f\x80\x9b31m", "{\"status\":\"CLEAN\"}",
           "x, status=CLEAN, action=relay", "</script>", "\ufeff", "\U0001f600", "\t\t"]

NEVER = ("Cc", "Cs", "Zl", "Zp")  # controls, halves of surrogates, line and paragraph separators
REORDERING = "\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def quoted(text):
    """A local part that may hold anything that a quoted-string may (RFC 5321 4.1.2, RFC 6531)."""
    return '"' + "".join("\\" + c if c in '"\\' else c for c in text) + '"'


class LogInjection(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def start(self, **sections):
        self.downstream = self.enterContext(Downstream())
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(
            self.place, servers=[self.downstream.address],
            **{"listener": {"max_errors": 100_000, "max_junk": 100_000}, **sections})))
        self.lines_before = len(self.gatepost.log.all)

    def summaries(self, count):
        """So many there are, and every other line since the start is none of a client's making."""
        def found():
            return [line for line in self.gatepost.records()[self.lines_before:] if "status" in line]
        wait_until(lambda: len(found()) >= count, f"{count} summaries")
        self.assertEqual(len(found()), count)
        for line in self.gatepost.log.all:
            self.assertFalse(any(unicodedata.category(c) in NEVER or c in REORDERING for c in line), line)
            self.assertLessEqual(len(line.encode()), 8192)
        return found()

    def converse(self, wire, helo, sender, recipient):
        for line in (b"EHLO " + helo, b"MAIL FROM:<" + sender + b"> SMTPUTF8", b"RCPT TO:<" + recipient + b">", b"DATA"):
            got = wire.say(line)
            if got[0] >= 400:
                return got[0]
        wire.send(mail() + b".\r\n")
        return wire.reply()[0]

    def test_every_octet_where_it_is_legal(self):
        """Printable ASCII as it is or behind a backslash, U+0080 to U+00FF as UTF-8: taken, and told as it was said."""
        self.start(scan=False)
        legal = [chr(number) for number in range(32, 127)] + [chr(number) for number in range(0xa0, 0x100)]
        with self.gatepost.wire() as wire:
            wire.reply()
            for c in legal:
                address = (quoted(f"a{c}b") + "@example.org").encode()
                self.assertEqual(self.converse(wire, b"client.example", address, address), 250, c)
        for c, line in zip(legal, self.summaries(len(legal)), strict=True):
            self.assertEqual(line["from"], line["to"])
            self.assertIn(f"a{c}b", line["from"].replace("\\", "") if c not in '"\\' else line["from"].replace("\\" + c, c))
            self.assertEqual((line["action"], line["outcome"]), ("relay", "answered"))

    def test_every_octet_where_it_is_not(self):
        """In HELO, in both paths, in parameters: one reply each, no line but the summary of a transaction that began."""
        self.start(scan=False)
        taken = 0
        for number in range(256):
            odd = bytes([number])
            if odd in (b"\r", b"\n"):
                continue
            with self.gatepost.wire() as wire:
                wire.reply()
                codes = [wire.say(line)[0] for line in (b"EHLO x" + odd + b"y", b"MAIL FROM:<a" + odd + b"b@example.org>", b"RSET",
                                                        b"MAIL FROM:<a@example.org> X=" + odd, b"RSET", b"NOOP " + odd)]
                if codes[0] != 250:
                    self.assertEqual(wire.say(b"EHLO c.example")[0], 250, (odd, codes))
                begun = (codes[0] == 250 and codes[1] == 250) + (codes[0] == 250 and codes[3] == 250)
                self.assertEqual(self.converse(wire, b"c.example", b"n%d@example.org" % number, b"b@example.org"), 250)
                taken += 1 + begun
                self.assertEqual(wire.say(b"QUIT")[0], 221)
        answered = [line["from"] for line in self.summaries(taken) if line["outcome"] == "answered"]
        self.assertEqual(sorted(answered), sorted(f"n{number}@example.org" for number in range(256) if number not in (10, 13)))

    def test_hostile_text(self):
        self.start()
        for number, text in enumerate(HOSTILE):
            content = (f"From: {text}\r\nSubject: {text}\r\n".encode() +
                       mail((text.encode().replace(b'"', b""), EICAR), text=text.encode() + b"\r\n"))
            with self.gatepost.wire() as wire:
                wire.reply()
                wire.say(b"EHLO " + text.encode())
                wire.say(b"EHLO c.example")
                self.assertEqual(wire.say(f"MAIL FROM:<n{number}@example.org>".encode())[0], 250)
                self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
                self.assertEqual(wire.say(b"DATA")[0], 354)
                wire.send(content + b".\r\n")
                self.assertEqual(wire.reply()[0], 550)
        told = {line["from"]: line["action"] for line in self.summaries(len(HOSTILE))}
        self.assertEqual(told, {f"n{number}@example.org": "refuse" for number in range(len(HOSTILE))})

    def test_field_of_a_megabyte(self):
        """On one line, folded a thousand times, as a file's name: passed on as it is, and the log line is as long as ever."""
        self.start()
        folded = b"\r\n ".join([b"x" * 1000] * 1000)
        contents = [b"Subject: " + field + b"\r\n" + rest for field in (b"x" * 1_000_000, folded, b"\x1b[31m" * 200_000)
                    for rest in (mail(), mail((b"e.com", EICAR)))]
        contents.append(mail((b"n" * 1_000_000 + b".com", EICAR)))
        for content in contents:
            with self.gatepost.wire() as wire:
                wire.to_data()
                wire.send(content + b".\r\n")
                wanted = 550 if b"e.com" in content or b"n.com" in content else 250
                self.assertEqual(wire.reply()[0], wanted, content[-200:])
        self.assertEqual([content for _, _, content in self.downstream.messages], contents[:6:2])
        lines = self.summaries(len(contents))
        self.assertEqual(sorted(line["size"] for line in lines), sorted(map(len, contents)))
        self.assertLess(max(len(json.dumps(line)) for line in lines), 2000)

    def test_endless_addresses_and_names(self):
        """As long as the commands allow, in quotes, to the line's end: the line stays whole JSON."""
        self.start(scan=False)
        with self.gatepost.wire() as wire:
            wire.reply()
            local = quoted("\\" * 30).encode()
            for helo in (b"h" * 255, b"h" * 400):
                code = self.converse(wire, helo, local + b"@" + b"d" * 63 + b".example", local + b"@" + b"d" * 63 + b".example")
                self.assertIn(code, (250, 501, 503))
        for line in self.summaries(len(self.downstream.messages)):
            self.assertEqual(line["outcome"], "answered")


if __name__ == "__main__":
    unittest.main()
