"""TLS on both legs of a running gatepost: STARTTLS and implicit TLS, several names, keys that only root may read, HUP."""
import os
import signal
import smtplib
import socket
import ssl
import unittest

from certificates import Authority, fingerprint
from common import Gatepost, Place, config_for
from peers import PATIENCE, Downstream, Wire

MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"


def pair(certificate, key):
    return {"certificate": certificate, "key": key}


class TlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = Place()
        cls.authority = Authority(cls.keys / "ca")
        cls.mx = cls.authority.issue("mx.example.org")
        cls.other = cls.authority.issue("mail.example.net")

    @classmethod
    def tearDownClass(cls):
        cls.keys.remove()

    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def serve(self, downstream=None, listener=None, **settings):
        downstream = downstream or self.enterContext_(Downstream())
        self.downstream = downstream
        tls = {"mode": "starttls", "certificates": [pair(*self.mx), pair(*self.other)], **(listener or {})}
        config = config_for(self.place, [downstream.address], scan=False, listener={"tls": tls}, **settings)
        return self.enterContext_(Gatepost(self.place, config))

    def enterContext_(self, context):
        value = context.__enter__()
        self.addCleanup(context.__exit__, None, None, None)
        return value

    def context(self):
        context = self.authority.client_context()
        context.check_hostname = False
        return context

    def secured(self, gatepost, name="mx.example.org"):
        """A socket with TLS by STARTTLS, its certificate checked for `name`."""
        with Wire(gatepost.port) as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertIn(b"STARTTLS", wire.say(b"EHLO client.example")[1])
            self.assertEqual(wire.say(b"STARTTLS")[0], 220)
            return self.authority.client_context().wrap_socket(wire.socket.dup(), server_hostname=name)

    def serial(self, gatepost, name="mx.example.org"):
        with self.secured(gatepost, name) as secured:
            return secured.getpeercert()["serialNumber"]

    def test_a_message_by_starttls(self):
        gatepost = self.serve()
        with gatepost.smtp() as client:
            client.starttls(context=self.context())
            client.ehlo()
            self.assertFalse(client.has_extn("starttls"))
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
        self.assertEqual(self.downstream.messages[0][2], MESSAGE)
        record = gatepost.summary(outcome="answered")
        self.assertTrue(record["tls"].startswith("TLSv1.3/"), record)
        self.assertEqual(record["proto"], "ESMTPS")

    def test_the_log_has_the_name_that_was_asked_for_and_the_clients_certificate(self):
        gatepost = self.serve(listener={"client_certificates": "ask", "client_ca": self.authority.certificate})
        stranger = Authority(self.place / "stranger", "Another CA").issue("impostor.example")
        for sender, shown, subject in (("none@example.org", None, {}),
                                       ("known@example.org", self.authority.issue("client.example"), {"cert": "CN=client.example"}),
                                       ("other@example.org", stranger, {"cert_unverified": "CN=impostor.example"})):
            with self.subTest(sender), gatepost.smtp() as client:
                context = self.authority.client_context()
                if shown:
                    context.load_cert_chain(*shown)
                client._host = "mx.example.org"  # for whom starttls() asks
                client.starttls(context=context)
                client.sendmail(sender, ["b@example.net"], MESSAGE)
                record = gatepost.summary(outcome="answered", **{"from": sender})
                self.assertEqual(record["sni"], "mx.example.org")
                self.assertEqual({key: value for key, value in record.items() if key in ("cert", "cert_unverified")}, subject)
                self.assertEqual(record.get("cert_sha256"), fingerprint(shown[0]) if shown else None)

    def test_implicit_tls(self):
        gatepost = self.serve(listener={"mode": "implicit"})
        with smtplib.SMTP_SSL("127.0.0.1", gatepost.port, timeout=PATIENCE, context=self.context()) as client:
            client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
        self.assertEqual(self.downstream.messages[0][2], MESSAGE)

    def test_the_certificate_is_chosen_by_name(self):
        gatepost = self.serve()
        self.assertNotEqual(self.serial(gatepost), self.serial(gatepost, "mail.example.net"))

    def test_commands_behind_starttls_are_nobodys(self):
        gatepost = self.serve()
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            wire.send(b"STARTTLS\r\nMAIL FROM:<evil@example.org>\r\n")
            self.assertEqual(wire.reply()[0], 554)
            self.assertEqual(wire.reply()[0], 0)
        gatepost.log.wait_for("spoke_before_tls")

    def test_required(self):
        gatepost = self.serve(listener={"required": True})
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            self.assertEqual(wire.say(b"MAIL FROM:<a@example.org>")[1], b"530 5.7.0 Must issue a STARTTLS command first")
            self.assertEqual(wire.say(b"QUIT")[0], 221)

    def test_plain_text_on_a_tls_port_and_silence(self):
        gatepost = self.serve(listener={"mode": "implicit"})
        with gatepost.wire() as wire:
            wire.send(b"EHLO client.example\r\n")
            wire.socket.settimeout(PATIENCE)
            while wire.socket.recv(4096):  # an alert at most, then the end
                pass
        gatepost.log.wait_for("tls_failed")

    def test_a_cut_inside_tls_delivers_nothing(self):
        gatepost = self.serve()
        with self.secured(gatepost) as secured:
            lines = secured.makefile("rb")

            def say(text):
                secured.sendall(text + b"\r\n")
                reply = lines.readline()
                while reply[3:4] == b"-":
                    reply = lines.readline()
                return reply
            say(b"EHLO client.example")
            say(b"MAIL FROM:<a@example.org>")
            say(b"RCPT TO:<b@example.org>")
            self.assertTrue(say(b"DATA").startswith(b"354"))
            secured.sendall(b"Subject: half\r\n\r\nhalf")
            socket.socket(fileno=secured.detach()).close()  # FIN without close_notify
        gatepost.summary(outcome="client_gone")
        self.assertEqual(self.downstream.data_commands, 0)

    def test_hup_gives_new_sessions_the_new_certificate_and_keeps_the_old_ones(self):
        gatepost = self.serve()
        before = self.serial(gatepost)
        with self.secured(gatepost) as running:
            os.replace(self.authority.issue("mx.example.org", "renewed")[0], self.mx[0])
            gatepost.signal(signal.SIGHUP)  # the certificate is new, the key is not: a bad pair
            gatepost.log.wait_for("the former is kept")
            self.assertEqual(self.serial(gatepost), before)
            os.replace(self.authority.directory + "/renewed.key", self.mx[1])
            gatepost.signal(signal.SIGHUP)
            gatepost.log.wait_for("read again")
            for _ in range(1000):  # each session asks; the change is taken between two of them
                if self.serial(gatepost) != before:
                    break
            else:
                self.fail("the new certificate is not used")
            running.sendall(b"NOOP\r\n")
            self.assertTrue(running.recv(100).startswith(b"250"))
        type(self).mx = self.authority.issue("mx.example.org")

    def test_key_and_certificate_that_do_not_fit_are_told_at_start(self):
        config = config_for(self.place, ["127.0.0.1:9"], scan=False,
                            listener={"tls": {"mode": "starttls", "certificates": [pair(self.mx[0], self.other[1])]}})
        with Gatepost(self.place, config, wait_ready=False) as gatepost:
            status, log = gatepost.wait()
        self.assertEqual(status, 78)
        self.assertIn("/listeners/0/tls/certificates/0", log)


class DownstreamTlsTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.keys = Place()
        cls.authority = Authority(cls.keys / "ca")
        cls.stranger = Authority(cls.keys / "stranger", "Another CA")

    @classmethod
    def tearDownClass(cls):
        cls.keys.remove()

    def send(self, tls, server, starttls=b"220 2.0.0 Ready"):
        """(the reply to the banner or the message, the downstream, the log)."""
        place = Place()
        self.addCleanup(place.remove)
        with Downstream(tls=server, starttls=starttls) as downstream:
            config = config_for(place, [downstream.address], scan=False, downstream={"tls": tls})
            with Gatepost(place, config) as gatepost:
                try:
                    with gatepost.smtp() as client:
                        client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
                        reply = 250
                except smtplib.SMTPConnectError as refused:
                    reply = refused.smtp_code
                if reply == 250:
                    self.assertEqual(downstream.messages[0][2], MESSAGE)
            return reply, downstream, gatepost.log.text()

    def test_verified(self):
        tls = {"mode": "verified", "name": "mx.example.org", "ca": self.authority.certificate}
        good = self.authority.server_context("mx.example.org")
        self.assertEqual(self.send(tls, good)[0], 250)
        for bad in (self.authority.server_context("mx.example.com"), self.stranger.server_context("mx.example.org"), None):
            reply, downstream, _ = self.send(tls, bad)
            self.assertEqual(reply, 421)
            self.assertEqual(downstream.messages, [])

    def test_required_takes_any_certificate_but_never_plain_text(self):
        tls = {"mode": "required"}
        reply, downstream, _ = self.send(tls, self.stranger.server_context("whatever.example"))
        self.assertEqual((reply, downstream.secured), (250, 1))
        self.assertEqual(self.send(tls, None)[0], 421)
        self.assertEqual(self.send(tls, self.stranger.server_context("x.example"), b"454 4.7.0 not now")[0], 421)

    def test_opportunistic_falls_back_and_says_so(self):
        tls = {"mode": "opportunistic"}
        self.assertEqual(self.send(tls, None)[0], 250)
        self.assertEqual(self.send(tls, self.stranger.server_context("x.example"), b"454 4.7.0 not now")[0], 250)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        old.load_cert_chain(*self.authority.issue("old.example"))
        old.set_ciphers("AES128-SHA")  # nothing in common
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        reply, _, log = self.send(tls, old)
        self.assertEqual(reply, 250)
        self.assertIn("tls_fall_back", log)

    def test_words_between_starttls_and_the_handshake(self):
        reply, downstream, _ = self.send({"mode": "required"}, self.authority.server_context("mx.example.org"),
                                         b"220 2.0.0 Ready\r\n250-next.example\r\n250 AUTH PLAIN")
        self.assertEqual(reply, 421)
        self.assertEqual(downstream.messages, [])


if __name__ == "__main__":
    unittest.main()
