#!/usr/bin/env python3
"""Five thousand idle TLS sessions and two thousand dribbling clients, each with its own connection to the server behind: a
good client has its message delivered in less than two seconds, and an idle TLS session costs little memory (issue "Limits")."""
import re
import resource
import socket
import time
import unittest

from certificates import Authority
from common import IS_ROOT, Gatepost, Place, config_for
from patient_server import PatientServer
from peers import PATIENCE, SANITIZED

IDLE = 500 if SANITIZED else 5000
DRIBBLERS = 200 if SANITIZED else 2000
GOOD = 2 * (10 if SANITIZED else 1)  # seconds that a good client's message may take
PER_SESSION = 30  # KiB of memory for an idle TLS session
WARM = 100  # sessions before the first measurement: what a process allocates once is none of theirs
MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"


def private_memory(pid):
    """Octets that this process alone has, in KiB."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return sum(int(size) for size in re.findall(r"^Private_(?:Clean|Dirty):\s+(\d+)", file.read(), re.M))


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class Crowd(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
        if most < 2 * (IDLE + DRIBBLERS) + 1000:
            self.skipTest(f"at most {most} descriptors")
        authority = Authority(self.place / "ca")
        self.context = authority.client_context()
        self.context.check_hostname = False
        server = self.enterContext(PatientServer())
        certificates = [dict(zip(("certificate", "key"), authority.issue("mx.example.org")))]
        config = config_for(self.place, [server.address], scan=False, downstream={"identity": "none", "reuse": False})
        config["listeners"] = [{"name": mode, "address": "127.0.0.1:0", "downstream": "next",
                                "tls": {"mode": mode, "certificates": certificates}} for mode in ("starttls", "implicit")]
        self.gatepost = self.enterContext(Gatepost(self.place, config))
        self.proxy = self.gatepost.child("proxy")

    def connect(self, listener):
        port = int(self.gatepost.listeners[listener].rsplit(":", 1)[1])
        connection = self.enterContext(socket.create_connection(("127.0.0.1", port), PATIENCE))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection

    def greeted(self):
        """A TLS session behind its EHLO."""
        secured = self.enterContext(self.context.wrap_socket(self.connect("implicit")))
        self.assertTrue(secured.recv(1000).startswith(b"220 "))
        secured.sendall(b"EHLO client.example\r\n")
        self.assertTrue(secured.recv(1000).startswith(b"250-"))

    def slow(self, number):
        """A connection, and what comes on it octet by octet: a handshake, a command, or content."""
        if number % 3 == 0:
            return self.connect("implicit"), b"\x16\x03\x01\x02"
        connection = self.connect("starttls")
        self.assertTrue(connection.recv(1000).startswith(b"220"))
        if number % 3 == 1:
            return connection, b"EHLO"
        for line, code in ((b"EHLO slow.example\r\n", b"250"), (b"MAIL FROM:<a@example.org>\r\n", b"250"),
                           (b"RCPT TO:<b@example.net>\r\n", b"250"), (b"DATA\r\n", b"354")):
            connection.sendall(line)
            self.assertTrue(connection.recv(1000).startswith(code))
        return connection, b"Subj"

    def good_message(self):
        began = time.monotonic()
        with self.gatepost.smtp() as client:
            client.starttls(context=self.context)
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
        return time.monotonic() - began

    def test_idle_and_slow_clients_keep_nobody_waiting(self):
        for _ in range(WARM):
            self.greeted()
        before = private_memory(self.proxy)
        for _ in range(IDLE - WARM):
            self.greeted()
        each = (private_memory(self.proxy) - before) / (IDLE - WARM)
        print(f"an idle TLS session: {each:.1f} KiB", flush=True)
        if not SANITIZED:
            self.assertLess(each, PER_SESSION)
        slow = [self.slow(number) for number in range(DRIBBLERS)]
        took = []
        for turn in range(4):
            for connection, octets in slow:
                connection.send(octets[turn:turn + 1])
            took.append(self.good_message())
        print(f"a good message: {max(took):.2f} s", flush=True)
        self.assertLess(max(took), GOOD, took)


if __name__ == "__main__":
    unittest.main()
