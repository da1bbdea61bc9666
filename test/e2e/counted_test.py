"""What the log counts: who may not say who his client is, and greetings without keywords of the server. One line at once,
fewer than there are attempts, and all of them when gatepost ends."""
import signal
import unittest

from common import Gatepost, Place, config_for
from peers import Downstream, Wire


class CountedTest(unittest.TestCase):
    def setUp(self):
        place = Place()
        self.addCleanup(place.remove)
        self.downstream = self.enterContext(Downstream(keywords=(b"X-OWN", b"ETRN")))
        config = config_for(place, [self.downstream.address], scan=False)
        behind = {"name": "behind", "address": "127.0.0.1:0", "downstream": "next", "proxy_header": "any", "proxy_from": ["192.0.2.1"]}
        config["listeners"].append(behind)
        self.gatepost = self.enterContext(Gatepost(place, config))

    def wire(self, listener):
        return Wire(int(self.gatepost.listeners[listener].rsplit(":", 1)[1]))

    def log_of_all(self):
        self.gatepost.signal(signal.SIGTERM)
        self.assertEqual(self.gatepost.wait()[0], 0)
        return self.gatepost.records()

    def events(self, records, name, *fields):
        return sorted(tuple(record.get(field) for field in fields) for record in records if record.get("event") == name)

    def test_attempts_of_peers_that_are_not_listed(self):
        for _ in range(3):
            with self.wire("inbound") as wire:
                wire.reply()
                self.assertEqual(wire.say(b"XCLIENT ADDR=192.0.2.9")[1], b"550 5.7.0 Insufficient authorization")
                self.assertEqual(wire.say(b"XCLIENT ADDR=192.0.2.9")[0], 550)
                self.assertEqual(wire.say(b"QUIT")[0], 221)
        with self.wire("inbound") as wire:
            wire.reply()
            self.assertEqual(wire.say(b"XFORWARD ADDR=192.0.2.9")[0], 550)
        for _ in range(2):
            with self.wire("behind") as wire:
                self.assertEqual(wire.reply()[0], 421)  # before a header is read
        records = self.log_of_all()
        self.assertEqual(self.events(records, "identity_refused", "reason", "listener", "network", "attempts"),
                         [("proxy_from", "behind", "127.0.0.1/32", 1), ("xclient_from", "inbound", "127.0.0.1/32", 1),
                          ("xforward_from", "inbound", "127.0.0.1/32", 1)])
        self.assertEqual(self.events(records, "identity_refused_total", "reason", "listener", "attempts"),
                         [("proxy_from", "behind", 2), ("xclient_from", "inbound", 6), ("xforward_from", "inbound", 1)])

    def test_attempts_are_told_again_after_ten_seconds(self):
        with self.wire("inbound") as wire:
            wire.reply()
            for _ in range(3):
                wire.say(b"XCLIENT ADDR=192.0.2.9")
        self.gatepost.log.wait_for('"event":"identity_refused".*"attempts":1')
        self.gatepost.log.wait_for('"event":"identity_refused".*"attempts":2')

    def test_greetings_without_keywords(self):
        for _ in range(4):
            with self.wire("inbound") as wire:
                wire.reply()
                self.assertNotIn(b"X-OWN", wire.say(b"EHLO client.example")[1])
                wire.say(b"QUIT")
        records = self.log_of_all()
        self.assertEqual([each["detail"] for each in records if each.get("event") == "withheld"],
                         [f"{self.downstream.address}: X-OWN, ETRN"])
        self.assertEqual(self.events(records, "withheld_total", "listener", "downstream", "keywords", "greetings"),
                         [("inbound", "next", "X-OWN, ETRN", 4)])


if __name__ == "__main__":
    unittest.main()
