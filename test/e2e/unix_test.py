#!/usr/bin/env python3
"""UNIX sockets on both legs."""
import json
import os
import signal
import stat
import subprocess
import unittest

import postfix_server
from common import PROGRAM, Gatepost, Place, config_for, wait_until
from lmtp_peer import LmtpServer, UnixWire
from postfix_server import Postfix

CONTENT = b"Subject: test\r\n\r\nhello\r\n"
RELAYING = "mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"
SMTPD = {"trusting": "", "xclient": "-o smtpd_authorized_xclient_hosts=127.0.0.1", "careful": "-o mynetworks=192.0.2.99"}


class UnixSockets(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.path = self.place / "in.sock"
        self.mda = self.enterContext(LmtpServer(self.place / "mda.sock"))

    def config(self, protocol="lmtp", **more):
        return config_for(self.place, servers=[self.mda.address], scan=False, downstream={"protocol": "lmtp"},
                          listener={"address": "unix:" + self.path, "protocol": protocol, **more})

    def deliver(self, hello=b"LHLO", sender=b"a@example.org"):
        with UnixWire(self.path) as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(wire.say(hello + b" client.example")[0], 250)
            self.assertEqual(wire.say(b"MAIL FROM:<" + sender + b">")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
            self.assertEqual(wire.say(b"RCPT TO:<c@example.org>")[0], 250)
            self.assertEqual(wire.say(b"DATA")[0], 354)
            wire.send(CONTENT + b".\r\n")
            replies = [wire.reply() for _ in range(2 if hello == b"LHLO" else 1)]
            self.assertEqual(wire.say(b"QUIT")[0], 221)
            return replies

    def test_lmtp_in_and_out(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        self.assertEqual(gatepost.listeners, {"inbound": "unix:" + self.path})
        self.assertEqual(stat.S_IMODE(os.stat(self.path).st_mode), 0o666)
        self.mda.replies["c@example.org"].append(b"450 4.2.0 busy")
        self.assertEqual([code for code, _ in self.deliver()], [250, 450])
        self.assertEqual(self.mda.copies, [("b@example.org", CONTENT)])
        summary = gatepost.summary(relay=self.mda.address)
        self.assertEqual(summary["client"], "unix")

    def test_smtp_in(self):
        self.enterContext(Gatepost(self.place, self.config("smtp")))
        self.assertEqual(self.deliver(b"EHLO")[0][0], 250)
        self.assertEqual(self.mda.got("c@example.org"), 1)

    def test_many_clients_of_all_loops(self):
        self.enterContext(Gatepost(self.place, self.config()))
        wires = [self.enterContext(UnixWire(self.path)) for _ in range(100)]
        for wire in wires:
            self.assertEqual(wire.reply()[0], 220)
        for wire in wires:
            self.assertEqual(wire.say(b"QUIT")[0], 221)

    def test_the_file_goes_with_the_service(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        self.assertFalse(os.path.exists(self.path))

    def test_what_a_killed_gatepost_leaves_is_replaced(self):
        first = self.enterContext(Gatepost(self.place, self.config()))
        first.kill()
        self.assertTrue(os.path.exists(self.path))
        self.enterContext(Gatepost(self.place, self.config()))
        self.assertEqual(self.deliver()[0][0], 250)

    def test_a_second_gatepost_takes_nothing_away(self):
        self.enterContext(Gatepost(self.place, self.config()))
        second = Gatepost(self.place, self.config(), wait_ready=False)
        status, log = second.wait()
        self.assertEqual(status, 78)
        self.assertIn("another program listens there", log)
        self.assertEqual(self.deliver()[0][0], 250)

    def test_no_directory(self):
        self.path = self.place / "none/in.sock"
        status, log = Gatepost(self.place, self.config(), wait_ready=False).wait()
        self.assertEqual(status, 78)
        self.assertIn("the directory must exist", log)

    def test_nobody_behind(self):
        gatepost = self.enterContext(Gatepost(self.place, self.config()))
        os.unlink(self.place / "mda.sock")
        with UnixWire(self.path) as wire:
            self.assertEqual(wire.reply()[0], 421)
        wait_until(lambda: "downstream_refused" in gatepost.log.text(), "a log line")


@unittest.skipUnless(postfix_server.available(), "needs root and Postfix")
class SmtpByUnixSocket(unittest.TestCase):
    """Postfix's smtpd at UNIX sockets, behind a listener for everybody: to Postfix, whoever comes there is localhost."""

    @classmethod
    def setUpClass(cls):
        cls.place = Place()
        cls.addClassCleanup(cls.place.remove)
        cls.postfix = cls.enterClassContext(Postfix(cls.place, settings=RELAYING, services="".join(
            f"{name} unix n - n - - smtpd {options}\n" for name, options in SMTPD.items())))
        os.chmod(cls.postfix.directory + "/queue/public", 0o755)  # Postfix's own accounts only, otherwise

    def config(self, name, **downstream):
        config = config_for(self.place, servers=[f"unix:{self.postfix.directory}/queue/public/{name}"], scan=False,
                            listener={"address": "0.0.0.0:0"}, downstream=downstream)
        config["state_directory"], config["spool"]["directory"] = self.place / name, self.place / f"{name}-spool"
        return config

    def check(self, name):
        file = self.place / f"{name}.json"
        with open(file, "w") as out:
            json.dump(self.config(name), out)
        done = subprocess.run([PROGRAM, "check", "-c", file, "--probe"], stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, timeout=60)
        return done.returncode, done.stdout

    def test_check_probe(self):
        status, said = self.check("trusting")
        self.assertEqual(status, 78, said)
        self.assertIn("queue/public/trusting: identity none, OPEN RELAY", said)
        self.assertIn("it sees us as 127.0.0.1; for Postfix, main.cf: smtpd_authorized_xclient_hosts = 127.0.0.1", said)
        status, said = self.check("careful")
        self.assertEqual(status, 0, said)
        self.assertIn("identity none, relays for nobody", said)
        status, said = self.check("xclient")
        self.assertEqual(status, 0, said)
        self.assertIn("identity xclient, relays for nobody", said)

    def test_it_is_no_open_relay(self):
        with Gatepost(self.place, self.config("trusting")) as gatepost, gatepost.wire() as wire:
            self.assertEqual(wire.reply()[0], 421)
            gatepost.log.wait_for("takes 127.0.0.1 for the client of all mail")

    def test_messages(self):
        for name in ("careful", "xclient"):
            with self.subTest(name), Gatepost(self.place, self.config(name)) as gatepost:
                with gatepost.smtp(source_address=("127.0.0.9", 0)) as client:
                    client.sendmail("a@sender.example", [f"{name}@example.org"], CONTENT)
                [stored] = self.postfix.delivered(name)
                self.assertIn(b"[127.0.0.9]" if name == "xclient" else b"[127.0.0.1]", stored)
                self.assertTrue(gatepost.summary(outcome="answered")["relay"].endswith("queue/public/" + name))

    def test_no_such_socket(self):
        status, said = self.check("absent")
        self.assertNotEqual(status, 0, said)
        self.assertIn("queue/public/absent: No such file or directory", said)


if __name__ == "__main__":
    unittest.main()
