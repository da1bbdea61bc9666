"""What two neighbours said to each other: a tap passes connections on to its target and keeps both directions, and
`dialogue` reads them as SMTP or LMTP (RFC 5321, 2033, 3030) up to STARTTLS."""
import contextlib
import re
import socket
import threading
from collections import namedtuple

Said = namedtuple("Said", "line reply octets")  # octets: of content or of a chunk, as they stood on the wire; else None
Message = namedtuple("Message", "sender recipients content by")  # MAIL and RCPT lines, octets, DATA or BDAT


class Tap:
    """Listens on a free loopback port; `target` is a port and may be changed between connections."""

    def __init__(self, target=None):
        self.target = target
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._socket.getsockname()[1]
        self._kept = []
        self._open = 0
        self._changed = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def take(self, seconds):
        """The connections since the last call, [(from the client, from the server)], once all of them have ended."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._open == 0, seconds):
                raise AssertionError(f"a connection is still open after {seconds} s: {self._kept[-1][0][-200:]}")
            kept, self._kept = self._kept, []
        return [(bytes(sent), bytes(answered)) for sent, answered in kept]

    def forget(self):
        """Drops what an attempt that failed has left."""
        with self._changed:
            self._kept = []

    def _accept(self):
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            tape = (bytearray(), bytearray())
            with self._changed:
                self._kept.append(tape)
                self._open += 1
            threading.Thread(target=self._pass, args=(client, tape), daemon=True).start()

    def _pass(self, client, tape):
        with client:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.target)) as server:
                for each in (client, server):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                back = threading.Thread(target=self._copy, args=(server, client, tape[1]), daemon=True)
                back.start()
                self._copy(client, server, tape[0])
                back.join()
        with self._changed:
            self._open -= 1
            self._changed.notify_all()

    @staticmethod
    def _copy(source, sink, kept):
        with contextlib.suppress(OSError):
            while piece := source.recv(262_144):
                kept += piece
                sink.sendall(piece)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def replies_of(answered):
    """Whole replies, multi-line ones joined; up to the first octets that are none (TLS)."""
    lines = []
    for line in answered.split(b"\r\n"):
        if not re.match(rb"[2-5]\d\d([ -]|$)", line):
            return
        lines.append(line)
        if line[3:4] != b"-":
            yield b"\n".join(lines)
            lines = []


def dialogue(sent, answered):
    """[Said] in order, the banner first. LMTP's several replies to one end of data are joined by newlines; what was
    never answered has the reply b""."""
    replies = replies_of(answered)

    def answers(count=1):
        return b"\n".join(next(replies, b"") for _ in range(count))

    said, at, lmtp, accepted = [Said(b"", answers(), None)], 0, False, 0
    while at < len(sent):
        end = sent.find(b"\r\n", at)
        line = sent[at:] if end < 0 else sent[at:end]
        at = len(sent) if end < 0 else end + 2
        verb, octets = line[:4].upper(), None
        if verb == b"BDAT":
            size = int(line.split()[1])
            octets, at = sent[at:at + size], at + size
        ends_chunks = octets is not None and line.upper().endswith(b"LAST")
        said.append(Said(line, answers(accepted if lmtp and ends_chunks and accepted else 1), octets))
        reply = said[-1].reply[:1]
        if verb == b"LHLO":
            lmtp = True
        elif verb in (b"MAIL", b"RSET"):
            accepted = 0
        elif verb == b"RCPT" and reply == b"2":
            accepted += 1
        elif line.upper() == b"STARTTLS" and reply == b"2":
            break
        elif verb == b"DATA" and reply == b"3":
            end = at - 2 if sent[at:at + 3] == b".\r\n" else sent.find(b"\r\n.\r\n", at)
            octets, at = sent[at:end + 2 if end >= 0 else len(sent)], len(sent) if end < 0 else end + 5
            said.append(Said(b"(content)", answers(accepted if lmtp else 1), octets))
    return said


def messages(said):
    """The messages of one dialogue that were sent to their end, as they stood on the wire."""
    found, sender, recipients, pieces = [], b"", [], b""
    for line, reply, octets in said:
        verb = line[:4].upper()
        if verb == b"MAIL":
            sender, recipients, pieces = line, [], b""
        elif verb == b"RCPT" and reply[:1] == b"2":
            recipients.append(line)
        elif octets is not None:
            pieces += octets
            if verb == b"(CON" or line.upper().endswith(b"LAST"):
                found.append(Message(sender, recipients, pieces, b"DATA" if verb == b"(CON" else b"BDAT"))
                pieces = b""
    return found


def starts_tls(said):
    return any(command.upper() == b"STARTTLS" and reply[:1] == b"2" for command, reply, _ in said)
