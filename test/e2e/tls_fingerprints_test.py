"""Servers that are known by fingerprint: of the certificate, which a renewal changes, or of the key, which it need not."""
import smtplib
import unittest

from certificates import Authority, fingerprint, key_fingerprint, server_context
from common import Gatepost, Place, config_for
from peers import Downstream

MESSAGE = b"Subject: hello\r\n\r\nHello Bert\r\n"


class FingerprintsTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.authority = Authority(self.place / "ca", "A CA that nobody asks")
        self.pair = self.authority.issue("mx.example.org")
        self.server = self.enterContext(Downstream(tls=server_context(*self.pair)))

    def serve(self, *fingerprints):
        tls = {"mode": "verified", "fingerprints": list(fingerprints)}
        config = config_for(self.place, [self.server.address], scan=False, downstream={"tls": tls, "reuse": False})
        return self.enterContext(Gatepost(self.place, config))

    def taken(self, gatepost):
        """Whether a message goes there; nothing is said to a server that is another one."""
        before = len(self.server.messages)
        try:
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.net"], MESSAGE)
            return len(self.server.messages) == before + 1
        except smtplib.SMTPConnectError as refused:
            self.assertEqual((refused.smtp_code, refused.smtp_error[:5]), (421, b"4.7.5"))
            self.assertEqual(len(self.server.messages), before)
            return False

    def renew(self, key):
        self.server.tls = server_context(*self.authority.issue("mx.example.org", "renewed", key=key))
        return self.authority.directory + "/renewed.pem"

    def test_of_the_certificate(self):
        digits = fingerprint(self.pair[0]).upper()
        gatepost = self.serve(":".join(digits[i:i + 2] for i in range(0, len(digits), 2)))  # as openssl x509 shows it
        self.assertTrue(self.taken(gatepost))
        renewed = self.renew(key=self.pair[1])
        self.assertFalse(self.taken(gatepost))
        # The line has what is to be configured.
        gatepost.log.wait_for(f"its fingerprint {fingerprint(renewed)} is none of those configured")

    def test_of_the_key(self):
        gatepost = self.serve(key_fingerprint(self.pair[1]))
        self.assertTrue(self.taken(gatepost))
        self.renew(key=self.pair[1])
        self.assertTrue(self.taken(gatepost))
        self.renew(key=None)
        self.assertFalse(self.taken(gatepost))

    def test_wrong(self):
        other = self.authority.issue("other.example.org")
        self.assertFalse(self.taken(self.serve(fingerprint(other[0]), key_fingerprint(other[1]))))

    def test_the_next_one_can_be_configured_beforehand(self):
        following = self.authority.issue("mx.example.org", "following")
        gatepost = self.serve(fingerprint(self.pair[0]), fingerprint(following[0]))
        self.assertTrue(self.taken(gatepost))
        self.server.tls = server_context(*following)
        self.assertTrue(self.taken(gatepost))

    def test_any_name_and_any_issuer_will_do(self):
        stranger = Authority(self.place / "stranger", "Another CA").issue("somebody.else.example")
        self.server.tls = server_context(*stranger)
        self.assertTrue(self.taken(self.serve(fingerprint(stranger[0]))))


if __name__ == "__main__":
    unittest.main()
