#!/usr/bin/env python3
"""Exim behind gatepost, with `hosts_proxy` (dialogue.md D5): it trusts this host as Debian's configuration does, knows by
the PROXY header that the client is 203.0.113.9, and relays nothing for it."""
import json
import os
import re
import sys
import unittest

import far_network
from common import Gatepost, Place, config_for, wait_until
from peers import Wire

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from neighbours.exim import CAREFUL, EximBehindProxy  # noqa: E402
from neighbours.letter import Letter  # noqa: E402
from neighbours.packages import Unavailable, unpacked  # noqa: E402

FOREIGN = b"someone@elsewhere.example"
TOLD = {"auto": {}, "proxy-v1": {"identity": "proxy-v1"}, "proxy-v2": {"identity": "proxy-v2"}}
network = None


def setUpModule():
    global network
    try:
        if far_network.available():
            unpacked(*EximBehindProxy.packages)  # while there is a network to fetch them from
    except Unavailable as missing:
        raise unittest.SkipTest(str(missing)) from None
    network = far_network.laid_for_module()


class EximBehindGatepost(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        cls.exim = cls.enterClassContext(EximBehindProxy(place))
        config = config_for(place, scan=False, loops=1)
        config["downstreams"] = {
            **{name: {"servers": [f"127.0.0.1:{cls.exim.proxy_port}"], **keys} for name, keys in TOLD.items()},
            "bare": {"servers": [cls.exim.address]}}
        config["listeners"] = [{"name": name, "address": "0.0.0.0:0", "downstream": name} for name in config["downstreams"]]
        cls.gatepost = cls.enterClassContext(Gatepost(place, config))

    def wire(self, listener):
        return network.wire(int(self.gatepost.listeners[listener].rsplit(":", 1)[1]))

    def begin(self, wire):
        self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
        self.assertEqual(wire.say(b"EHLO far.example.net")[0], 250, self.exim.log())
        self.assertEqual(wire.say(b"MAIL FROM:<a@sender.example>")[0], 250)

    def test_exim_is_as_trusting_as_it_should_be(self):
        """Without gatepost this host may relay through it: the danger is real."""
        with Wire(self.exim.port) as direct:
            self.begin(direct)
            self.assertEqual(direct.say(b"RCPT TO:<" + FOREIGN + b">")[0], 250)

    def test_it_knows_the_client_and_refuses_to_relay(self):
        for name in TOLD:
            with self.subTest(name), self.wire(name) as wire:
                letter = Letter(name, b"hello\r\n")
                self.begin(wire)
                self.assertEqual(wire.say(b"RCPT TO:<" + FOREIGN + b">"), (550, b"550 relay not permitted"))
                self.assertEqual(wire.say(b"RCPT TO:<b@example.org>")[0], 250)
                self.assertEqual(wire.say(b"DATA")[0], 354)
                wire.send(letter.content + b".\r\n")
                self.assertEqual(wire.reply()[0], 250)
                self.assertEqual(len(self.exim.take(letter)), 1)
                arrival = wait_until(lambda: [line for line in self.main_log() if " <= a@sender.example " in line
                                              and f" id={letter.token}@" in line], "Exim's line of the message")
                self.assertIn(" H=(far.example.net) [203.0.113.9] ", arrival[0])
                self.assertIn(" PRX=127.0.0.1 ", arrival[0])
                self.assertTrue(any("[203.0.113.9]" in line and f"rejected RCPT <{FOREIGN.decode()}>" in line
                                    for line in self.main_log()), self.exim.log())

    def test_without_hosts_proxy_it_is_not_used(self):
        with self.wire("bare") as wire:
            code, text = wire.reply()
            self.assertEqual((code, text[4:9]), (421, b"4.3.5"), text)
        told = json.loads(self.gatepost.log.wait_for("For Exim, "))["message"]
        setting = re.search(r"hosts_proxy = .*?\}\}", told)[0].replace("10027", str(self.exim.proxy_port))
        self.assertIn(setting + "\n", CAREFUL.format(port=self.exim.proxy_port), "what the log says is what works here")

    def main_log(self):
        with open(self.exim.directory + "/log-main", errors="replace") as log:
            return log.read().splitlines()


if __name__ == "__main__":
    unittest.main()
