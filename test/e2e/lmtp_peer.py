"""An LMTP server (RFC 2033) that gives each recipient the reply that the test has for it, and keeps what it accepted."""
import contextlib
import os
import socket
import threading
from collections import defaultdict, deque

from peers import PATIENCE, Wire


class UnixWire(Wire):
    """A client of a UNIX socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(path)
        self.buffer = b""


class LmtpServer:
    """`at`: the path of a UNIX socket, or None for TCP. What stands in `replies[recipient]` is used up from the left; without:
    250. A reply of None closes the connection in its place; `before_reply` is called with each recipient. With `chunking` it
    offers that."""

    def __init__(self, at=None, backlog=64, chunking=False):
        self.chunking = b"250-CHUNKING\r\n" if chunking else b""
        self.replies = defaultdict(deque)
        self.copies = []  # (recipient, content), of each 250
        self.transactions = 0  # whose content came
        self.before_reply = lambda recipient: None
        self.lock = threading.Lock()
        if at is None:
            self._socket = socket.create_server(("127.0.0.1", 0), backlog=backlog)
            self.address = "%s:%d" % self._socket.getsockname()
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(at)
            os.chmod(at, 0o666)
            self._socket.listen(backlog)
            self.address = "unix:" + at
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def got(self, recipient):
        """How often."""
        with self.lock:
            return sum(each == recipient for each, _ in self.copies)

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(300)
            connection.sendall(b"220 mda.example LMTP\r\n")
            lines, recipients, chunks = connection.makefile("rb"), [], b""
            for line in lines:
                verb = line[:4].upper()
                if verb == b"LHLO":
                    connection.sendall(b"250-mda.example\r\n" + self.chunking + b"250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n")
                elif verb == b"QUIT":
                    connection.sendall(b"221 2.0.0 Bye\r\n")
                    return
                elif verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    content = self._content(lines)
                    if content is None or not self._take(connection, content, recipients):
                        return
                    recipients = []
                elif verb == b"BDAT":
                    chunks += lines.read(int(line.split()[1]))
                    if not line.upper().endswith(b"LAST\r\n"):
                        connection.sendall(b"250 2.0.0 Ok\r\n")
                        continue
                    if not self._take(connection, chunks, recipients):
                        return
                    recipients, chunks = [], b""
                else:
                    if verb == b"RCPT":
                        recipients.append(line[line.index(b"<") + 1:line.index(b">")].decode())
                    elif verb in (b"MAIL", b"RSET"):
                        recipients = []
                    connection.sendall(b"250 2.0.0 Ok\r\n")

    @staticmethod
    def _content(lines):
        content = []
        for line in lines:
            if line == b".\r\n":
                return b"".join(content)
            content.append(line[1:] if line.startswith(b".") else line)
        return None

    def _take(self, connection, content, recipients):
        self.transactions += 1
        for recipient in recipients:
            self.before_reply(recipient)
            with self.lock:
                script = self.replies[recipient]
                reply = script.popleft() if script else b"250 2.0.0 stored"
                if reply is not None and reply.startswith(b"250"):
                    self.copies.append((recipient, content))
            if reply is None:
                return False
            connection.sendall(reply + b"\r\n")
        return True
