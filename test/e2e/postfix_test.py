#!/usr/bin/env python3
"""client -> gatepost -> Postfix -> mailbox, with smtp-source, swaks and Python's smtplib as clients."""
import random
import re
import shutil
import smtplib
import subprocess
import unittest

from common import PATIENCE, Gatepost, Place, config_for, wait_until
from postfix_server import Postfix, available, without_trace_fields
from scanner_mails import EICAR, mail, zipped

HEADER = b"From: a@example.org\r\nTo: b@example.org\r\nSubject: test\r\nMessage-ID: <%d@client.example>\r\n\r\n"


def bodies():
    """name -> body; the odd ones are what proxies get wrong."""
    noise = random.Random(1).randbytes(20_000).replace(b"\r", b"").replace(b"\n", b"").replace(b"\0", b"")
    return {
        "text": b"hello\r\n",
        "empty": b"",
        "only an empty line": b"\r\n",
        "eight_bit": "Grüße, 漢字\r\n".encode() + bytes(range(0x80, 0x100)) + b"\r\n",
        "dots": b".\r\n..\r\n.x\r\n...\r\nx.\r\n .\r\n.\t\r\n",
        "controls": bytes(c for c in range(1, 32) if c not in (10, 13)) + b"\x7f\r\n",
        "long lines": b"x" * 998 + b"\r\n" + b"y" * 1000 + b"\r\n" + b"z" * 30_000 + b"\r\n" + b"." * 5000 + b"\r\n",
        "noise": b"\r\n".join(noise[at:at + 500] for at in range(0, len(noise), 500)) + b"\r\n",
        "attachment": mail((b"a.zip", zipped({"a.txt": b"hello" * 500}))).split(b"\r\n\r\n", 1)[1],
    }


@unittest.skipUnless(available(), "needs root and Postfix")
class BehindGatepost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.postfix = cls.enterClassContext(Postfix(cls.place))
        cls.gatepost = cls.enterClassContext(Gatepost(cls.place, config_for(cls.place, servers=[cls.postfix.address])))
        cls.number = 0

    def setUp(self):
        type(self).number += 1
        self.user = f"user{self.number}"  # a mailbox of the test's own
        self.recipient = f"{self.user}@example.org"
        self.sender = f"{self.user}@sender.example"

    def send(self, content, recipients=None, options=("BODY=8BITMIME",)):
        with self.gatepost.smtp() as client:
            return client.sendmail(self.sender, recipients or [self.recipient], content, mail_options=options)

    def run_client(self, *command):
        return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                              timeout=PATIENCE * 3)

    def assert_unseen(self):
        """Postfix got this test's envelopes at most: no content, nothing queued or delivered."""
        wait_until(lambda: self.postfix.queued() == [], "Postfix has dropped what was RSET")
        self.assertIsNone(re.search(rf"from=<{self.sender}>, size=|to=<{self.recipient}>", self.postfix.log()))
        self.assertEqual(self.postfix.mailbox(self.user), [])

    def check_identical(self, body):
        content = HEADER % self.number + body
        with self.gatepost.wire() as wire:  # not smtplib, which would mend line ends
            wire.to_data(recipients=(self.recipient.encode(),))
            wire.send(re.sub(rb"^\.", b"..", content, flags=re.M) + b".\r\n")
            self.assertEqual(wire.reply()[0], 250)
        [stored] = self.postfix.delivered(self.user)
        self.assertEqual(without_trace_fields(stored), content.replace(b"\r\n", b"\n"))

    def test_many_recipients(self):
        recipients = [f"{self.user}.{i}@example.org" for i in range(300)]
        self.send(HEADER % 1 + b"to all\r\n", recipients)
        for recipient in recipients:
            self.assertEqual(len(self.postfix.delivered(recipient.split("@")[0])), 1)

    def test_thirty_megabytes(self):
        block = random.Random(2).randbytes(50_000).hex().encode()
        lines = b"\r\n".join(block[at:at + 76] for at in range(0, len(block), 76)) + b"\r\n"
        self.check_identical(lines * (30_000_000 // len(lines) + 1))

    def test_recipient_unknown_to_postfix(self):
        with self.assertRaises(smtplib.SMTPRecipientsRefused) as refused:
            self.send(HEADER % 1 + b"x\r\n", ["someone@elsewhere.example"])
        [(code, text)] = refused.exception.recipients.values()
        self.assertIn(code, (454, 554), text)  # the live answer of Postfix: relay access denied

    def test_infected_by_smtplib(self):
        for content in (mail(text=EICAR + b"\r\n"), mail((b"e.com", EICAR)), mail((b"e.zip", zipped({"e.com": EICAR})))):
            with self.assertRaises(smtplib.SMTPDataError) as refused:
                self.send(content)
            self.assertEqual(refused.exception.smtp_code, 550)
            self.assertTrue(refused.exception.smtp_error.startswith(b"5.7.1 "), refused.exception.smtp_error)
        self.assert_unseen()

    def test_clean_after_infected_in_one_session(self):
        with self.gatepost.smtp() as client:
            for _ in range(3):
                with self.assertRaises(smtplib.SMTPDataError):
                    client.sendmail(self.sender, [self.recipient], mail(text=EICAR + b"\r\n"))
                client.sendmail(self.sender, [self.recipient], HEADER % 1 + b"clean\r\n")
        stored = self.postfix.delivered(self.user, 3)
        self.assertEqual([without_trace_fields(each) for each in stored], [(HEADER % 1 + b"clean\r\n").replace(b"\r\n", b"\n")] * 3)

    def test_summary_names_the_queue_id(self):
        self.send(HEADER % 1 + b"x\r\n")
        line = self.gatepost.summary(to=self.recipient)
        queue_id = re.search(r"queued as (\w+)", line["reply"])[1]
        self.assertIn(queue_id + ":", self.postfix.log())
        self.assertEqual((line["status"], line["action"], line["relay"]), ("CLEAN", "relay", self.postfix.address))

    def test_smuggling(self):
        """Each odd end of data, a second transaction behind it as text: Postfix, whose own defence is off towards
        whom it trusts, takes one message (T:A1, A2)."""
        odd = [b"\n.\n", b"\r.\r", b"\r.\n", b"\n.\r", b"\n.\r\n", b"\r\n.\n", b"\r.\r\n", b"\r\n.\r", b"\r\n.\r\r\n"]
        inner = (b"MAIL FROM:<smuggler@sender.example>\r\nRCPT TO:<smuggled@example.org>\r\nDATA\r\n"
                 b"Subject: smuggled\r\n\r\nhello\r\n")
        for count, end in enumerate(odd, 1):
            with self.gatepost.wire() as wire:
                wire.to_data(recipients=(self.recipient.encode(),))
                wire.send(HEADER % count + b"first" + end + inner + b".\r\n")
                self.assertEqual(wire.reply()[0], 250, end)
                self.assertEqual(wire.say(b"NOOP")[0], 250, end)  # no reply to spare
            self.postfix.delivered(self.user, count)
        self.assertEqual(self.postfix.mailbox("smuggled"), [])
        self.assertNotIn("smuggler@", self.postfix.log())

    def test_smtp_source(self):
        sent = self.run_client("smtp-source", "-c", "-l", "4000", "-m", "60", "-s", "6", "-f", self.sender,
                               "-t", self.recipient, f"inet:127.0.0.1:{self.gatepost.port}")
        self.assertEqual(sent.returncode, 0, sent.stderr)
        self.assertEqual(len(self.postfix.delivered(self.user, 60)), 60)

    def swaks(self, *more):
        return self.run_client("swaks", "--server", "127.0.0.1", "--port", str(self.gatepost.port), "--ehlo",
                               "client.example", "--from", self.sender, "--to", self.recipient, *more)

    @unittest.skipUnless(shutil.which("swaks"), "swaks is not installed")
    def test_swaks_clean(self):
        for more in ((), ("--pipeline",)):
            sent = self.swaks(*more, "--body", "hello from swaks")
            self.assertEqual(sent.returncode, 0, sent.stdout + sent.stderr)
        for stored in self.postfix.delivered(self.user, 2):
            self.assertIn(b"hello from swaks", stored)

    @unittest.skipUnless(shutil.which("swaks"), "swaks is not installed")
    def test_swaks_infected(self):
        sent = self.swaks("--body", EICAR.decode())
        self.assertNotEqual(sent.returncode, 0)
        self.assertRegex(sent.stdout, r"<\*\* 550 5\.7\.1 ")
        self.assert_unseen()


def add_identity_cases():
    """One test per body, so that each has a name and a time of its own."""
    for name, body in bodies().items():
        def test(self, body=body):
            self.check_identical(body)
        setattr(BehindGatepost, "test_identical_" + re.sub(r"\W+", "_", name), test)


add_identity_cases()

if __name__ == "__main__":
    unittest.main()
