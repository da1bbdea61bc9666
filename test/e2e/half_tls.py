"""STARTTLS that is begun and not ended (half_tls_clients_test, half_tls_servers_test): the ends of TLS that do it, and the
gatepost between them, whose descriptors are counted."""
import contextlib
import ssl

from certificates import Authority
from common import Gatepost, Place, config_for, descriptors_of, wait_until
from peers import SANITIZED, Downstream

MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"
TIMEOUT = 0.5  # seconds, for a handshake of somebody who is silent
AGES = 3600  # for one of somebody who is heard to be gone
PROMPT = 30 if SANITIZED else 10  # seconds in which a busy machine, too, has done with what is not to wait for
AT_ONCE = 20  # sessions that fail together


def milliseconds(seconds):
    return f"{seconds * 1000:.0f}ms"


class Flights:
    """One end of TLS whose octets the test carries."""

    def __init__(self, context, **more):
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, **more)

    def next(self, received=b""):
        self._incoming.write(received)
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.do_handshake()
        return self._outgoing.read()


def half(octets):
    return octets[:len(octets) // 2]


def all_that_comes(connection):
    """Until the other side ends it in one way or another."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(65536):
            received += piece
    return received


class HalfTls:
    """What a unittest.TestCase of these files is besides; needs root to look into the processes."""

    @classmethod
    def setUpClass(cls):
        cls.keys = Place()
        cls.addClassCleanup(cls.keys.remove)
        cls.authority = Authority(cls.keys / "ca")
        cls.certificate = dict(zip(("certificate", "key"), cls.authority.issue("mx.example.org")))
        cls.server_context = cls.authority.server_context("next.example")

    def serve(self, timeout, downstream_tls=None, **listener):
        place = Place()
        self.addCleanup(place.remove)
        self.downstream = self.enterContext(Downstream(tls=self.server_tls()))
        listener["handshake_timeout"] = milliseconds(timeout)
        config = config_for(place, [self.downstream.address], scan=False, listener=listener, downstream={
            "reuse": False, "greeting_timeout": milliseconds(timeout), **({"tls": downstream_tls} if downstream_tls else {})})
        self.gatepost = self.enterContext(Gatepost(place, config))
        wait_until(self.a_session_leaves_nothing, "as many descriptors behind a good session as before it")

    def a_session_leaves_nothing(self):
        self.before = self.descriptors()
        self.good_session()
        self.settled()
        return self.descriptors() == self.before

    def server_tls(self):
        """In the place of the ssl.SSLContext of the server behind, if it is to have one."""
        return None

    def descriptors(self):
        return len(descriptors_of(self.gatepost.child("proxy")))

    def settled(self):
        wait_until(lambda: self.downstream.closed == self.downstream.opened and self.gatepost.sessions() == 0,
                   "the end of all sessions")

    def nothing_is_left(self):
        self.settled()
        wait_until(lambda: self.descriptors() == self.before, f"{self.before} descriptors again")
        self.assertNotIn("session_failed", self.gatepost.log.text())

    def client_context(self):
        context = self.authority.client_context()
        context.check_hostname = False
        return context

    def good_session(self):
        before = len(self.downstream.messages)
        with self.gatepost.smtp() as client:
            client.ehlo()
            if client.has_extn("starttls"):
                client.starttls(context=self.client_context())
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
        self.assertEqual([message[2] for message in self.downstream.messages[before:]], [MESSAGE])
