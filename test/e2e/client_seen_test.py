#!/usr/bin/env python3
"""What a Postfix behind gatepost counts and asks by: its policy services (as SPF daemons are) and its rate limits hear of
the client that XCLIENT or a PROXY header names, from a network of the client's own (T:H1)."""
import contextlib
import socketserver
import threading
import unittest

import far_network
import postfix_server
from common import Gatepost, Place, config_for, wait_until
from far_network import ANOTHER, CLIENT, CLIENT6
from ports import free_port
from postfix_server import Postfix

network = None


def setUpModule():
    global network
    network = far_network.laid_for_module(postfix_server)


class PolicyServer(socketserver.ThreadingTCPServer):
    """Postfix's protocol of SMTPD_POLICY_README: remembers every question, answers that it has no opinion."""
    daemon_threads = True

    def __init__(self):
        self.asked = []
        super().__init__(("127.0.0.1", 0), Question)
        self.port = self.server_address[1]
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class Question(socketserver.StreamRequestHandler):
    def handle(self):
        attributes = {}
        with contextlib.suppress(OSError):
            for line in self.rfile:
                name, found, value = line.decode().rstrip("\n").partition("=")
                if found:
                    attributes[name] = value
                    continue
                self.server.asked.append(attributes)
                attributes = {}
                self.wfile.write(b"action=dunno\n\n")


SMTPD = "127.0.0.1:{port} inet n - n - - smtpd -o smtpd_{told} {more}\n"
TOLD = {"xclient": "authorized_xclient_hosts=127.0.0.1", "proxy-v2": "upstream_proxy_protocol=haproxy"}
PURPOSES = {
    "asking": "-o smtpd_recipient_restrictions=check_policy_service,inet:127.0.0.1:{policy}",
    "connections": "-o smtpd_client_event_limit_exceptions= -o smtpd_client_connection_rate_limit=3",
    "blocking": "-o smtpd_delay_reject=no -o {{ smtpd_client_restrictions = check_client_access inline:{{203.0.113.9=REJECT}} }}",
    "messages": "-o smtpd_client_event_limit_exceptions= -o smtpd_client_message_rate_limit=3",
}


class ClientSeen(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        cls.policy = cls.enterClassContext(PolicyServer())
        config, services = config_for(place, scan=False, loops=1), ""
        config["listeners"], config["downstreams"] = [], {}
        for purpose, more in PURPOSES.items():
            for told, setting in TOLD.items():
                name, port = f"{purpose}-{told}", free_port()
                services += SMTPD.format(port=port, told=setting, more=more.format(policy=cls.policy.port))
                config["downstreams"][name] = {"servers": [f"127.0.0.1:{port}"], "identity": told}
                config["listeners"] += [{"name": name, "address": "0.0.0.0:0", "downstream": name},
                                        {"name": name + "-6", "address": "[::]:0", "downstream": name}]
        cls.postfix = cls.enterClassContext(Postfix(place, settings="mynetworks = 127.0.0.0/8\ninet_protocols = all\n", services=services))
        cls.gatepost = cls.enterClassContext(Gatepost(place, config))

    def wire(self, listener, source=CLIENT):
        return network.wire(int(self.gatepost.listeners[listener].rsplit(":", 1)[1]), source)

    def session(self, listener, source=CLIENT):
        """The last reply of a session that delivers a message: that to the message, or the first refusal."""
        with self.wire(listener, source) as wire:
            for line in (None, b"EHLO far.example.net", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@example.org>", b"DATA",
                         b"Subject: x\r\n\r\nhello\r\n."):
                reply = wire.reply() if line is None else wire.say(line)
                if reply[0] not in (220, 250, 354):
                    break
            wire.say(b"QUIT")
        wait_until(lambda: self.gatepost.sessions() == 0, "the end of the session")
        return reply

    def test_policy_services_are_asked_about_the_client(self):
        for told in TOLD:
            for listener, source in ((f"asking-{told}", CLIENT), (f"asking-{told}", ANOTHER), (f"asking-{told}-6", CLIENT6)):
                with self.subTest(listener, source=source), self.wire(listener, source) as wire:
                    self.policy.asked.clear()
                    self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
                    for line in (b"EHLO far.example.net", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@example.org>"):
                        self.assertEqual(wire.say(line)[0], 250)
                    self.assertEqual(len(self.policy.asked), 1)
                    asked = self.policy.asked[0]
                    wanted = {"request": "smtpd_access_policy", "protocol_state": "RCPT", "protocol_name": "ESMTP",
                              "client_address": source, "client_port": str(wire.socket.getsockname()[1]),
                              "helo_name": "far.example.net", "sender": "a@sender.example", "recipient": "b@example.org"}
                    self.assertEqual({name: asked.get(name) for name in wanted}, wanted)
                    self.assertNotIn("127.0.0.1", (asked["client_name"], asked["reverse_client_name"]))

    def test_a_client_is_blocked_by_its_address(self):
        """As by a DNS list, at once: it reads why, and all others are served."""
        for told in TOLD:
            with self.subTest(told):
                self.assertEqual(self.session("blocking-" + told),
                                 (554, b"554 5.7.1 <unknown[203.0.113.9]>: Client host rejected: Access denied"))
                self.assertEqual(self.session("blocking-" + told, ANOTHER)[0], 250)
        self.assertNotIn("turned away", self.gatepost.log.text())

    def test_messages_are_counted(self):
        for told in TOLD:
            with self.subTest(told):
                self.assertEqual([self.session("messages-" + told)[0] for _ in range(3)], [250] * 3)
                self.assertEqual(self.session("messages-" + told), (450, b"450 4.7.1 Error: too much mail from 203.0.113.9"))
                self.assertEqual(self.session("messages-" + told, ANOTHER)[0], 250)
                self.assertEqual(self.session(f"messages-{told}-6", CLIENT6)[0], 250)

    def test_connections_are_counted(self):
        for told in TOLD:
            with self.subTest(told):
                self.assertEqual([self.session("connections-" + told)[0] for _ in range(3)], [250] * 3)
                self.assertEqual(self.session("connections-" + told),
                                 (421, b"421 4.7.0 mta.example Error: too many connections from 203.0.113.9"))
                self.assertEqual(self.session("connections-" + told, ANOTHER)[0], 250)
                self.assertEqual(self.session(f"connections-{told}-6", CLIENT6)[0], 250)


if __name__ == "__main__":
    unittest.main()
