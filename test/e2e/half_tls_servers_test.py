#!/usr/bin/env python3
"""A mail server behind that answers 220 to STARTTLS and then falls silent, ends, resets or says something else: the client
reads 421, or has its session in plain text where that is allowed, and the next one works (T:B2)."""
import contextlib
import socket
import time
import unittest

from common import IS_ROOT
from half_tls import AGES, AT_ONCE, PROMPT, TIMEOUT, Flights, HalfTls, all_that_comes, half

NOT_SAFE = b"421 4.7.5 Service not available, no secure connection to the mail server behind"


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


class FaultyServer:
    """In the place of an ssl.SSLContext: does after 220 what `fault` says, or its handshake when there is none."""

    def __init__(self, context):
        self.context, self.fault = context, None

    def wrap_socket(self, connection, server_side):
        if self.fault is None:
            return self.context.wrap_socket(connection, server_side=server_side)
        self.fault(connection, self)
        raise ConnectionAbortedError("as told")

    def flight(self, connection):
        return Flights(self.context, server_side=True).next(connection.recv(65536))

    def silence(self, connection):
        all_that_comes(connection)


def falls_silent(connection, server):
    server.silence(connection)


def half_a_flight_and_silence(connection, server):
    connection.sendall(half(server.flight(connection)))
    server.silence(connection)


def half_a_flight_and_the_end(connection, server):
    connection.sendall(half(server.flight(connection)))


def the_end(connection, server):
    connection.recv(65536)  # what is unread would make it a reset


def a_reset(connection, _):
    reset(connection)


def half_a_flight_and_a_reset(connection, server):
    connection.sendall(half(server.flight(connection)))
    reset(connection)


def other_octets(connection, server):
    connection.recv(65536)
    connection.sendall(b"250-next.example\r\n250 AUTH PLAIN\r\n" * 100)
    server.silence(connection)


def octet_by_octet(connection, server):
    for octet in server.flight(connection):
        connection.sendall(bytes([octet]))
        connection.settimeout(TIMEOUT / 10)
        with contextlib.suppress(TimeoutError):
            if not connection.recv(1):
                return


SERVER_SILENT = (falls_silent, half_a_flight_and_silence, octet_by_octet)
SERVER_FAULTY = (half_a_flight_and_the_end, the_end, a_reset, half_a_flight_and_a_reset, other_octets)


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class HalfServers(HalfTls, unittest.TestCase):
    def server_tls(self):
        self.server = FaultyServer(self.server_context)
        return self.server

    def replies(self, fault):
        """To the connections of many clients at once, and how long it took."""
        self.server.fault = fault
        began = time.monotonic()
        wires = [self.enterContext(self.gatepost.wire()) for _ in range(AT_ONCE)]
        replies = {wire.reply() for wire in wires}
        took = time.monotonic() - began
        for wire in wires:
            wire.socket.close()
        self.server.fault = None
        return replies, took

    def check(self, fault, wanted, at_least=0.0):
        with self.subTest(fault.__name__):
            replies, took = self.replies(fault)
            self.assertEqual(replies, {wanted})
            self.assertGreater(took, at_least)
            self.assertLess(took, PROMPT)
            self.nothing_is_left()
            self.good_session()
            self.nothing_is_left()

    def never_plain(self, tls):
        self.serve(AGES, tls)
        for fault in SERVER_FAULTY:
            self.check(fault, (421, NOT_SAFE))
        self.gatepost.log.wait_for(self.downstream.address + " TLS failed: ")
        self.assertEqual(self.downstream.secured, len(self.downstream.messages))
        self.serve(TIMEOUT, tls)
        for fault in SERVER_SILENT:
            self.check(fault, (421, NOT_SAFE), at_least=TIMEOUT * 0.9)
        self.gatepost.log.wait_for(self.downstream.address + " TLS failed: peer did not finish the handshake in time")
        self.assertEqual(self.downstream.secured, len(self.downstream.messages))

    def test_required(self):
        self.never_plain({"mode": "required"})

    def test_verified(self):
        self.never_plain({"mode": "verified", "name": "next.example", "ca": self.authority.certificate})

    def test_opportunistic(self):
        """Who fails at TLS, or takes half of the time for it, gets a second connection in plain text."""
        self.serve(AGES, {"mode": "opportunistic"})
        for fault in SERVER_FAULTY:
            self.check(fault, (220, b"220 gatepost.example ESMTP gatepost"))
            self.gatepost.log.wait_for("tls_fall_back")
        self.serve(3 * TIMEOUT, {"mode": "opportunistic"})
        for fault in SERVER_SILENT:
            self.check(fault, (220, b"220 gatepost.example ESMTP gatepost"), at_least=TIMEOUT)
            self.gatepost.log.wait_for("tls_fall_back.*peer did not finish the handshake in time")


if __name__ == "__main__":
    unittest.main()
