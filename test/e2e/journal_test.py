#!/usr/bin/env python3
"""An SMTP client in front of an LMTP server whose recipients fare differently: nobody gets a message twice, nobody is
missed, and in the end the client is told who has it (dialogue.md D6)."""
import itertools
import os
import signal
import smtplib
import unittest

import postfix_server
from common import IS_ROOT, Gatepost, Place, config_for, wait_until
from lmtp_peer import LmtpServer

CONTENT = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
BUSY, NEVER = b"450 4.2.0 busy", b"550 5.2.1 never"


class Journal(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.mda = self.enterContext(LmtpServer())

    def config(self, **more):
        return config_for(self.place, servers=[self.mda.address], scan=False, downstream={"protocol": "lmtp"}, **more)

    def gatepost(self, **more):
        return self.enterContext(Gatepost(self.place, self.config(**more)))

    def send(self, gatepost, recipients, content=CONTENT, sender="a@example.org"):
        """The reply to end of data."""
        with gatepost.smtp() as client:
            client.ehlo()
            client.mail(sender)
            for recipient in recipients:
                self.assertEqual(client.rcpt(recipient)[0], 250)
            return client.data(content)

    def insist(self, gatepost, recipients, content=CONTENT, attempts=10):
        """As a client with a queue does: until a reply that is final; all of them."""
        replies = []
        for _ in range(attempts):
            replies.append(self.send(gatepost, recipients, content))
            if replies[-1][0] // 100 != 4:
                return replies
        raise AssertionError(f"no end: {replies}")

    def test_every_mixture_of_three(self):
        gatepost = self.gatepost()
        fates = ([], [BUSY], [BUSY, BUSY], [NEVER], [BUSY, NEVER])
        for number, mixture in enumerate(itertools.product(fates, repeat=3)):
            recipients = [f"r{number}.{i}@example.org" for i in range(3)]
            for recipient, fate in zip(recipients, mixture):
                self.mda.replies[recipient].extend(fate)
                # A server that refuses for good does so as often as it is asked.
                if fate[-1:] == [NEVER]:
                    self.mda.replies[recipient].extend([NEVER] * 10)
            with self.subTest(mixture=mixture):
                replies = self.insist(gatepost, recipients, CONTENT + b"%d\r\n" % number)
                wanted = [0 if fate[-1:] == [NEVER] else 1 for fate in mixture]
                self.assertEqual([self.mda.got(each) for each in recipients], wanted)
                code, text = replies[-1]
                alike = len(set(wanted)) == 1
                self.assertEqual(code, 250 if sum(wanted) == 3 else 550 if alike else 554, replies)
                if not alike:
                    told, refused = text.decode().split("It was refused for:")
                    for recipient, has_it in zip(recipients, wanted):
                        self.assertIn(recipient, told if has_it else refused)

    def test_the_journal_outlives_gatepost(self):
        self.mda.replies["b@example.org"].append(BUSY)
        with Gatepost(self.place, self.config()) as gatepost:
            self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 451)
        gatepost = self.gatepost()
        self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 250)
        self.assertEqual((self.mda.got("b@example.org"), self.mda.got("c@example.org")), (1, 1))
        # The client was told; the same message again is another one.
        self.assertEqual(self.send(gatepost, ["c@example.org"])[0], 250)
        self.assertEqual(self.mda.got("c@example.org"), 2)

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_keeper_killed_between(self):
        gatepost = self.gatepost()
        self.mda.replies["b@example.org"].append(BUSY)
        self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 451)
        keeper = gatepost.child("keeper")
        os.kill(keeper, signal.SIGKILL)
        wait_until(lambda: gatepost.child("keeper") != keeper, "a new keeper")
        self.assertEqual(self.insist(gatepost, ["b@example.org", "c@example.org"], attempts=100)[-1][0], 250)
        self.assertEqual((self.mda.got("b@example.org"), self.mda.got("c@example.org")), (1, 1))

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_keeper_killed_before_it_could_write(self):
        gatepost = self.gatepost()
        self.mda.replies["b@example.org"].append(BUSY)
        keeper = gatepost.child("keeper")
        killed = []

        def kill_keeper(recipient):
            if recipient == "b@example.org" and not killed:
                os.kill(keeper, signal.SIGSTOP)
                killed.append(keeper)

        self.mda.before_reply = kill_keeper
        with gatepost.smtp() as client:
            client.ehlo()
            client.mail("a@example.org")
            client.rcpt("c@example.org")
            client.rcpt("b@example.org")
            client.docmd("DATA")
            client.send(CONTENT + b".\r\n")
            wait_until(lambda: self.mda.got("c@example.org") == 1 and killed, "the replies of the mail server")
            os.kill(keeper, signal.SIGKILL)
            self.assertEqual(client.getreply()[0], 451)
        gatepost.log.wait_for("possible_duplicate")

    @unittest.skipUnless(IS_ROOT, "needs root to spoil the keeper's directory")
    def test_a_journal_that_cannot_be_opened(self):
        os.makedirs(self.place / "state/journal")
        os.chmod(self.place / "state", 0o777)
        gatepost = self.gatepost()
        self.assertEqual(self.send(gatepost, ["b@example.org"])[0], 451)
        self.assertEqual(self.mda.transactions, 0)
        gatepost.log.wait_for("open .*journal")

    def test_a_damaged_tail_is_skipped_and_told(self):
        self.mda.replies["b@example.org"].append(BUSY)
        with Gatepost(self.place, self.config()) as gatepost:
            self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 451)
        with open(self.place / "state/journal", "ab") as file:
            file.write(b"torn")
        gatepost = self.gatepost()
        self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 250)
        self.assertEqual(self.mda.got("c@example.org"), 1)
        gatepost.log.wait_for("1 damaged records were skipped")

    def test_connection_lost_between_the_replies(self):
        gatepost = self.gatepost()
        self.mda.replies["c@example.org"].append(None)
        self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 451)
        self.assertEqual(self.send(gatepost, ["b@example.org", "c@example.org"])[0], 250)
        self.assertEqual((self.mda.got("b@example.org"), self.mda.got("c@example.org")), (1, 1))

    def test_a_large_message_and_many_recipients(self):
        gatepost = self.gatepost()
        recipients = [f"r{i}@example.org" for i in range(300)]
        for recipient in recipients[::3]:
            self.mda.replies[recipient].append(BUSY)
        content = CONTENT + b"x" * 70 + b"\r\n" + (b"line of content\r\n" * 100_000)
        replies = self.insist(gatepost, recipients, content)
        self.assertEqual([code for code, _ in replies], [451, 250])
        self.assertEqual({self.mda.got(each) for each in recipients}, {1})
        self.assertEqual({copy for _, copy in self.mda.copies}, {content})

    @unittest.skipUnless(postfix_server.available(), "needs root and Postfix")
    def test_postfix_as_the_client(self):
        gatepost = self.gatepost()
        # Queue runs apart: one that meets the message while it is still being delivered leaves it lying for minutes.
        settings = (f"relayhost = [127.0.0.1]:{gatepost.port}\nmynetworks = 127.0.0.0/8\nqueue_run_delay = 3s\n"
                    "minimal_backoff_time = 1s\nmaximal_backoff_time = 1s\n")
        postfix = self.enterContext(postfix_server.Postfix(self.place, settings=settings))
        now, later, never = recipients = ["now@example.net", "later@example.net", "never@example.net"]
        self.mda.replies[later].extend([BUSY, BUSY])
        self.mda.replies[never].extend([BUSY] + [NEVER] * 10)
        with smtplib.SMTP("127.0.0.1", postfix.port, timeout=60) as client:
            client.sendmail("a@example.org", recipients, CONTENT)
        bounce = postfix.delivered("a")[0].decode()
        self.assertEqual([self.mda.got(each) for each in recipients], [1, 1, 0], postfix.log())
        told, refused = " ".join(bounce.split()).split("It was refused for:", 1)
        self.assertIn("The message was delivered to:", told)
        self.assertIn(f"<{never}>: 550 5.2.1 never", refused)
        for each in (now, later):
            self.assertIn(f"<{each}>", told)
        wait_until(lambda: not postfix.queued(), "an empty queue")
        self.assertEqual(self.mda.transactions, 3)


if __name__ == "__main__":
    unittest.main()
