"""LIMITS (RFC 9422): what the server says reaches the client where it is the smaller one, what we say besides is held, and
nobody is promised what a connection that others have used cannot keep."""
import contextlib
import re
import socket
import threading
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import PATIENCE

MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"
TOO_MANY = b"452 4.5.3 Too many recipients"
ENOUGH = b"421 4.7.0 Enough for one session"


class LimitedServer:
    """Says `limits`, and holds `rcpt` and `mail`, the numbers of RCPTMAX and MAILMAX in it."""

    def __init__(self, limits, rcpt=100, mail=100, leaves=False):
        """`leaves`: the first connection, behind its EHLO; `left`, once the other side has seen it."""
        self.limits, self.rcpt, self.mail, self.leaves = limits, rcpt, mail, leaves
        self.leave, self.left = threading.Event(), False
        self.mails = []  # of each connection
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                self.mails.append(0)
                threading.Thread(target=self._serve, args=(connection, len(self.mails) - 1), daemon=True).start()

    def _serve(self, connection, number):
        recipients = 0
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            connection.sendall(b"220 next.example ESMTP\r\n")
            for line in lines:
                verb, reply = line[:4].upper(), b"250 2.0.0 Ok"
                if verb == b"EHLO":
                    reply = b"250-next.example\r\n250-PIPELINING\r\n250 LIMITS " + self.limits
                elif verb == b"MAIL":
                    self.mails[number] += 1
                    recipients = 0
                    reply = ENOUGH if self.mails[number] > self.mail else reply
                elif verb == b"RCPT":
                    recipients += 1
                    reply = TOO_MANY if recipients > self.rcpt else reply
                elif verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    while lines.readline() not in (b".\r\n", b""):
                        pass
                elif verb == b"QUIT":
                    reply = b"221 2.0.0 Bye"
                connection.sendall(reply + b"\r\n")
                if reply[:3] in (b"221", b"421"):
                    return
                if self.leaves and number == 0 and verb == b"EHLO":
                    return self._part(connection, lines)

    def _part(self, connection, lines):
        self.leave.wait(PATIENCE)
        connection.sendall(b"421 4.4.2 idle\r\n")
        with contextlib.suppress(OSError):
            lines.read()
        self.left = True


class LimitsKeywordTest(unittest.TestCase):
    def serve(self, server, **listener):
        place = Place()
        self.addCleanup(place.remove)
        config = config_for(place, [server.address], scan=False, loops=1, listener=listener, downstream={"identity": "none"})
        return self.enterContext(Gatepost(place, config))

    def offered(self, wire):
        self.assertEqual(wire.reply()[0], 220)
        found = re.search(rb"^250[ -]LIMITS(.*)$", wire.say(b"EHLO client.example")[1], re.M)
        return found and sorted(found[1].split())

    def message(self, wire):
        """The reply to MAIL, or to the end of the message behind it."""
        code = wire.say(b"MAIL FROM:<a@example.org>")[0]
        if code == 250:
            self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
            self.assertEqual(wire.say(b"DATA")[0], 354)
            code = wire.say(MESSAGE + b".")[0]
        return code

    def test_the_smaller_of_both(self):
        with LimitedServer(b"RCPTMAX=50 MAILMAX=7 RCPTDOMAINMAX=3 FOO=1") as server:
            for ours, wanted in (({}, [b"MAILMAX=7", b"RCPTDOMAINMAX=3", b"RCPTMAX=50"]),
                                 ({"max_recipients": 20, "max_messages": 5}, [b"MAILMAX=5", b"RCPTDOMAINMAX=3", b"RCPTMAX=20"]),
                                 ({"max_recipients": 70, "max_messages": 9}, [b"MAILMAX=7", b"RCPTDOMAINMAX=3", b"RCPTMAX=50"]),
                                 ({"withhold": ["LIMITS"]}, None)):
                with self.subTest(ours), self.serve(server, **ours).wire() as wire:
                    self.assertEqual(self.offered(wire), wanted)

    def test_ours_alone_are_said_and_held(self):
        with LimitedServer(b"FOO=1") as server:  # none that anybody knows
            gatepost = self.serve(server, max_recipients=2, max_messages=2)
            with gatepost.wire() as wire:
                self.assertEqual(self.offered(wire), [b"MAILMAX=2", b"RCPTMAX=2"])
                self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
                self.assertEqual([wire.say(b"RCPT TO:<%d@example.org>" % i)[0] for i in range(3)], [250, 250, 452])
                wire.say(b"RSET")
                self.assertEqual(self.message(wire), 250)
                self.assertEqual(self.message(wire), 421)

    def test_the_servers_are_held_by_the_server(self):
        with LimitedServer(b"RCPTMAX=2 MAILMAX=1", rcpt=2, mail=1) as server, self.serve(server).wire() as wire:
            self.assertEqual(self.offered(wire), [b"MAILMAX=1", b"RCPTMAX=2"])
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<c@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<d@example.org>"), (452, TOO_MANY))
            self.assertEqual(wire.say(b"DATA")[0], 354)
            self.assertEqual(wire.say(MESSAGE + b".")[0], 250)
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>"), (421, ENOUGH))

    def test_each_session_has_as_many_messages_as_it_was_told(self):
        """Though a session before has had some on the same connection to the server (dialogue.md D4)."""
        with LimitedServer(b"MAILMAX=2", mail=2) as server:
            gatepost = self.serve(server)
            for messages in (1, 2, 1, 2):
                with gatepost.wire() as wire:
                    self.assertIn(b"MAILMAX=2", self.offered(wire))
                    self.assertEqual([self.message(wire) for _ in range(messages)], [250] * messages)
                    self.assertEqual(wire.say(b"QUIT")[0], 221)
                wait_until(lambda: gatepost.sessions() == 0, "the end of the session")

    def whole_session(self, gatepost):
        """As many messages as are promised."""
        wait_until(lambda: gatepost.sessions() == 0, "the end of the session before")
        with gatepost.wire() as wire:
            self.assertIn(b"MAILMAX=2", self.offered(wire))
            self.assertEqual([self.message(wire) for _ in range(2)], [250, 250])

    def test_messages_by_a_connection_that_stands_in_for_a_lost_one(self):
        with LimitedServer(b"MAILMAX=2", mail=2, leaves=True) as server:
            gatepost = self.serve(server)
            with gatepost.wire() as wire:
                self.offered(wire)
                server.leave.set()
                wait_until(lambda: server.left, "that the loss is seen")
                self.assertEqual(self.message(wire), 250)
                wire.say(b"QUIT")
            self.whole_session(gatepost)

    def test_messages_behind_helo_which_is_told_of_no_limit(self):
        with LimitedServer(b"MAILMAX=2", mail=2) as server:
            gatepost = self.serve(server)
            with gatepost.wire() as wire:
                wire.reply()
                self.assertEqual(wire.say(b"HELO client.example")[0], 250)
                self.assertEqual(self.message(wire), 250)
                wire.say(b"QUIT")
            self.whole_session(gatepost)


if __name__ == "__main__":
    unittest.main()
