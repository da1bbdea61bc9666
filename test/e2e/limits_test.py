#!/usr/bin/env python3
"""Limits of sessions, connections and memory: the documented reply, a log line, and nothing for the others."""
import contextlib
import json
import resource
import shutil
import smtplib
import socket
import struct
import subprocess
import unittest

from common import Gatepost, Place, config_for, wait_until
from lmtp_peer import LmtpServer, UnixWire
from peers import PATIENCE, Downstream

CLEAN = b"Subject: test\r\n\r\nhello\r\n"
FULL = b"421 4.3.2 Too many connections, please try again later"
NETWORK = b"421 4.7.0 Too many connections from your network, please try again later"
MEMORY = b"421 4.3.2 Not enough memory for more sessions, please try again later"


class Limits(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.downstream = self.enterContext(Downstream())

    def gatepost(self, preexec=None, **more):
        config = config_for(self.place, servers=[self.downstream.address], scan=False, **more)
        return self.enterContext(Gatepost(self.place, config, preexec=preexec))

    def sessions(self, gatepost, count):
        wires = [self.enterContext(gatepost.wire()) for _ in range(count)]
        for wire in wires:
            self.assertEqual(wire.reply()[0], 220)
        return wires

    def refused(self, gatepost, reply, **line):
        with gatepost.wire() as wire:
            self.assertEqual(wire.reply(), (421, reply))
            self.assertEqual(wire.reply(), (0, b""))
        record = json.loads(gatepost.log.wait_for('"event":"refused"'))
        for key, value in {"listener": "inbound", "clients": 1, "reply": reply.decode(), **line}.items():
            self.assertEqual(str(record[key]), str(value), record)

    def good_mail(self, gatepost):
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)

    def free_again(self, gatepost, wires):
        for wire in wires:
            wire.say(b"QUIT")
        def served():
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self.good_mail(gatepost)
                return True
        wait_until(served, "a session for the next client")

    def test_sessions_of_a_listener(self):
        gatepost = self.gatepost(listener={"max_sessions": 3})
        wires = self.sessions(gatepost, 3)
        self.refused(gatepost, FULL, reason="max_sessions")
        self.free_again(gatepost, wires)

    def test_sessions_in_total(self):
        gatepost = self.gatepost(limits={"max_sessions": 2})
        wires = self.sessions(gatepost, 2)
        self.refused(gatepost, FULL, reason="limits.max_sessions")
        self.free_again(gatepost, wires)

    def test_sessions_of_a_client_network(self):
        gatepost = self.gatepost(listener={"max_client_sessions": 2, "client_prefix_v4": 24})
        wires = self.sessions(gatepost, 2)
        self.refused(gatepost, NETWORK, reason="max_client_sessions", network="127.0.0.0/24")
        with socket.create_connection(("127.0.0.1", gatepost.port), PATIENCE, ("127.0.1.1", 0)) as other:
            self.assertEqual(other.recv(4), b"220 ")
        self.free_again(gatepost, wires)

    def test_connections_of_a_client_network(self):
        gatepost = self.gatepost(listener={"max_client_connections": 2})
        for wire in self.sessions(gatepost, 2):
            wire.say(b"QUIT")
        self.refused(gatepost, NETWORK, reason="max_client_connections", network="127.0.0.1/32")
        for _ in range(5):
            with gatepost.wire() as wire:
                self.assertEqual(wire.reply()[1], NETWORK)
        self.assertEqual(gatepost.log.text().count('"event":"refused"'), 1)

    def test_connections_of_a_minute(self):
        for key, value in (("listener", {"max_connections": 3}), ("limits", {"max_connections": 3})):
            with self.subTest(key):
                gatepost = self.gatepost(**{key: value})
                replies = []
                for _ in range(7):  # a new minute may begin in between: six fit into two
                    with gatepost.wire() as wire:
                        replies.append(wire.reply())
                self.assertEqual([code for code, _ in replies[:3]], [220] * 3)
                self.assertIn((421, FULL), replies)
                record = json.loads(gatepost.log.wait_for('"event":"refused"'))
                self.assertEqual(record["reason"], ("limits." if key == "limits" else "") + "max_connections")
                gatepost.__exit__(None)

    def test_unix_peers_are_one_network(self):
        path = self.place / "in.sock"
        self.gatepost(listener={"address": "unix:" + path, "max_client_sessions": 1})
        with UnixWire(path) as first, UnixWire(path) as second:
            self.assertEqual({first.reply()[0], second.reply()[0]}, {220, 421})

    @unittest.skipUnless(shutil.which("ss"), "needs ss")
    def test_as_many_may_wait_to_be_accepted_as_the_kernel_lets(self):
        """Beyond that a client believes itself connected, and waits for a banner that nobody owes it."""
        gatepost = self.gatepost()
        rows = subprocess.run(["ss", "-Hltn", f"sport = :{gatepost.port}"], capture_output=True, text=True, check=True).stdout
        with open("/proc/sys/net/core/somaxconn") as most:
            self.assertEqual({row.split()[2] for row in rows.splitlines()}, {most.read().strip()})

    def test_memory(self):
        gatepost = self.gatepost(limits={"memory": "1M"})  # less than any process has

        def full():
            with gatepost.wire() as wire:
                return wire.reply()[1] == MEMORY
        wait_until(full, "a refusal for want of memory")
        self.assertEqual(json.loads(gatepost.log.wait_for('"event":"refused"'))["reason"], "limits.memory")

    def test_the_client_behind_a_proxy_header_is_counted(self):
        self.downstream = self.enterContext(LmtpServer())  # whom nobody suspects of relaying
        gatepost = self.gatepost(listener={"max_client_sessions": 1, "proxy_header": "any", "proxy_from": ["127.0.0.1"]},
                                 downstream={"protocol": "lmtp"})

        def connect(ip):
            wire = self.enterContext(gatepost.wire())
            wire.send(b"PROXY TCP4 %s 203.0.113.1 40000 25\r\n" % ip)
            return wire.reply()
        self.assertEqual(connect(b"192.0.2.1")[0], 220)
        self.assertEqual(connect(b"192.0.2.2")[0], 220)
        self.assertEqual(connect(b"192.0.2.1"), (421, NETWORK))
        record = json.loads(gatepost.log.wait_for('"event":"refused"'))
        self.assertEqual(record["network"], "192.0.2.1/32")

    def test_the_client_that_xclient_tells_of_is_counted(self):
        self.downstream = self.enterContext(LmtpServer())
        gatepost = self.gatepost(listener={"max_client_sessions": 1, "xclient_from": ["127.0.0.1", "192.0.2.1"]}, downstream={"protocol": "lmtp"})

        def connect(ip):
            wire = self.enterContext(gatepost.wire())
            self.assertEqual(wire.reply()[0], 220)  # the peer has no other session of its own
            return wire, wire.say(b"XCLIENT ADDR=" + ip)
        first, reply = connect(b"192.0.2.1")
        self.assertEqual(reply[0], 220)
        self.assertEqual(connect(b"192.0.2.2")[1][0], 220)
        second, reply = connect(b"192.0.2.1")
        self.assertEqual(reply, (421, NETWORK))
        self.assertEqual(second.reply(), (0, b""))
        record = json.loads(gatepost.log.wait_for('"event":"refused"'))
        self.assertEqual((record["network"], record["reason"]), ("192.0.2.1/32", "max_client_sessions"))
        self.assertEqual(first.say(b"XCLIENT ADDR=192.0.2.3")[0], 220)
        self.assertEqual(connect(b"192.0.2.1")[1][0], 220)

    def test_a_thousand_idle_clients(self):
        gatepost = self.gatepost()
        self.sessions(gatepost, 1000)
        for _ in range(10):
            self.good_mail(gatepost)

    def test_without_descriptors(self):
        def few():
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        gatepost = self.gatepost(preexec=few)
        wires = []
        for _ in range(100):
            wires.append(self.enterContext(gatepost.wire()))
        gatepost.log.wait_for("pauses: Too many open files")
        for wire in wires:
            wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wire.socket.close()

        def served():
            with contextlib.suppress(OSError, smtplib.SMTPException):
                self.good_mail(gatepost)
                return True
        wait_until(served, "a session once there are descriptors again")


if __name__ == "__main__":
    unittest.main()
