#!/usr/bin/env python3
"""AUTH before a Postfix that asks Dovecot (dialogue.md D2): who knows the password may relay, who does not reads Postfix's
refusal, mechanisms that bind to a connection are withheld, and no credential is told to the log."""
import base64
import os
import shutil
import smtplib
import subprocess
import sys
import unittest

import postfix_server
from certificates import Authority
from common import PATIENCE, Gatepost, Place, config_for, wait_until
from peers import Downstream
from postfix_server import Postfix

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from neighbours.dovecot import DovecotAuth  # noqa: E402
from neighbours.packages import Unavailable, unpacked  # noqa: E402

USER, PASSWORD, WRONG = "anna", "Kakadu-4711", "Papagei-0815"
FOREIGN = "someone@elsewhere.example"
MESSAGE = b"From: anna@sender.example\r\nSubject: away\r\n\r\nhello\r\n"
OFFERED = "plain login cram-md5 scram-sha-256 digest-md5 external"
SETTINGS = """mynetworks = 192.0.2.99
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = {socket}
smtpd_sasl_mechanism_filter = static:all
relayhost = {relay}
smtpd_error_sleep_time = 0
"""


def unavailable():
    if not postfix_server.available():
        return "needs root and Postfix"
    try:
        unpacked(*DovecotAuth.packages)
    except Unavailable as missing:
        return str(missing)
    return None


class Auth(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if reason := unavailable():
            raise unittest.SkipTest(reason)
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.elsewhere = cls.enterClassContext(Downstream())
        cls.dovecot = cls.enterClassContext(DovecotAuth(cls.place, {USER: PASSWORD}, OFFERED))
        relay = "[127.0.0.1]:" + cls.elsewhere.address.rsplit(":", 1)[1]
        cls.postfix = cls.enterClassContext(Postfix(cls.place, settings=SETTINGS.format(socket=cls.dovecot.socket, relay=relay)))
        cls.authority = Authority(cls.place / "ca")
        certificate, key = cls.authority.issue("mx.example.org")
        cls.tls = {"mode": "starttls", "certificates": [{"certificate": certificate, "key": key}]}

    def setUp(self):
        own = Place()
        self.addCleanup(own.remove)
        config = config_for(own, [self.postfix.address], scan=False, listener={"tls": self.tls})
        self.gatepost = Gatepost(own, config)
        self.addCleanup(self.check_log)
        self.addCleanup(self.gatepost.__exit__, None)

    def check_log(self):
        """Neither the words nor what mechanisms make of them; the user's name may be there."""
        log = self.gatepost.log.text()
        for secret in (PASSWORD, WRONG):
            plain = base64.b64encode(f"\0{USER}\0{secret}".encode()).decode()
            for told in (secret, base64.b64encode(secret.encode()).decode(), plain, plain[-8:]):
                self.assertNotIn(told, log)

    def client(self, user=USER, password=PASSWORD):
        client = self.enterContext(self.gatepost.smtp())
        client.ehlo()
        client.user, client.password = user, password
        return client

    def relays(self, client, name):
        """Whether a message for a foreign domain is taken and goes on."""
        taken = client.mail("anna@sender.example")[0], client.rcpt(name + FOREIGN)[0]
        if taken != (250, 250):
            self.assertEqual(taken, (250, 554))
            client.rset()
            return False
        self.assertEqual(client.data(MESSAGE)[0], 250)
        wait_until(lambda: any(name.encode() in b"".join(message[1]) for message in list(self.elsewhere.messages)),
                   f"the message for {name} arrives:\n{self.postfix.log()[-1500:]}")
        return True

    def test_without_it_nobody_relays(self):
        self.assertFalse(self.relays(self.client(), "nobody"))

    def test_each_mechanism_of_smtplib(self):
        for mechanism in ("plain", "login", "cram_md5"):
            with self.subTest(mechanism):
                client = self.client()
                code, text = client.auth(mechanism.replace("_", "-").upper(), getattr(client, "auth_" + mechanism))
                self.assertEqual((code, text[:6]), (235, b"2.7.0 "))
                self.assertTrue(self.relays(client, mechanism))
                self.assertEqual(client.docmd("AUTH", "PLAIN")[0], 503)
                self.assertFalse(self.relays(self.client(), "behind-" + mechanism), "it was not him who knew the password")
                line = self.gatepost.summary(to=f"{mechanism}{FOREIGN}")
                self.assertEqual(line.get("login"), None if mechanism == "cram_md5" else USER)

    def test_two_steps(self):
        """Without an initial response: the 334s are Dovecot's."""
        client = self.client()
        code, text = client.auth("LOGIN", client.auth_login, initial_response_ok=False)
        self.assertEqual(code, 235, text)
        self.assertTrue(self.relays(client, "two-steps"))

    def test_wrong_password(self):
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=PATIENCE) as direct:
            direct.ehlo()
            direct.user, direct.password = USER, WRONG
            with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
                direct.auth("PLAIN", direct.auth_plain)
        own = refused.exception.smtp_code, refused.exception.smtp_error
        self.assertEqual(own[0], 535)
        for mechanism in ("plain", "login"):
            client = self.client(password=WRONG)
            with self.assertRaises(smtplib.SMTPAuthenticationError) as refused:
                client.auth(mechanism.upper(), getattr(client, "auth_" + mechanism))
            self.assertEqual(refused.exception.smtp_code, 535)
            if mechanism == "plain":
                self.assertEqual(refused.exception.smtp_error, own[1])
            self.assertFalse(self.relays(client, "wrong"))
            client.password = PASSWORD
            self.assertEqual(client.auth("PLAIN", client.auth_plain)[0], 235, "a second attempt is his to make")
            self.assertTrue(self.relays(client, "at-last-" + mechanism))
        self.gatepost.log.wait_for('"event":"auth_failed".*PLAIN 535')

    def test_what_binds_to_a_connection_is_withheld(self):
        with smtplib.SMTP("127.0.0.1", self.postfix.port, timeout=PATIENCE) as direct:
            direct.ehlo()
            own = direct.esmtp_features["auth"].split()
        self.assertEqual(sorted(own), sorted(OFFERED.upper().split()), "Postfix offers what the test is about")
        client = self.client()
        offered = client.esmtp_features["auth"].split()
        self.assertEqual(offered, [each for each in own if each not in ("EXTERNAL", "DIGEST-MD5")])
        self.assertEqual(client.docmd("AUTH", "EXTERNAL =")[0], 504)
        self.assertEqual(client.docmd("AUTH", "DIGEST-MD5")[0], 504)
        self.assertEqual(client.noop()[0], 250)
        self.assertNotIn("sasl_method=EXTERNAL", self.postfix.log())

    def test_with_channel_binding_too(self):
        place = Place()
        self.addCleanup(place.remove)
        keyword = b"AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 EXTERNAL PLAIN"
        downstream = self.enterContext(Downstream(keywords=(keyword,)))
        gatepost = self.enterContext(Gatepost(place, config_for(place, [downstream.address], scan=False)))
        with gatepost.smtp() as client:
            client.ehlo()
            self.assertEqual(client.esmtp_features["auth"].split(), ["SCRAM-SHA-256", "PLAIN"])
            self.assertEqual(client.docmd("AUTH", "SCRAM-SHA-256-PLUS")[0], 504)

    @unittest.skipUnless(shutil.which("swaks"), "swaks is not installed")
    def test_swaks_with_tls(self):
        for mechanism in ("PLAIN", "LOGIN", "CRAM-MD5"):
            for password, status in ((PASSWORD, 0), (WRONG, 28)):
                with self.subTest(mechanism, status=status):
                    told = f"swaks-{mechanism.lower()}-{status}"
                    done = subprocess.run(
                        ["swaks", "--server", "127.0.0.1", "--port", str(self.gatepost.port), "--ehlo", "client.example",
                         "--from", "anna@sender.example", "--to", told + FOREIGN, "--tls", "--auth", mechanism,
                         "--auth-user", USER, "--auth-password", password, "--timeout", f"{PATIENCE}s"],
                        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 3)
                    self.assertEqual(done.returncode, status, done.stdout[-2000:] + done.stderr[-500:])
                    self.assertIn("<~  235 " if status == 0 else "<~* 535 ", done.stdout)
                    if status == 0:
                        line = self.gatepost.summary(to=told + FOREIGN)
                        self.assertEqual((line["outcome"], line["proto"]), ("answered", "ESMTPSA"))

    def test_plain_inside_tls(self):
        client = self.client()
        context = self.authority.client_context()
        context.check_hostname = False
        client.starttls(context=context)
        client.login(USER, PASSWORD)
        self.assertTrue(self.relays(client, "inside-tls"))


if __name__ == "__main__":
    unittest.main()
