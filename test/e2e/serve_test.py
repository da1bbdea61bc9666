#!/usr/bin/env python3
"""gatepost serve: start, reasons not to start, signals, drain and cut, and what the log says of odd octets."""
import json
import os
import signal
import socket
import threading
import unittest

from common import PATIENCE, Gatepost, Place, config_for, maildir_files, wait_until
from peers import Downstream
from ports import free_port
from scanner_mails import EICAR, mail

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"


class InPlace(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, config=None, **more):
        return self.enterContext(Gatepost(self.place, config or config_for(self.place), **more))

    def refused(self, config, *arguments):
        """Exit status 78 with words about why; returns them."""
        with Gatepost(self.place, config, arguments=arguments, wait_ready=False) as gatepost:
            status, said = gatepost.wait()
        self.assertEqual(status, 78, said)
        return said


class Start(InPlace):
    def test_serves_until_term(self):
        gatepost = self.gatepost()
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)
        gatepost.signal(signal.SIGTERM)
        status, said = gatepost.wait()
        self.assertEqual(status, 0, said)
        self.assertEqual(len(maildir_files(self.place / "mail")), 1)

    def test_port_taken(self):
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            said = self.refused(config_for(self.place, listener={"address": f"127.0.0.1:{port}"}))
        self.assertEqual(len(said.splitlines()), 1, said)
        self.assertIn(str(port), said)

    def test_port_taken_by_another_gatepost(self):
        first = self.gatepost()
        other = Place()
        self.addCleanup(other.remove)
        config = config_for(other, listener={"address": f"127.0.0.1:{first.port}"})
        with Gatepost(other, config, wait_ready=False) as second:
            status, said = second.wait()
        self.assertEqual(status, 78, said)
        self.assertIn(str(first.port), said)

    def test_a_way_of_interception_that_this_system_lacks(self):
        config = config_for(self.place, scan=False, listener={"address": f"0.0.0.0:{free_port()}", "intercept": "pf-rdr"})
        said = self.refused(config)
        self.assertIn('intercept "pf-rdr" needs /dev/pf: this system has no pf', said)

    def test_all_mistakes_of_a_config(self):
        config = config_for(self.place, scan=False)
        config["listeners"][0]["downstraem"] = "next"
        config["limits"] = {"drain": "soon"}
        said = self.refused(config)
        self.assertRegex(said, r"gatepost\.json:\d+:\d+: /listeners/0/downstraem: .*downstream")
        self.assertRegex(said, r"gatepost\.json:\d+:\d+: /limits/drain: ")

    def test_open_relay_turns_clients_away(self):
        """A server that takes everything from us, before a listener that the world can reach (identity_postfix_test)."""
        with Downstream() as downstream:
            gatepost = self.gatepost(config_for(self.place, servers=[downstream.address], listener={"address": "0.0.0.0:0"}))
            with gatepost.wire() as wire:
                code, text = wire.reply()
                self.assertEqual((code, text[4:9]), (421, b"4.3.5"), text)
            gatepost.log.wait_for("smtpd_authorized_xclient_hosts = 127.0.0.1")
            self.assertEqual((downstream.data_commands, downstream.messages), (0, []))

    def test_missing_config(self):
        self.assertIn("nowhere.json", self.refused(None, "-c", self.place / "nowhere.json"))

    def test_directory_that_cannot_be_written(self):
        with open(self.place / "file", "w") as out:
            out.write("not a directory")
        said = self.refused(config_for(self.place, spool={"directory": self.place / "file"}))
        self.assertIn(self.place / "file", said)

    def test_no_signatures_is_never_clean(self):
        os.mkdir(self.place / "empty")
        gatepost = self.gatepost(config_for(self.place, scanner={"signatures": [self.place / "empty"]}))
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(CLEAN + b".\r\n")
            code, text = wire.reply()
        self.assertEqual((code, text[:9]), (451, b"451 4.7.1"))
        self.assertEqual(maildir_files(self.place / "mail"), {})


class Signals(InPlace):
    def blocked(self, config_of=lambda config: config):
        """A gatepost in whose downstream one whole message waits for its reply, and the client that waits too."""
        held, release = threading.Event(), threading.Event()

        def on_data(_):
            held.set()
            release.wait(PATIENCE * 2)

        downstream = self.enterContext(Downstream(on_data))
        self.addCleanup(release.set)
        gatepost = self.gatepost(config_of(config_for(self.place, servers=[downstream.address])))
        wire = self.enterContext(gatepost.wire())
        wire.to_data()
        wire.send(CLEAN + b".\r\n")
        self.assertTrue(held.wait(PATIENCE), gatepost.log.tail())
        return gatepost, wire, release

    def assert_refuses_connections(self, gatepost):
        def refused():
            try:
                socket.create_connection(("127.0.0.1", gatepost.port), timeout=PATIENCE).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:
                pass  # it was closed while this one waited in its queue
            return False
        wait_until(refused, "the listener is closed")

    def test_drain_finishes_what_runs(self):
        gatepost, wire, release = self.blocked()
        gatepost.signal(signal.SIGTERM)
        self.assert_refuses_connections(gatepost)
        release.set()
        self.assertEqual(wire.reply()[0], 250)
        self.assertEqual(gatepost.wait()[0], 0)

    def test_drain_ends_idle_sessions(self):
        gatepost = self.gatepost()
        with gatepost.wire() as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
            gatepost.signal(signal.SIGTERM)
            self.assertEqual(wire.reply()[0], 421)
            self.assertEqual(wire.reply()[0], 0)
        self.assertEqual(gatepost.wait()[0], 0)

    def assert_cut(self, gatepost, wire):
        """The final dot was out: nobody knows what the downstream did."""
        code, text = wire.reply()
        self.assertEqual(code, 451, text)
        status, said = gatepost.wait()
        self.assertEqual(gatepost.summary(outcome="unknown")["action"], "relay", said)
        self.assertEqual(status, 75, said)

    def test_second_term_cuts(self):
        gatepost, wire, _ = self.blocked()
        gatepost.signal(signal.SIGTERM)
        self.assert_refuses_connections(gatepost)
        gatepost.signal(signal.SIGTERM)
        self.assert_cut(gatepost, wire)

    def test_int_cuts_what_is_in_flight(self):
        gatepost, wire, _ = self.blocked()
        gatepost.signal(signal.SIGINT)
        self.assert_cut(gatepost, wire)

    def test_who_is_cut_in_the_content_reads_421(self):
        for drains_first in (False, True):
            gatepost = self.gatepost()
            with gatepost.wire() as wire:
                wire.to_data()
                wire.send(CLEAN)
                if drains_first:
                    gatepost.signal(signal.SIGTERM)
                    gatepost.log.wait_for("draining")
                gatepost.signal(signal.SIGTERM if drains_first else signal.SIGINT)
                self.assertEqual(wire.reply()[0], 421)
            status, said = gatepost.wait()
            self.assertEqual(status, 75, said)

    def test_int_that_cuts_nobodys_transaction(self):
        gatepost = self.gatepost()
        with gatepost.wire() as wire:
            self.assertEqual(wire.reply()[0], 220)
            self.assertEqual(wire.say(b"EHLO client.example")[0], 250)
            gatepost.signal(signal.SIGINT)
            self.assertEqual(wire.reply()[0], 421)
        status, said = gatepost.wait()
        self.assertEqual(status, 0, said)

    def test_drain_has_a_limit(self):
        gatepost, wire, _ = self.blocked(lambda config: {**config, "limits": {"drain": "1s"}})
        gatepost.signal(signal.SIGTERM)
        self.assert_cut(gatepost, wire)

    def test_hup_and_usr2_say_that_there_is_no_reload(self):
        gatepost = self.gatepost()
        for number, word in ((signal.SIGHUP, "SIGHUP"), (signal.SIGUSR2, "SIGUSR2")):
            gatepost.signal(number)
            gatepost.log.wait_for(word)
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)

    def test_usr1_opens_the_log_anew(self):
        os.mkdir(self.place / "log")
        os.chmod(self.place / "log", 0o777)
        name = self.place / "log/gatepost.log"
        gatepost = self.gatepost(config_for(self.place, log={"format": "json", "to": name}))

        def summary_in(path):
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], CLEAN)
            with open(path) as file:
                return '"status":"CLEAN"' in file.read()

        wait_until(lambda: summary_in(name), "a summary")
        os.rename(name, name + ".1")
        gatepost.signal(signal.SIGUSR1)
        # The processes change over one after the other, so a line may still go to the old file.
        wait_until(lambda: os.path.exists(name) and summary_in(name), "a summary in the new file")


class OddOctets(InPlace):
    def test_every_octet_in_the_log(self):
        gatepost = self.gatepost(config_for(self.place, listener={"max_errors": 100_000, "max_junk": 100_000}))
        for octet in range(256):
            odd = bytes([octet]) * 3
            with gatepost.wire() as wire:
                # HELO and the reverse-path in a transaction that is completed where gatepost lets it.
                wire.send(b"EHLO x" + odd + b"y\r\nMAIL FROM:<a" + odd + b"b@example.org>\r\nRCPT TO:<c" + odd +
                          b"d@example.org>\r\nMAIL FROM:<\"" + odd + b"\"@example.org>\r\nQUIT\r\n")
                while wire.reply()[0]:
                    pass
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(b"Subject: " + bytes(c for c in range(256) if c not in (0, 10, 13)) + b"\r\n\r\n" + EICAR + b"\r\n.\r\n")
            self.assertEqual(wire.reply()[0], 550)
        gatepost.summary(action="refuse")
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        for line in gatepost.log.all:
            json.loads(line)  # one object per line, valid UTF-8
            line.encode("utf-8")
            self.assertTrue(line.isprintable(), line)

    def test_text_log_has_one_line_per_event(self):
        gatepost = self.gatepost(config_for(self.place, log={"format": "text", "to": "stderr"}))
        with gatepost.wire() as wire:
            wire.reply()
            wire.say(b"EHLO client.example")
            self.assertEqual(wire.say(b"MAIL FROM:<\"x\x1b[2J\"@example.org>")[0], 501)
            self.assertEqual(wire.say(b"MAIL FROM:<\"x, status=\\\"%s%n\"@example.org>")[0], 250)
            wire.say(b"RCPT TO:<b@example.org>")
            self.assertEqual(wire.say(b"DATA")[0], 354)
            wire.send(mail() + b".\r\n")
            self.assertEqual(wire.reply()[0], 250)
        gatepost.log.wait_for(r"status=CLEAN")
        for line in gatepost.log.all:
            self.assertTrue(line.isprintable(), line)


if __name__ == "__main__":
    unittest.main()
