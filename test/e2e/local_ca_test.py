"""Outgoing mail inside TLS, scanned: gatepost ends the client's TLS with a certificate that the site's own CA makes for the
server that is meant, and speaks TLS with that server. Networks and rules as in interception_test.py."""
import contextlib
import json
import os
import signal
import ssl
import subprocess
import unittest

import certificates
from common import IS_ROOT, PROGRAM, wait_until
from firewall_world import ANY, CLIENT, SERVER, available
from interception_test import MESSAGE, PORT, Stage
from peers import Downstream
from scanner_mails import EICAR, mail

NAME = "far.example"  # in the server's own certificate


@unittest.skipUnless(IS_ROOT and available(), "needs root, ip and iptables")
class LocalCa(Stage):
    def setUp(self):
        super().setUp()
        self.site = certificates.Authority(self.place / "site", name="Site CA")
        self.world_ca = certificates.Authority(self.place / "world", name="World CA")
        with self.world.server.inside():
            self.server = Downstream(tls=self.world_ca.server_context(NAME), at=(SERVER[4], 25))
        self.addCleanup(self.server.close)

    def serve(self, scan=False, mode="starttls", more=None, **sections):
        ca = {"certificate": self.site.certificate, "key": self.site.key}
        tls = {"mode": mode, "local_ca": ca, **(more or {})}
        listener = {"name": "out", "address": f"{ANY[4]}:{PORT}", "downstream": "there", "intercept": "redirect",
                    "scopes": ["forward"], "direction": "outgoing", "tls": tls}
        server = {"original": True, "tls": {"mode": "verified", "name": NAME, "ca": self.world_ca.certificate}}
        if "firewall" not in sections:
            self.world.gateway.run(f"iptables -w -t nat -A PREROUTING -i near -p tcp --dport 25 -j REDIRECT --to-ports {PORT}".split())
        return self.serve_listeners([listener], server, scan=scan, **sections)

    def starttls(self, wire, name):
        """The certificate that the client sees, checked against the site's CA and for that name or address."""
        self.assertEqual(wire.reply()[0], 220)
        self.assertIn(b"STARTTLS", wire.say(b"EHLO client.example")[1])
        self.assertEqual(wire.say(b"STARTTLS")[0], 220)
        return self.secure(wire, name)

    def secure(self, wire, name):
        wire.socket = self.site.client_context().wrap_socket(wire.socket, server_hostname=name)
        return wire.socket.getpeercert()

    def message(self, wire, content=MESSAGE):
        self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
        self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 250)
        self.assertEqual(wire.say(b"RCPT TO:<b@example.net>")[0], 250)
        self.assertEqual(wire.say(b"DATA")[0], 354)
        wire.send(content + b".\r\n")
        return wire.reply()

    def test_a_name_that_the_client_asks_for(self):
        self.serve()
        for name in ("smtp.far.example", "mx.another.example"):
            with self.wire(4, SERVER[4]) as wire:
                seen = self.starttls(wire, name)
                self.assertEqual(seen["subjectAltName"], (("DNS", name),))
                self.assertEqual(seen["issuer"][-1], (("commonName", "Site CA"),))
                self.assertEqual(self.message(wire)[0], 250)
        self.assertEqual([content for _, _, content in self.server.messages], [MESSAGE, MESSAGE])
        self.assertEqual(self.server.secured, 2)

    def test_no_name_is_asked_for(self):
        self.serve()
        with self.wire(4, SERVER[4]) as wire:
            seen = self.starttls(wire, SERVER[4])  # an address is never sent (RFC 6066 section 3)
            self.assertEqual(seen["subjectAltName"], (("DNS", NAME), ("IP Address", SERVER[4])))
            self.assertEqual(self.message(wire)[0], 250)

    def test_infected_mail_inside_tls_is_refused(self):
        self.serve(scan=True)
        with self.wire(4, SERVER[4]) as wire:
            self.starttls(wire, "smtp.far.example")
            self.assertEqual(self.message(wire, mail(text=EICAR + b"\r\n"))[0], 550)
        with self.wire(4, SERVER[4]) as wire:
            self.starttls(wire, "smtp.far.example")
            self.assertEqual(self.message(wire)[0], 250)
        self.assertEqual([content for _, _, content in self.server.messages], [MESSAGE])

    def test_from_the_first_octet(self):
        self.serve(mode="implicit")
        with self.wire(4, SERVER[4]) as wire:
            self.assertEqual(self.secure(wire, "smtp.far.example")["subjectAltName"], (("DNS", "smtp.far.example"),))
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(self.message(wire)[0], 250)

    def test_a_certificate_of_our_own_for_some_servers(self):
        certificate, key = self.site.issue("ours.example")
        self.serve(more={"certificates": [{"certificate": certificate, "key": key, "destinations": [SERVER[4]]}]})
        for asked in (SERVER[4], "ours.example", "unknown.example"):
            with self.wire(4, SERVER[4]) as wire:
                self.assertEqual(wire.reply()[0], 220)
                wire.say(b"EHLO client.example")
                self.assertEqual(wire.say(b"STARTTLS")[0], 220)
                context = self.site.client_context()
                context.check_hostname = False
                wire.socket = context.wrap_socket(wire.socket, server_hostname=asked)
                self.assertEqual(wire.socket.getpeercert()["subjectAltName"], (("DNS", "ours.example"),))

    def test_tls_of_some_is_passed_on_to_the_server(self):
        for name, network in (("pass_sources", CLIENT[4]), ("pass_destinations", "198.51.100.0/24")):
            with self.subTest(name):
                network = SERVER[4] if name == "pass_destinations" else network
                gatepost = self.serve(more={name: [network]})
                before = len(self.server.messages)
                with self.wire(4, SERVER[4]) as wire:
                    self.assertEqual(wire.reply()[0], 220)
                    self.assertIn(b"STARTTLS", wire.say(b"EHLO client.example")[1])
                    self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[0], 530)  # TLS is demanded behind us
                    self.assertEqual(wire.say(b"STARTTLS")[0], 220)
                    wire.socket = self.world_ca.client_context().wrap_socket(wire.socket, server_hostname=NAME)
                    self.assertEqual(self.message(wire)[0], 250)
                    wire.say(b"QUIT")
                self.assertEqual(len(self.server.messages), before + 1)
                wait_until(lambda: self.events(gatepost, event="passed_unscanned"), "the line about it")
                gatepost.__exit__(None)
                self.world.gateway.run("iptables -w -t nat -F PREROUTING".split())

    def test_what_is_passed_on_is_counted(self):
        """Whichever proxy it was, until gatepost is started again."""
        rules = {"manage": True, "state_directory": str(self.place / "rules")}
        gatepost = self.serve(more={"pass_sources": [CLIENT[4]]}, firewall=rules)
        status = [PROGRAM, "firewall", "status", "-c", self.place / "gatepost.json"]
        self.assertEqual(json.loads(self.world.gateway.run([*status, "--json"]).stdout)["passed_on_in_tls"],
                         [{"listener": "out", "connections": 0}])
        for count in (1, 2):
            with self.wire(4, SERVER[4]) as wire:
                self.assertEqual(wire.reply()[0], 220)
                self.assertIn(b"STARTTLS", wire.say(b"EHLO client.example")[1])
                self.assertEqual(wire.say(b"STARTTLS")[0], 220)
                wire.socket = self.world_ca.client_context().wrap_socket(wire.socket, server_hostname=NAME)
                self.assertEqual(self.message(wire)[0], 250)
            proxy = gatepost.child("proxy")
            os.kill(proxy, signal.SIGKILL)
            wait_until(lambda gone=proxy: gatepost.child("proxy") != gone, "the next proxy")
            line = f"\n{count} connections of out went through in TLS, unscanned, since gatepost was started\n"
            wait_until(lambda line=line: line in self.world.gateway.run(status).stdout, line)
            with open(self.place / "rules/passed_on", "w"):
                pass  # as a confused operator may, under those who count: it is only a copy
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        self.assertNotIn("SIGBUS", gatepost.log.text())

    def test_openssl_finds_nothing_wrong_with_them(self):
        self.serve()
        with self.wire(4, SERVER[4]) as wire:
            self.starttls(wire, "smtp.far.example")
            file = self.place / "seen.pem"
            with open(file, "w") as out:
                out.write(ssl.DER_cert_to_PEM_cert(wire.socket.getpeercert(True)))
        done = subprocess.run(["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-verify_hostname", "smtp.far.example",
                               "-CAfile", self.site.certificate, file], capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)

    def test_the_key_is_roots_alone_and_hup_reads_it_again(self):
        gatepost = self.serve()
        self.assertEqual(os.stat(self.site.key).st_mode & 0o777, 0o600)  # root's alone
        other = certificates.Authority(self.place / "other", name="Other CA")
        os.replace(other.certificate, self.site.certificate)
        os.replace(other.key, self.site.key)
        gatepost.signal(signal.SIGHUP)

        def other_is_used():  # the client trusts nobody else now
            with self.wire(4, SERVER[4]) as wire, contextlib.suppress(ssl.SSLError):
                return self.starttls(wire, "smtp.far.example")["issuer"][-1][0][1] == "Other CA"
            return False
        wait_until(other_is_used, "the new authority")


if __name__ == "__main__":
    unittest.main()
