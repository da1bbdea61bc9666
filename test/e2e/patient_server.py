#!/usr/bin/env python3
"""A mail server for thousands of connections at once, one thread: takes everything and keeps nothing. As a program it
prints its address and serves until it is ended."""
import contextlib
import resource
import selectors
import socket
import subprocess
import sys

GREETING = b"250-patient.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n"
REPLIES = {b"EHLO": GREETING, b"DATA": b"354 go on\r\n", b"QUIT": b"221 2.0.0 Bye\r\n"}


class PatientServer:
    """The program, as a context; `address` is where it listens."""

    def __enter__(self):
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.address = self._process.stdout.readline().decode().strip()
        return self

    def __exit__(self, *_):
        self._process.stdin.close()  # it ends with us, however we end
        self._process.wait()
        self._process.stdout.close()


def answer(connection, state):
    """False: it is over."""
    piece = connection.recv(65536)
    *lines, state["rest"] = (state["rest"] + piece).split(b"\r\n")
    replies = b""
    for line in lines:
        if state["content"]:
            state["content"] = line != b"."
            replies += b"" if state["content"] else b"250 2.0.0 taken\r\n"
            continue
        verb = line[:4].upper()
        replies += REPLIES.get(verb, b"250 2.0.0 Ok\r\n")
        state["content"] = verb == b"DATA"
        if verb == b"QUIT":
            piece = b""
    connection.sendall(replies)
    return bool(piece)


def welcome(listening, known):
    for _ in range(100):
        try:
            connection, _ = listening.accept()
        except BlockingIOError:
            return
        connection.sendall(b"220 patient.example ESMTP\r\n")
        known.register(connection, selectors.EVENT_READ, {"rest": b"", "content": False})


def serve():
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    listening.setblocking(False)
    print("%s:%d" % listening.getsockname(), flush=True)
    known = selectors.DefaultSelector()
    known.register(listening, selectors.EVENT_READ)
    known.register(sys.stdin, selectors.EVENT_READ)
    while True:
        for key, _ in known.select():
            if key.fileobj is listening:
                welcome(listening, known)
            elif key.fileobj is sys.stdin:
                return
            else:
                alive = False
                with contextlib.suppress(OSError):
                    alive = answer(key.fileobj, key.data)
                if not alive:
                    known.unregister(key.fileobj)
                    key.fileobj.close()


if __name__ == "__main__":
    serve()
