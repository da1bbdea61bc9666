"""What is known of a server holds for a day, or for a minute where it relays for everybody; HUP has it examined again at
once (dialogue.md D5)."""
import os
import shutil
import signal
import socket
import threading
import unittest

from certificates import Authority
from common import Gatepost, Place, config_for, wait_until
from peers import PATIENCE, Downstream


class HeldServer(Downstream):
    """Says nothing until it is let go."""

    def __init__(self, **more):
        self.go = threading.Event()
        super().__init__(**more)

    def _speak(self, connection):
        self.go.wait(PATIENCE)
        super()._speak(connection)


class StandingTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.downstream = self.enterContext(Downstream())

    def serve(self, loops=1, downstream=None, **listener):
        config = config_for(self.place, [self.downstream.address], scan=False, loops=loops,
                            listener={"address": "0.0.0.0:0", **listener},
                            downstream={"identity": "none", **(downstream or {})})
        return self.enterContext(Gatepost(self.place, config))

    def banner(self, gatepost):
        with gatepost.wire() as wire:
            return wire.reply()[0]

    def becomes(self, gatepost, code):
        gatepost.signal(signal.SIGHUP)
        gatepost.log.wait_for("servers are examined again")
        wait_until(lambda: self.banner(gatepost) == code, f"sessions that begin with {code}")

    def test_a_server_that_was_mended_is_used_after_hup(self):
        gatepost = self.serve()
        self.assertEqual(self.banner(gatepost), 421)
        self.downstream.relays = False
        self.assertEqual(self.banner(gatepost), 421)  # for a minute
        self.becomes(gatepost, 220)

    def test_a_server_that_relays_since_is_not_used_after_hup(self):
        self.downstream.relays = False
        gatepost = self.serve()
        self.assertEqual(self.banner(gatepost), 220)
        self.downstream.relays = True
        self.assertEqual(self.banner(gatepost), 220)  # for a day
        self.becomes(gatepost, 421)

    def test_hup_examines_servers_whatever_the_certificates_are(self):
        certificate, key = Authority(self.place / "ca").issue("mx.example.org")
        gatepost = self.serve(tls={"mode": "starttls", "certificates": [{"certificate": certificate, "key": key}]})
        self.assertEqual(self.banner(gatepost), 421)
        self.downstream.relays = False
        os.remove(key)
        self.becomes(gatepost, 220)

    def test_an_examination_that_hup_finds_under_way_begins_again_with_what_was_read(self):
        of_server, of_ours = Authority(self.place / "of server"), Authority(self.place / "of ours")
        certificate, key = of_ours.issue("gatepost.example")
        ca = self.place / "ca.pem"
        shutil.copyfile(of_ours.certificate, ca)
        self.downstream = self.enterContext(HeldServer(tls=of_server.server_context("mx.example.org")))
        self.downstream.relays = False
        gatepost = self.serve(tls={"mode": "implicit", "certificates": [{"certificate": certificate, "key": key}]},
                              downstream={"tls": {"mode": "verified", "name": "mx.example.org", "ca": ca}})

        def connect():
            context = of_ours.client_context()
            plain = self.enterContext(socket.create_connection(("127.0.0.1", gatepost.port), PATIENCE))
            return self.enterContext(context.wrap_socket(plain, server_hostname="gatepost.example"))

        former = connect().getpeercert()["serialNumber"]  # waits for the examination
        wait_until(lambda: self.downstream.opened == 2, "the session and the examination")
        shutil.copyfile(of_server.certificate, ca)
        of_ours.issue("gatepost.example")
        gatepost.signal(signal.SIGHUP)

        def connect_anew():
            connected = connect()
            return connected if connected.getpeercert()["serialNumber"] != former else None

        later = wait_until(connect_anew, "the new certificate")  # for the same one
        self.downstream.go.set()
        with later.makefile("rb") as lines:
            self.assertEqual(lines.readline()[:4], b"220 ")

    def test_the_log_has_the_lines_that_mend_it_once_a_minute_whatever_the_loops(self):
        gatepost = self.serve(loops=4)
        wait_until(lambda: self.banner(gatepost) and self.downstream.opened >= 8, "a session and a probe of each loop")
        gatepost.signal(signal.SIGTERM)
        log = gatepost.wait()[1]
        self.assertEqual(log.count("would be an open relay"), 1, log)


if __name__ == "__main__":
    unittest.main()
