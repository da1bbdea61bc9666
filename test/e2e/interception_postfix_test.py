"""gatepost before a Postfix on the same host that trusts this host, as Postfix does by default: connections to its port 25
are intercepted by the rules that gatepost writes itself, the client is 203.0.113.9, and in no way of interception does the
Postfix become an open relay (T:H1)."""
import signal
import smtplib
import subprocess
import unittest

import far_network
import postfix_server
from common import PROGRAM, Gatepost, Place, config_for, wait_until
from far_network import CLIENT, CLIENT6, HERE, HERE6
from ports import free_port
from postfix_server import Postfix

FOREIGN = b"someone@elsewhere.example"
PORT = 2525
network = None


def setUpModule():
    global network
    network = far_network.laid_for_module(postfix_server)


class Story(unittest.TestCase):
    """One Postfix at port 25 of this host, and one gatepost; all in the network of this process."""

    backend = "nft"
    options = ""  # of its smtpd at port 25

    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.proxied = free_port()
        smtpd = "inet n - n - - smtpd -o inet_protocols=all"
        services = (f"{HERE}:25 {smtpd} {self.options}\n[{HERE6}]:25 {smtpd} {self.options}\n"
                    f"127.0.0.1:{self.proxied} {smtpd} -o smtpd_upstream_proxy_protocol=haproxy\n")
        settings = (f"mynetworks = 127.0.0.0/8 {HERE} [{HERE6}]\ninet_protocols = all\n"
                    "smtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n")
        self.postfix = Postfix(self.place, settings=settings, services=services)
        self.addCleanup(self.postfix.__exit__)

    def serve(self, intercept, downstream):
        config = config_for(self.place, scan=False, loops=1)
        config["listeners"] = [{"name": name, "address": f"{address}:{PORT}", "downstream": "mta", "intercept": intercept,
                                "interfaces": ["near"], "protected": [HERE, HERE6]} for name, address in (("four", "0.0.0.0"), ("six", "[::]"))]
        config["downstreams"] = {"mta": downstream}
        config["firewall"] = {"backend": self.backend, "manage": True, "state_directory": str(self.place / "rules")}
        self.gatepost = Gatepost(self.place, config)
        self.addCleanup(self.gatepost.__exit__, None)
        self.addCleanup(self.gatepost.wait)
        self.addCleanup(self.gatepost.signal, signal.SIGTERM)  # and with it its rules
        self.gatepost.log.wait_for(f"the rules of the packet filter are in force, by {self.backend}")

    def greet(self, source):
        wire = network.wire(25, source)
        self.addCleanup(wire.__exit__, None)
        return wire, wire.reply()

    def assert_no_relay(self):
        """Mail for its own domain is taken with the client's name on it, mail for others refused."""
        for number, source in enumerate((CLIENT, CLIENT6)):
            with self.subTest(source=source):
                wire, banner = self.greet(source)
                self.assertEqual(banner[0], 220, self.gatepost.log.tail())
                wire.say(b"EHLO far.example.net")
                self.assertEqual(wire.say(b"MAIL FROM:<a@sender.example>")[0], 250)
                code, text = wire.say(b"RCPT TO:<" + FOREIGN + b">")
                self.assertEqual(code, 554, text)
                self.assertEqual(wire.say(b"RCPT TO:<user%d@example.org>" % number)[0], 250)
                self.assertEqual(wire.say(b"DATA")[0], 354)
                self.assertEqual(wire.say(b"Subject: x\r\n\r\nhello\r\n.")[0], 250)
                shown = source if ":" not in source else "IPv6:" + source
                self.assertIn(f"[{shown}]".encode(), self.postfix.delivered(f"user{number}")[0])
                wire.say(b"QUIT")


class Trusting(Story):
    def test_without_gatepost_this_host_may_relay(self):
        """The danger is real."""
        with network.wire(25) as direct:
            direct.reply()
            direct.say(b"EHLO far.example.net")
            direct.say(b"MAIL FROM:<a@sender.example>")
            self.assertEqual(direct.say(b"RCPT TO:<" + FOREIGN + b">")[0], 554)
        with smtplib.SMTP(HERE, 25, local_hostname="localhost") as own:
            own.ehlo()
            own.mail("a@sender.example")
            self.assertEqual(own.rcpt(FOREIGN.decode())[0], 250)

    def test_tproxy_with_a_spoofed_source(self):
        self.serve("tproxy", {"original": True, "identity": "spoof"})
        self.assert_no_relay()

    def test_redirect_to_a_port_for_the_proxy_header(self):
        self.serve("redirect", {"servers": [f"127.0.0.1:{self.proxied}"], "identity": "proxy-v2"})
        self.assert_no_relay()

    def test_check_probe_finds_it_beforehand(self):
        self.serve("redirect", {"original": True})
        done = subprocess.run([PROGRAM, "check", "--probe", "-c", self.place / "gatepost.json"], text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self.assertEqual(done.returncode, 78, done.stdout)
        self.assertIn(f"mta, {HERE}:25: identity none, OPEN RELAY", done.stdout)

    def test_redirect_and_nothing_told_is_turned_away(self):
        self.serve("redirect", {"original": True})
        for source in (CLIENT, CLIENT6):
            _, banner = self.greet(source)
            self.assertEqual(banner[0], 421)
        wait_until(lambda: "smtpd_authorized_xclient_hosts" in self.gatepost.log.text(), "the line that mends it")


class TrustingByIptables(Trusting):
    backend = "iptables"


class WithXclient(Story):
    options = f"-o smtpd_authorized_xclient_hosts={HERE},[{HERE6}]"

    def test_redirect_and_xclient(self):
        self.serve("redirect", {"original": True})
        self.assert_no_relay()


class WithXclientByIptables(WithXclient):
    backend = "iptables"


if __name__ == "__main__":
    unittest.main()
