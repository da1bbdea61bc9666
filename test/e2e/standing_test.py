"""What is known of a server holds for a day, or for a minute where it relays for everybody; HUP has it examined again at
once (dialogue.md D5)."""
import signal
import unittest

from common import Gatepost, Place, config_for, wait_until
from peers import Downstream


class StandingTest(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.downstream = self.enterContext(Downstream())

    def serve(self, loops=1):
        config = config_for(self.place, [self.downstream.address], scan=False, loops=loops, listener={"address": "0.0.0.0:0"},
                            downstream={"identity": "none"})
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

    def test_the_log_has_the_lines_that_mend_it_once_a_minute_whatever_the_loops(self):
        gatepost = self.serve(loops=4)
        wait_until(lambda: self.banner(gatepost) and self.downstream.opened >= 8, "a session and a probe of each loop")
        gatepost.signal(signal.SIGTERM)
        log = gatepost.wait()[1]
        self.assertEqual(log.count("would be an open relay"), 1, log)


if __name__ == "__main__":
    unittest.main()
