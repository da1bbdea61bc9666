#!/usr/bin/env python3
"""A whole host whose loopback goes through gatepost: real mail programs, unmodified and configured as if gatepost were not
there, see and store the same as without it. The rules are gatepost's own, by both backends."""
import contextlib
import os
import re
import smtplib
import subprocess
import sys
import unittest
from collections import namedtuple

import far_network
import firewall_world
import postfix_server
from common import PATIENCE, PROGRAM, Gatepost, Place, config_for, wait_until
from far_network import HERE, HERE6
from scanner_mails import EICAR
from wiretap import Wiretap

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from neighbours.cases import EIGHT_BIT  # noqa: E402
from neighbours.exim import EximClient, EximServer  # noqa: E402
from neighbours.letter import Letter  # noqa: E402
from neighbours.msmtp import Msmtp  # noqa: E402
from neighbours.opensmtpd import OpenSmtpd  # noqa: E402
from neighbours.packages import Unavailable, unpacked  # noqa: E402
from neighbours.postfix import PostfixClient, PostfixServer  # noqa: E402
from neighbours.smtplib_client import Smtplib  # noqa: E402
from neighbours.swaks import Swaks  # noqa: E402
from neighbours.tap import dialogue, starts_tls  # noqa: E402

PORT = 2525
SERVERS, COMMANDS = ("postfix", "exim", "opensmtpd"), ("smtplib", "swaks", "msmtp")
PAIRS = [*((client, server) for client in COMMANDS for server in SERVERS), ("postfix-client", "exim"), ("exim-client", "postfix")]
LETTERS = {
    "8-bit": lambda: Letter("8-bit", EIGHT_BIT),
    "STARTTLS": lambda: Letter("STARTTLS", EIGHT_BIT, recipients=["starttls@example.org"], tls=True),
    "refused": lambda: Letter("refused", EIGHT_BIT, recipients=["someone@elsewhere.example"]),
    "infected": lambda: Letter("infected", EICAR + b"\r\n"),
}
PAIRS_FOR = {"8-bit": PAIRS, "infected": PAIRS,
             "STARTTLS": [*((client, server) for client in COMMANDS for server in SERVERS[:2]), *PAIRS[-2:]],
             "refused": [(client, server) for client in COMMANDS for server in ("postfix", "opensmtpd")]}
MASKS = (  # what is another one each time
    (rb"queued as \w+", b"queued as ID"),
    (rb"250 OK id=\S+", b"250 OK id=ID"),
    (rb"250 2\.0\.0 [0-9a-f]{8} Message accepted", b"250 2.0.0 ID Message accepted"),
    (rb"(220 \S+ ESMTP Exim \S+) .*", rb"\1 DATE"),
    # Gatepost's own: it has the content scanned before the server hears of DATA.
    (rb"^(354|554 5[.]5[.]1) .*", rb"\1"),
    (rb"\n250-PIPECONNECT(?=\n)", b""),  # never passed on: the client of next time would not wait for the server
)
# Whether the client could deliver; its connections, as it saw them; where they arrived; those that gatepost made for
# them; what the server has.
Exchange = namedtuple("Exchange", "delivered seen arrived behind stored")
neighbourhood = None


def setUpModule():
    global neighbourhood
    try:
        for each in (EximServer, OpenSmtpd):
            unpacked(*each.packages)  # from our own network nothing can be downloaded
        far_network.laid_for_module(postfix_server, firewall_world)
        neighbourhood = unittest.enterModuleContext(Neighbourhood())
    except Unavailable as missing:
        raise unittest.SkipTest(str(missing)) from None


def seen(stream, token):
    """What client and server said: [(line, reply, content)], without what is another one each time."""
    said = []
    for line, reply, octets in dialogue(*(each.replace(token.encode(), b"TOKEN") for each in stream.whole())):
        for pattern, instead in MASKS:
            reply = re.sub(pattern, instead, reply)
        if octets is not None:  # a mail server puts fields of its own on top
            octets = octets[max(octets.find(b"X-Interop:"), 0):]
        said.append((line, reply, octets))
    return said


class Neighbourhood:
    """The mail programs of this host, each on the port that it is on anyway, and what they do without gatepost."""

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.place = Place()
            stack.callback(self.place.remove)
            more = "".join(f"{address}:25 inet n - n - - smtpd\n" for address in (HERE, f"[{HERE6}]"))
            self.servers = {each.name: stack.enter_context(each) for each in (
                PostfixServer(self.place, "inet_protocols = all\n", more), EximServer(self.place), OpenSmtpd(self.place))}
            self.clients = {each.name: each(self.place, None) for each in (Smtplib, Swaks, Msmtp)}
            for name, kind, server in (("postfix-client", PostfixClient, "exim"), ("exim-client", EximClient, "postfix")):
                self.clients[name] = stack.enter_context(kind(self.place, self.servers[server].port))
            self.tap = Wiretap()
            stack.callback(self.tap.close)
            self.direct = {(*pair, what): self.exchange(*pair, make()) for what, make in LETTERS.items() for pair in PAIRS_FOR[what]}
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception):
        return self._stack.__exit__(*exception)

    def exchange(self, client, server, letter):
        client, server = self.clients[client], self.servers[server]
        client.target = server.port
        self.tap.forget()
        try:
            outcome = client.send(letter)
        except smtplib.SMTPException as error:  # a mail server as client did not take it
            error.add_note(client.log()[-3000:])
            raise
        streams = self.tap.streams((PORT, server.port))
        own = [each for each in streams if each.meant[1] == PORT] or streams
        return Exchange(outcome.delivered, [seen(each, letter.token) for each in own], [each.meant for each in own],
                        [each for each in streams if each not in own],
                        sorted(server.take(letter)) if outcome.delivered else [])


class Story(unittest.TestCase):
    """One gatepost with its rules for all tests of a class."""
    backend, listener = "nft", {}

    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        ports = [25, *(each.port for each in neighbourhood.servers.values())]
        config = config_for(place, loops=1, firewall={"backend": cls.backend})
        config["listeners"] = [{"name": name, "address": f"{address}:{PORT}", "downstream": "original", "intercept": "redirect",
                                "scopes": ["output"], "interfaces": ["lo"], "ports": ports, **cls.listener}
                               for name, address in (("four", "127.0.0.1"), ("six", "[::1]"))]
        config["downstreams"] = {}
        cls.gatepost = Gatepost(place, config)
        cls.addClassCleanup(cls.gatepost.__exit__, None)
        cls.state = place / "rules"
        cls.rules("apply", "-c", place / "gatepost.json")
        cls.addClassCleanup(cls.rules, "remove")

    @classmethod
    def rules(cls, action, *words):
        done = subprocess.run([PROGRAM, "firewall", action, *words, "--state", cls.state], text=True, stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode != 0:
            raise AssertionError(f"firewall {action}: {done.stdout}")

    def each_pair(self, what, check):
        """check(server, letter, with gatepost, without)"""
        for client, server in PAIRS_FOR[what]:
            with self.subTest(client=client, server=server):
                letter = LETTERS[what]()
                through = neighbourhood.exchange(client, server, letter)
                self.assertEqual({port for _, port in through.arrived}, {PORT})
                check(neighbourhood.servers[server], letter, through, neighbourhood.direct[client, server, what])

    def assert_arrives_alike(self, through, direct):
        self.assertTrue(direct.delivered and through.delivered and through.behind, through)
        self.assertEqual(through.stored, direct.stored)


class Redirected(Story):
    """`hide`, and limits and commands that are left to the server: nothing that a client sees is another."""
    listener = {"hide": True, "max_message": 0, "forward_commands": ["VRFY", "EXPN", "HELP", "ETRN"], "tls": {"mode": "pass"}}

    def test_mail_is_sent_and_stored_as_without_gatepost(self):
        def check(server, _, through, direct):
            self.assertEqual(through.seen, direct.seen)
            self.assert_arrives_alike(through, direct)
            self.gatepost.summary(meant_for=server.address, outcome="answered", status="CLEAN")
        self.each_pair("8-bit", check)

    def test_recipients_that_the_server_refuses(self):
        def check(_, __, through, direct):
            self.assertFalse(through.delivered or direct.delivered)
            self.assertEqual(through.seen, direct.seen)
        self.each_pair("refused", check)

    def test_tls_is_between_client_and_server(self):
        def check(_, __, through, direct):
            self.assertTrue(all(map(starts_tls, through.seen)), through.seen)
            self.assertEqual(through.seen, direct.seen)
            self.assert_arrives_alike(through, direct)
        self.each_pair("STARTTLS", check)
        wait_until(lambda: "passed_unscanned" in self.gatepost.log.text(), "the line about it")

    def test_infected_mail_alone_does_not_arrive(self):
        def check(server, letter, through, direct):
            self.assertTrue(direct.delivered and not through.delivered, through)
            refusal = next(reply for _, reply, octets in through.seen[0] if octets is not None)
            self.assertRegex(refusal, rb"^550 5\.7\.1 ")
            self.assertTrue(server.mail.none(letter.token))
        self.each_pair("infected", check)

    def test_other_addresses_of_this_host(self):
        for address in (HERE, HERE6):
            with self.subTest(address), smtplib.SMTP(address, 25, local_hostname="client.example", timeout=PATIENCE) as client:
                self.assertEqual(client.sock.getpeername()[:2], (address, 25))
                client.sendmail("a@client.example", "b@example.org", b"Subject: x\r\n\r\nhello\r\n")
            self.gatepost.summary(meant_for=f"[{address}]:25" if ":" in address else f"{address}:25", outcome="answered")


class RedirectedByIptables(Redirected):
    backend = "iptables"


class RedirectedOpenly(Story):
    """As it comes: gatepost shows itself, and the same mail arrives."""

    def test_mail(self):
        self.each_pair("8-bit", lambda _, __, through, direct: self.assert_arrives_alike(through, direct))


if __name__ == "__main__":
    unittest.main()
