"""What is sent through a pair of neighbours, and what became of it."""
import itertools
import os
import re
import subprocess
from collections import namedtuple

from common import wait_until

Stored = namedtuple("Stored", "recipients content")  # content: from the marker on, LF line ends, without its token
Outcome = namedtuple("Outcome", "delivered said")    # `said`: why not
MARKER = b"X-Interop: "
_number = itertools.count(1)


class NotApplicable(Exception):
    """Why a client or a server cannot do what a case asks for."""


class Letter:
    """A message and how it is to be sent. `content` has CRLF line ends and is not dot-stuffed."""

    def __init__(self, case, body, sender="a@client.example", recipients=("b@example.org",), subject="test", utf8=False,
                 dsn=False, tls=False, chunking=False):
        self.case, self.sender, self.recipients = case, sender, list(recipients)
        self.utf8, self.dsn, self.tls, self.chunking = utf8, dsn, tls, chunking
        self.token = f"{os.getpid():07d}{next(_number):07d}"
        header = (f"{MARKER.decode()}{self.token} {case}\r\nDate: Mon, 23 Nov 2026 12:00:00 +0000\r\nFrom: {sender}\r\n"
                  f"To: b@example.org\r\nSubject: {subject}\r\nMessage-ID: <{self.token}@client.example>\r\n"
                  "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n")
        self.content = header.encode() + body

    def as_stored(self):
        return without_token(self.content)


def without_token(content):
    """Comparable: from the marker on, LF line ends, the token blanked wherever it stands."""
    at = content.find(MARKER)
    if at < 0:
        return content
    token = content[at + len(MARKER):at + len(MARKER) + 14]
    return content[at:].replace(b"\r\n", b"\n").replace(token, b"TOKEN")


class Maildrop:
    """Files that a mail server writes, one per message or per recipient; `wanted` is a pattern of their paths. The
    recipients stand in the path (first group of the pattern), or in fields that the server puts on top."""

    def __init__(self, root, wanted):
        self.root, self.wanted = root, re.compile(wanted)
        self._seen, self._stored = set(), {}

    def _look(self):
        for parent, _, names in os.walk(self.root):
            for path in (os.path.join(parent, name) for name in names):
                found = self.wanted.search(path)
                if not found or path in self._seen:
                    continue
                self._seen.add(path)
                with open(path, "rb") as file:
                    octets = file.read()
                os.remove(path)
                at = octets.find(MARKER)
                token = octets[at + len(MARKER):at + len(MARKER) + 14].decode("ascii", "replace") if at >= 0 else ""
                self._stored.setdefault(token, []).append(
                    Stored([found[1]] if found.groups() else self._told(octets[:max(at, 0)]), without_token(octets)))

    @staticmethod
    def _told(top):
        lines = re.sub(rb"\n[ \t]+", b" ", top.replace(b"\r\n", b"\n"))
        return [each.strip().strip("<>") for value in re.findall(rb"^(?:Delivered-To|Envelope-To): *(.*)$", lines, re.M | re.I)
                for each in value.decode("utf-8", "surrogateescape").split(",")]

    def take(self, token, count, seconds):
        """[Stored] that together have at least `count` recipients, once they are there."""
        def enough():
            self._look()
            return sum(len(each.recipients) for each in self._stored.get(token, [])) >= count
        wait_until(enough, f"{count} copies of {token} in {self.root} (there are "
                   f"{[each.recipients[:3] for each in self._stored.get(token, [])][:3]})", seconds)
        return self._stored.pop(token)

    def none(self, token):
        self._look()
        return token not in self._stored


def certificate(directory):
    """(certificate, key) for mta.example, made once per directory."""
    certificate, key = os.path.join(directory, "certificate.pem"), os.path.join(directory, "key.pem")
    if not os.path.exists(key):
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "3650", "-subj",
                        "/CN=mta.example", "-addext", "subjectAltName=DNS:mta.example,DNS:localhost",
                        "-out", certificate, "-keyout", key], check=True, capture_output=True, timeout=60)
        os.chmod(certificate, 0o644)
        os.chmod(key, 0o600)
    return certificate, key
