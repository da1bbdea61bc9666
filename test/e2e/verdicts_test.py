#!/usr/bin/env python3
"""What clients read when the real scanner cannot scan, and what a site may decide about it; limits of a listener."""
import unittest

from common import Gatepost, Place, config_for, maildir_files, wait_until
from peers import Downstream
from scanner_mails import EICAR, encrypted_pdf, encrypted_zip, mail, nested_messages, nested_zip


class Verdicts(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, **sections):
        return self.enterContext(Gatepost(self.place, config_for(self.place, **sections)))

    def answer(self, gatepost, content):
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(content + b".\r\n")
            return wire.reply()

    def test_encrypted_archive_is_refused_with_the_reason(self):
        gatepost = self.gatepost()
        content = mail((b"secret.zip", encrypted_zip("a.txt", b"hidden")))
        code, text = self.answer(gatepost, content)
        self.assertEqual(code, 550, text)
        self.assertIn(b"5.7.1", text)
        self.assertIn(b"encrypted", text)
        self.assertEqual(maildir_files(self.place / "mail"), {})
        self.assertEqual(gatepost.summary(status="UNSCANNABLE:encrypted")["action"], "refuse")

    def test_a_site_that_relays_encrypted_archives(self):
        gatepost = self.gatepost(defaults={"unscannable": {"encrypted": "relay"}})
        content = mail((b"secret.zip", encrypted_zip("a.txt", b"hidden")))
        self.assertEqual(self.answer(gatepost, b"X-Gatepost-Verdict: clean\r\n" + content)[0], 250)
        [stored] = maildir_files(self.place / "mail").values()
        self.assertIn(b"X-Gatepost-Verdict: unscannable (encrypted)\n", stored)
        self.assertNotIn(b"X-Gatepost-Verdict: clean", stored)  # nobody forges it
        # That one reason, no other, and never a virus.
        self.assertEqual(self.answer(gatepost, nested_messages(mail(text=EICAR + b"\r\n"), 40))[0], 550)
        infected = mail((b"secret.zip", encrypted_zip("a.txt", b"hidden")), text=EICAR + b"\r\n")
        self.assertEqual(self.answer(gatepost, infected)[0], 550)

    def test_encrypted_document(self):
        """As an archive; one that everybody can open without being asked for a password is looked into."""
        locked = mail((b"secret.pdf", encrypted_pdf(b"BT (hidden) Tj ET")))
        gatepost = self.gatepost(defaults={"unscannable": {"encrypted": "relay"}})
        self.assertEqual(self.answer(gatepost, locked)[0], 250)
        [stored] = maildir_files(self.place / "mail").values()
        self.assertIn(b"X-Gatepost-Verdict: unscannable (encrypted)\n", stored)
        self.assertEqual(self.answer(gatepost, mail((b"open.pdf", encrypted_pdf(EICAR, b""))))[0], 550)
        self.assertEqual(len(maildir_files(self.place / "mail")), 1)
        other = Place()
        self.addCleanup(other.remove)
        strict = self.enterContext(Gatepost(other, config_for(other)))
        code, text = self.answer(strict, locked)
        self.assertEqual((code, text[4:9]), (550, b"5.7.1"))
        self.assertIn(b"(encrypted)", text)
        self.assertEqual(strict.summary(action="refuse")["status"], "UNSCANNABLE:encrypted")

    def test_too_deep(self):
        gatepost = self.gatepost()
        for content in (nested_messages(mail((b"e.com", EICAR)), 20), mail((b"deep.zip", nested_zip(b"hello", 20)))):
            code, text = self.answer(gatepost, content)
            self.assertEqual((code, text[4:9]), (550, b"5.7.1"), text)
            self.assertIn(b"(recursion)", text)
        self.assertEqual(maildir_files(self.place / "mail"), {})
        self.assertEqual(gatepost.summary(action="refuse")["status"], "UNSCANNABLE:recursion")

    def test_more_sessions_than_allowed(self):
        downstream = self.enterContext(Downstream())
        gatepost = self.gatepost(servers=[downstream.address], scan=False, listener={"max_sessions": 2})
        first, second = self.enterContext(gatepost.wire()), self.enterContext(gatepost.wire())
        self.assertEqual((first.reply()[0], second.reply()[0]), (220, 220))
        with gatepost.wire() as third:
            code, text = third.reply()
            self.assertEqual(code, 421)
            self.assertIn(b"4.3.2", text)
        self.assertEqual(first.say(b"QUIT")[0], 221)

        def served():
            with gatepost.wire() as fourth:
                return fourth.reply()[0] == 220
        wait_until(served, "a place for one more session")


if __name__ == "__main__":
    unittest.main()
