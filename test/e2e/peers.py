"""The two ends around gatepost: a client that says exactly what a test says, and a mail server that does what it is told."""
import contextlib
import os
import socket
import ssl
import threading

SANITIZED = os.environ.get("GATEPOST_SANITIZED") == "1"
PATIENCE = 60 if SANITIZED else 20  # seconds that anything may take which is not measured


class Wire:
    """An SMTP client that says exactly what a test says."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
        self.buffer = b""

    @classmethod
    def over(cls, connected):
        """On a connection that was made elsewhere."""
        wire = cls.__new__(cls)
        wire.socket, wire.buffer = connected, b""
        return wire

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, octets):
        self.socket.sendall(octets)

    def reply(self):
        """(code, whole text) of the next reply; (0, b"") at the end of the connection."""
        lines = []
        while True:
            while b"\r\n" not in self.buffer:
                try:
                    piece = self.socket.recv(65536)
                except ConnectionResetError:
                    piece = b""
                if not piece:
                    return 0, b""
                self.buffer += piece
            line, self.buffer = self.buffer.split(b"\r\n", 1)
            lines.append(line)
            if line[3:4] != b"-":
                return int(line[:3]), b"\n".join(lines)

    def say(self, line):
        self.send(line + b"\r\n")
        return self.reply()

    def to_data(self, sender=b"a@example.org", recipients=(b"b@example.org",)):
        """Banner to 354."""
        for line, code in ((None, 220), (b"EHLO client.example", 250), (b"MAIL FROM:<" + sender + b">", 250),
                           *((b"RCPT TO:<" + each + b">", 250) for each in recipients), (b"DATA", 354)):
            got = self.reply() if line is None else self.say(line)
            if got[0] != code:
                raise AssertionError(f"{line} was answered {got}")

    def reset(self):
        """Closes with RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.socket.close()


class Downstream:
    """A mail server of the test's own: takes everything, keeps what it took, and misbehaves when told.

    `on_data` is called with each message before its reply and may wait, raise ConnectionAbortedError (the connection is
    dropped without a reply) or return a reply of its own. `tls`, an ssl.SSLContext, offers STARTTLS; `starttls` is what
    it answers (220: it means it). `keywords` are offered besides; any AUTH succeeds.
    """

    def __init__(self, on_data=None, at=("127.0.0.1", 0), tls=None, starttls=b"220 2.0.0 Ready", keywords=(), banner=b"220 next.example ESMTP"):
        self.banner = banner
        self.tls, self.starttls = tls, starttls
        self.keywords = b"".join(b"250-" + keyword + b"\r\n" for keyword in keywords)
        self.secured = 0  # connections with TLS
        self.in_plain_text = 0  # messages without
        self.messages = []  # (reverse-path line, forward-path lines, content after unstuffing)
        self.opened = self.closed = self.data_commands = 0  # connections; DATA, whatever came of it
        self.nested = 0  # as if a transaction were open, until it has had more connections than these
        self.at_mail = []  # replies to the next MAIL commands; b"": hangs up instead
        self.relays = True  # takes the recipients of a relay probe
        self.resets = 0  # RSET that were answered
        self.at_ehlo = []  # replies to the next EHLO commands, other than the usual one
        self.greetings = []  # EHLO lines, of all connections
        self.forwarded = []  # XFORWARD lines, of all connections
        self._connections = set()
        self._counting = threading.Lock()
        self.on_data = on_data or (lambda message: None)
        self.arrived = threading.Event()
        self._socket = socket.create_server(at, backlog=1024)
        self.address = "%s:%d" % self._socket.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def hang_up(self):
        """Closes every connection, as a server does that has waited long enough."""
        for connection in list(self._connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with self._counting:
            self.opened += 1
            self._connections.add(connection)
        try:
            self._speak(connection)
        finally:
            self._connections.discard(connection)
            with self._counting:
                self.closed += 1

    def _speak(self, connection):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            connection.settimeout(300)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.sendall(self.banner + b"\r\n")
            self._dialogue(connection, stack)

    def _dialogue(self, connection, stack):
        lines = connection.makefile("rb")

        def answer(text):
            connection.sendall(text + b"\r\n")

        sender, recipients = b"", []
        for line in lines:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.greetings.append(line.strip())
                sender, recipients = b"", []
                if self.at_ehlo:
                    answer(self.at_ehlo.pop(0))
                    continue
                offer = b"250-STARTTLS\r\n" if self.tls and not isinstance(connection, ssl.SSLSocket) else b""
                answer(b"250-next.example\r\n" + offer + self.keywords + b"250-PIPELINING\r\n250-SIZE 104857600\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n"
                       b"250-DSN\r\n250 ENHANCEDSTATUSCODES")
            elif verb == b"STAR":
                answer(self.starttls)
                if self.starttls.startswith(b"220"):
                    lines.detach()
                    connection = stack.enter_context(self.tls.wrap_socket(connection, server_side=True))
                    self.secured += 1
                    return self._dialogue(connection, stack)
            elif verb == b"AUTH":
                answer(b"235 2.7.0 Ok")
            elif verb == b"QUIT":
                answer(b"221 2.0.0 Bye")
                return
            elif verb == b"DATA":
                with self._counting:
                    self.data_commands += 1
                answer(b"354 go on")
                message = (sender, recipients, self._content(lines))
                if message[2] is None:
                    return
                self.messages.append(message)
                self.in_plain_text += not isinstance(connection, ssl.SSLSocket)
                self.arrived.set()
                answer(self.on_data(message) or b"250 2.0.0 taken")
                sender, recipients = b"", []
            elif verb == b"MAIL" and self.at_mail:
                reply = self.at_mail.pop(0)
                if not reply:
                    return
                answer(reply)
                sender = line.strip() if reply.startswith(b"2") else b""
            elif verb == b"RCPT" and b"relay-probe" in line and not self.relays:
                answer(b"554 5.7.1 Relay access denied")
            elif verb == b"MAIL" and (sender or self.opened <= self.nested):
                answer(b"503 5.5.1 Nested MAIL command")
            else:
                if verb == b"MAIL":
                    sender, recipients = line.strip(), []
                elif verb == b"RCPT":
                    recipients.append(line.strip())
                elif verb == b"XFOR":
                    self.forwarded.append(line.strip())
                elif verb == b"RSET":
                    sender, recipients = b"", []
                answer(b"250 2.0.0 Ok")
                self.resets += verb == b"RSET"

    @staticmethod
    def _content(lines):
        content = []
        for line in lines:
            if line == b".\r\n":
                return b"".join(content)
            content.append(line[1:] if line.startswith(b".") else line)
        return None
