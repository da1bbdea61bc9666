"""The order in which a downstream hears of TLS, of the client and from the client (dialogue.md D1): a table of each
identity, each TLS of the client and each TLS of the server, spoken over real sockets."""
import contextlib
import re
import socket
import ssl
import struct
import subprocess
import threading
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import PATIENCE, Downstream, Wire

IDENTITIES = {"none": {"identity": "none"}, "auto": {}, "xclient": {"identity": "xclient"},
              "xforward": {"identity": "xforward"}, "proxy-v1": {"identity": "proxy-v1"},
              "proxy-v2": {"identity": "proxy-v2"}, "tell-tls": {"identity": "proxy-v2", "tell_tls": True}}
CLIENT_TLS = ("none", "starttls", "implicit")
SERVER_TLS = ("none", "starttls", "implicit")
V2 = b"\r\n\r\n\0\r\nQUIT\n"


class Server:
    """Notes what it hears, in order, connection by connection."""

    def __init__(self, context, identity, tls):
        self.context, self.identity, self.tls = context, identity, tls
        self.connections = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listener.accept()
                self.connections.append(["connect"])
                threading.Thread(target=self._serve, args=(connection, self.connections[-1]), daemon=True).start()

    @property
    def heard(self):
        return [word for connection in self.connections for word in connection]

    def _octets(self, connection, count):
        octets = b""
        while len(octets) < count:
            piece = connection.recv(count - len(octets))
            if not piece:
                raise ConnectionAbortedError
            octets += piece
        return octets

    def _line(self, connection):
        line = b""
        while not line.endswith(b"\r\n"):
            line += self._octets(connection, 1)
        return line[:-2].decode()

    def _read_header(self, connection):
        if self.identity == "proxy-v1":
            return "PROXY v1 " + self._line(connection).split()[2]
        start = self._octets(connection, 16)
        assert start[:12] == V2, start
        rest = self._octets(connection, struct.unpack("!H", start[14:])[0])
        version = re.search(rb"TLSv1\.\d", rest)
        return "PROXY v2 " + socket.inet_ntoa(rest[:4]) + (" tls" if b"\x20" in rest[12:13] and version else "")

    def _serve(self, connection, heard):
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_sockets:
            open_sockets.enter_context(connection)
            connection.settimeout(PATIENCE)

            def secure():
                heard.append("tls")
                return open_sockets.enter_context(self.context.wrap_socket(connection, server_side=True))

            if self.identity in ("proxy-v1", "proxy-v2", "tell-tls"):
                heard.append(self._read_header(connection))
            if self.tls == "implicit":
                connection = secure()
            connection.sendall(b"220 next.example ESMTP\r\n")
            while "QUIT" not in heard:
                line = self._line(connection)
                verb = line.split(" ")[0]
                words = {"EHLO": line, "MAIL": " ".join(line.split(" ")[:2])}
                if verb in ("XCLIENT", "XFORWARD"):
                    words[verb] = verb + " " + re.search(r"ADDR=(\S+)", line)[1]
                heard.append(words.get(verb, verb))
                if verb == "EHLO":
                    offers = b"250-XCLIENT NAME ADDR PROTO HELO\r\n" if self.identity in ("auto", "xclient") else b""
                    offers += b"250-XFORWARD NAME ADDR HELO\r\n" if self.identity == "xforward" else b""
                    offers += b"250-STARTTLS\r\n" if self.tls == "starttls" and "tls" not in heard else b""
                    connection.sendall(b"250-next.example\r\n" + offers + b"250 8BITMIME\r\n")
                elif verb == "STARTTLS":
                    connection.sendall(b"220 go\r\n")
                    connection = secure()
                else:
                    connection.sendall({"XCLIENT": b"220 next.example\r\n", "QUIT": b"221 bye\r\n"}.get(verb, b"250 2.0.0 Ok\r\n"))


def expected(identity, client_tls, server_tls):
    """D1, step by step."""
    def beginning(told):
        steps = ["connect"]
        if identity == "proxy-v1":
            steps.append("PROXY v1 127.0.0.1")
        elif identity in ("proxy-v2", "tell-tls"):
            steps.append("PROXY v2 127.0.0.1" + (" tls" if told else ""))
        if server_tls == "starttls":
            steps += ["EHLO gatepost.example", "STARTTLS", "tls"]
        elif server_tls == "implicit":
            steps.append("tls")
        if identity in ("auto", "xclient"):
            steps.append("EHLO gatepost.example")
        return steps

    steps = beginning(client_tls == "implicit")
    if identity in ("auto", "xclient"):
        steps.append("XCLIENT 127.0.0.1")
    steps.append("EHLO client.example")
    if client_tls == "starttls":
        if identity == "tell-tls":
            steps += ["QUIT", *beginning(True)]
        steps.append("EHLO client.example")  # and no XCLIENT before it
    if identity == "xforward":
        steps.append("XFORWARD 127.0.0.1")
    return [*steps, "MAIL FROM:<a@example.org>", "QUIT"]


class Order(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        certificate, key = cls.place / "certificate.pem", cls.place / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                        "2", "-subj", "/CN=gatepost.example", "-keyout", key, "-out", certificate],
                       check=True, stdin=subprocess.DEVNULL, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        cls.servers = {}
        config = config_for(cls.place, servers=["127.0.0.1:9"], scan=False, loops=1)
        config["listeners"], config["downstreams"] = [], {}
        for identity, keys in IDENTITIES.items():
            for client_tls in CLIENT_TLS:
                for server_tls in SERVER_TLS:
                    name = f"{identity}.{client_tls}.{server_tls}"
                    server = cls.servers[name] = Server(context, identity, server_tls)
                    cls.addClassCleanup(server.listener.close)
                    tls = {"mode": "none"} if server_tls == "none" else {"mode": "required", "implicit": server_tls == "implicit"}
                    config["downstreams"][name] = {"servers": [server.address], "tls": tls, "reuse": False, **keys}
                    listener = {"name": name, "address": "127.0.0.1:0", "downstream": name, "tls": {"mode": client_tls}}
                    if client_tls != "none":
                        listener["tls"]["certificates"] = [{"certificate": certificate, "key": key}]
                    config["listeners"].append(listener)
        cls.gatepost = Gatepost(cls.place, config)
        cls.addClassCleanup(cls.gatepost.__exit__, None)
        cls.client_context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        cls.client_context.check_hostname, cls.client_context.verify_mode = False, ssl.CERT_NONE

    def secure(self, wire):
        wire.socket = self.client_context.wrap_socket(wire.socket)

    def session(self, name, client_tls):
        with Wire(int(self.gatepost.listeners[name].rsplit(":", 1)[1])) as wire:
            if client_tls == "implicit":
                self.secure(wire)
            self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
            self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
            if client_tls == "starttls":
                self.assertEqual(wire.say(b"STARTTLS")[0], 220)
                self.secure(wire)
                self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            self.assertEqual(wire.say(b"QUIT")[0], 221)
            self.assertEqual(wire.reply()[0], 0)

    def check(self, identity, client_tls, server_tls):
        name = f"{identity}.{client_tls}.{server_tls}"
        self.session(name, client_tls)
        server = self.servers[name]
        wait_until(lambda: server.heard.count("QUIT") >= expected(identity, client_tls, server_tls).count("QUIT"),
                   f"{name} has heard QUIT: {server.heard}")
        self.assertEqual(server.heard, expected(identity, client_tls, server_tls), name)


class Reuse(unittest.TestCase):
    """A connection serves a further session where the server is told nothing of the client, and only there (D4)."""

    def sessions(self, address, keys, lines):
        place = Place()
        self.addCleanup(place.remove)
        with Gatepost(place, config_for(place, servers=[address], scan=False, loops=1, downstream=keys)) as gatepost:
            for _ in range(3):
                with gatepost.wire() as wire:
                    self.assertEqual(wire.reply()[0], 220)
                    for line, code in (*lines, (b"QUIT", 221)):
                        self.assertEqual(wire.say(line)[0], code, line)
                    self.assertEqual(wire.reply()[0], 0)

    def test_what_auto_has_come_to_decides(self):
        lines = ((b"EHLO client.example", 250), (b"MAIL FROM:<a@example.org>", 250), (b"RCPT TO:<b@example.org>", 250),
                 (b"DATA", 354), (b"Subject: x\r\n\r\nhello\r\n.", 250))
        for keys, count in (({}, 1), ({"identity": "none"}, 1), ({"identity": "xforward"}, 1), ({"reuse": False}, 3)):
            with self.subTest(keys), Downstream(banner=b"220 next.example ESMTP Postfix") as downstream:
                self.sessions(downstream.address, keys, lines)
                self.assertEqual(downstream.opened, count)

    def test_whoever_was_introduced_shares_with_nobody(self):
        lines = ((b"EHLO client.example", 250), (b"MAIL FROM:<a@example.org>", 250), (b"RSET", 250))
        for identity in ("auto", "xclient", "proxy-v1", "proxy-v2"):
            with self.subTest(identity):
                server = Server(None, identity, "none")
                self.addCleanup(server.listener.close)
                self.sessions(server.address, {"identity": identity}, lines)
                self.assertEqual(len(server.connections), 3)


def add_cases():
    for identity in IDENTITIES:
        for client_tls in CLIENT_TLS:
            for server_tls in SERVER_TLS:
                def test(self, case=(identity, client_tls, server_tls)):
                    self.check(*case)
                name = f"test_{identity}_client_{client_tls}_server_{server_tls}"
                setattr(Order, name.replace("-", "_"), test)


add_cases()

if __name__ == "__main__":
    unittest.main()
