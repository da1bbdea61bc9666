"""The cases that every pair carries. Each says what to send, and how the dialogue shows that it was really done."""
import random
import re
from collections import namedtuple

from .letter import Letter
from .tap import starts_tls

# make(): a Letter; used(dialogue): whether the case's feature is seen on the wire; keyword: what a server offers for it.
Case = namedtuple("Case", "name make used keyword")
EIGHT_BIT = "Grüße, 漢字 und mehr\r\n".encode() + bytes(range(0xa0, 0x100)) + b"\r\n.dot\r\n..\r\n...x\r\nend\r\n"


def mail_with(pattern):
    return lambda said: any(re.match(rb"MAIL FROM:.*" + pattern, line.line, re.I) for line in said)


def anything(_):
    return True


def dsn_in(said):
    """Not all clients know ENVID and ORCPT; those that do have them compared with the other parameters."""
    return mail_with(rb" RET=HDRS")(said) and any(re.match(rb"RCPT TO:.* NOTIFY=", each.line, re.I) for each in said)


def thirty_megabytes():
    block = random.Random(2).randbytes(50_000).hex().encode()
    lines = b"\r\n".join(block[at:at + 76] for at in range(0, len(block), 76)) + b"\r\n"
    return lines * (30_000_000 // len(lines) + 1)


def line_of(octets):
    """A line of that many octets without its CRLF, between others."""
    name = f"line {octets}"
    body = b"before\r\n" + (b"0123456789" * (octets // 10 + 1))[:octets] + b"\r\nafter\r\n"
    return Case(name, lambda: Letter(name, body), anything, None)


def recipients(count):
    return [f"r{number:04d}@example.org" for number in range(count)]


CASES = [
    Case("8-bit", lambda: Letter("8-bit", EIGHT_BIT), anything, None),
    Case("SMTPUTF8", lambda: Letter("SMTPUTF8", "Grüße, 漢字\r\n".encode(), "jürgen@client.example", ["müller@example.org"], "Prüfung 漢字", utf8=True),
         mail_with(rb" SMTPUTF8\b"), b"SMTPUTF8"),
    Case("DSN", lambda: Letter("DSN", b"text\r\n", dsn=True), dsn_in, b"DSN"),
    Case("1000 recipients", lambda: Letter("1000 recipients", b"text\r\n", recipients=recipients(1000)), anything, None),
    Case("empty body", lambda: Letter("empty body", b""), anything, None),
    Case("30 MB", lambda: Letter("30 MB", thirty_megabytes()), anything, None),
    line_of(998), line_of(999), line_of(1000), line_of(2048),
    Case("STARTTLS", lambda: Letter("STARTTLS", EIGHT_BIT, recipients=["starttls@example.org"], tls=True),
         starts_tls, b"STARTTLS"),
    Case("BDAT", lambda: Letter("BDAT", EIGHT_BIT, recipients=["chunking@example.org"], chunking=True),
         lambda said: any(each.line[:4].upper() == b"BDAT" for each in said), b"CHUNKING"),
]
