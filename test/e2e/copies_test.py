#!/usr/bin/env python3
"""The connection to a real Postfix breaks between our final dot and its reply (T:C7): the client reads 4yz and tries again,
so Postfix has two copies, whole and the same; never none, never a 250 that Postfix did not give."""
import contextlib
import select
import socket
import threading
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import PATIENCE
from postfix_server import Postfix, available, without_trace_fields
from scanner_mails import mail

CONTENT = mail((b"a.bin", bytes(range(256)) * 2000))


class Breaking:
    """Forwards to a server; the first time that this has queued a message, the client does not hear of it: `how` is close,
    reset, half (of the reply, then close) or hang. From then on it only forwards."""

    def __init__(self, server, how):
        self.server, self.how = server, how
        self.broken = threading.Event()
        self._end = threading.Event()
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end.set()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._socket.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client):
        host, port = self.server.rsplit(":", 1)
        with client, contextlib.suppress(OSError), socket.create_connection((host, int(port)), PATIENCE) as server:
            while True:
                for ready in select.select([client, server], [], [])[0]:
                    octets = ready.recv(65536)
                    if not octets:
                        return
                    if ready is server and b"queued as" in octets and not self.broken.is_set():
                        self.broken.set()
                        return self._break(client, octets)
                    (client if ready is server else server).sendall(octets)

    def _break(self, client, octets):
        if self.how == "half":
            client.sendall(octets[:len(octets) // 2])
        elif self.how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif self.how == "hang":
            self._end.wait(PATIENCE)


@unittest.skipUnless(available(), "needs root and Postfix")
class Copies(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.postfix = cls.enterClassContext(Postfix(cls.place))

    def send(self, gatepost, recipient):
        with gatepost.wire() as wire:
            wire.to_data(recipients=(recipient,))
            wire.send(CONTENT + b".\r\n")
            return wire.reply()

    def check(self, how):
        place = Place()
        self.addCleanup(place.remove)
        between = self.enterContext(Breaking(self.postfix.address, how))
        gatepost = self.enterContext(Gatepost(place, config_for(place, servers=[between.address], limits={"relay_wait": "2s"})))
        code, text = self.send(gatepost, how.encode() + b"@example.org")
        self.assertTrue(between.broken.is_set(), "Postfix has not taken it")
        self.assertEqual((code, text[4:9]), (451, b"4.4.2"), text)
        line = gatepost.summary(outcome="unknown")
        self.assertEqual((line["relay"], line["size"], line["to"]), (between.address, len(CONTENT), f"{how}@example.org"))
        self.assertTrue(line["id"])
        self.assertEqual(len(self.postfix.delivered(how)), 1, "gatepost tried again by itself")
        self.assertEqual(self.send(gatepost, how.encode() + b"@example.org")[0], 250)
        stored = self.postfix.delivered(how, 2)
        wait_until(lambda: self.postfix.queued() == [], "Postfix has delivered all")
        self.assertEqual([without_trace_fields(each) for each in stored], [CONTENT.replace(b"\r\n", b"\n")] * 2)
        self.assertEqual(len(self.postfix.mailbox(how)), 2)

    def test_closed(self):
        self.check("close")

    def test_reset(self):
        self.check("reset")

    def test_closed_inside_the_reply(self):
        self.check("half")

    def test_silent(self):
        self.check("hang")


if __name__ == "__main__":
    unittest.main()
