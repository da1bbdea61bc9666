#!/usr/bin/env python3
"""Clients that begin TLS and do not end it: silence, half a flight, an end, a reset, other octets. Each session has its end
in its time, leaves no descriptor behind, and the next one works (T:B1)."""
import contextlib
import smtplib
import socket
import time
import unittest

from common import IS_ROOT
from half_tls import AGES, AT_ONCE, MESSAGE, PROMPT, TIMEOUT, Flights, HalfTls, all_that_comes, half
from peers import PATIENCE, Wire


def nothing(*_):
    pass


def hello(wire, tls):
    wire.send(tls.next())


def half_a_hello(wire, tls):
    wire.send(half(tls.next()))


def half_a_hello_and_the_end(wire, tls):
    half_a_hello(wire, tls)
    wire.socket.shutdown(socket.SHUT_WR)


def half_a_hello_and_a_reset(wire, tls):
    half_a_hello(wire, tls)
    wire.reset()


def half_a_finish(wire, tls):
    """The last flight of the client, of which a half stays behind."""
    wire.send(tls.next())
    flight = b""
    while not flight:
        flight = tls.next(wire.socket.recv(65536))
    wire.send(half(flight))


def half_a_finish_and_a_reset(wire, tls):
    half_a_finish(wire, tls)
    wire.reset()


def commands(wire, _):
    wire.send(b"EHLO client.example\r\nMAIL FROM:<a@example.org>\r\n" * 20)


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class HalfClients(HalfTls, unittest.TestCase):
    def ready(self):
        """A session whose STARTTLS was answered 220, and the client's end of TLS."""
        wire = self.enterContext(Wire(self.gatepost.port))
        if self.mode == "implicit":
            return wire, Flights(self.client_context())
        self.assertEqual(wire.reply()[0], 220)
        self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
        self.assertEqual(wire.say(b"STARTTLS")[0], 220)
        return wire, Flights(self.client_context())

    def ends(self, begin, at_least=0.0):
        """Many sessions that all begin TLS so are ended, each in its time and without a word in plain text."""
        ready = [self.ready() for _ in range(AT_ONCE)]
        began = time.monotonic()
        for wire, tls in ready:
            begin(wire, tls)
        for wire, _ in ready:
            if wire.socket.fileno() >= 0:
                self.assertNotRegex(all_that_comes(wire.socket), rb"\d\d\d[ -]")
        self.settled()
        took = time.monotonic() - began
        self.assertGreater(took, at_least)
        self.assertLess(took, PROMPT)
        self.nothing_is_left()
        for _ in range(AT_ONCE):
            self.gatepost.log.wait_for('"event":"tls_failed"')

    def check(self):
        self.serve(TIMEOUT, tls={"mode": self.mode, "certificates": [self.certificate]})
        for begin in (nothing, hello, half_a_hello, half_a_finish):
            with self.subTest(begin.__name__):
                self.ends(begin, at_least=TIMEOUT * 0.9)
        self.dribbles()
        self.good_session()
        self.nothing_is_left()
        self.serve(AGES, tls={"mode": self.mode, "certificates": [self.certificate]})
        for begin in (half_a_hello_and_the_end, half_a_hello_and_a_reset, half_a_finish_and_a_reset, commands):
            with self.subTest(begin.__name__):
                self.ends(begin)
        self.good_session()
        self.nothing_is_left()

    def dribbles(self):
        """Octet by octet is no way to have more time."""
        wire, tls = self.ready()
        began = time.monotonic()
        wire.socket.settimeout(TIMEOUT / 20)
        with contextlib.suppress(ConnectionError):
            for octet in tls.next():
                with contextlib.suppress(TimeoutError):
                    wire.send(bytes([octet]))
                    if not wire.socket.recv(1):
                        break
            else:
                self.fail("all of it was taken")
        self.assertLess(time.monotonic() - began, PROMPT)
        self.nothing_is_left()

    def test_starttls(self):
        self.mode = "starttls"
        self.check()

    def test_implicit(self):
        self.mode = "implicit"
        self.check()

    def good_session(self):
        if self.mode == "starttls":
            return super().good_session()
        with smtplib.SMTP_SSL("127.0.0.1", self.gatepost.port, timeout=PATIENCE, context=self.client_context()) as client:
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
        self.assertEqual(self.downstream.messages[-1][2], MESSAGE)


if __name__ == "__main__":
    unittest.main()
