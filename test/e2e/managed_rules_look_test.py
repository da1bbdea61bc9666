"""firewall.manage while gatepost serves: rules that could not go in are tried again, what somebody has flushed comes back as
it was, and what was removed by hand stays away."""
import fcntl
import json
import os
import signal
import unittest

from common import PROGRAM, only_when_full
from firewall_world import CLIENT, snapshot
from managed_rules_test import IN, STEPS, ManagedStage

LISTING = ["nft", "-j", "-t", "list", "table", "inet", "gatepost"]
LOOK = 40  # seconds until the next one is over


class ManagedRulesLook(ManagedStage):
    def status(self):
        return self.gateway.run([PROGRAM, "firewall", "status", "-c", self.place / "gatepost.json"], check=False)

    def ends_without_trace(self):
        self.gatepost.signal(signal.SIGTERM)
        self.assert_ended_without_trace()

    @only_when_full
    def test_rules_that_cannot_go_in_are_tried_again(self):
        self.tools.at({"argv": STEPS["nft", IN]}, "fail")
        gatepost = self.serve("nft")
        gatepost.log.wait_for("nothing is intercepted: .* told to fail")
        self.assertEqual(self.greeted_by(), "the server")
        gatepost.log.wait_for("the rules of the packet filter are in force", LOOK)
        self.assertEqual(self.greeted_by(), "gatepost")
        self.ends_without_trace()

    @only_when_full
    def test_so_are_those_that_went_in_by_half(self):
        self.tools.at({"argv": STEPS["nft", IN]}, "fail twice")
        gatepost = self.serve("nft")
        gatepost.log.wait_for("the rules may be in force in part: ")
        gatepost.log.wait_for("the rules of the packet filter are in force", LOOK)
        self.assertEqual(self.greeted_by(), "gatepost")
        self.ends_without_trace()

    @only_when_full
    def test_and_those_that_could_not_take_the_place_of_an_earlier_life_s(self):
        self.serve("nft").kill()
        self.tools.at({"argv": STEPS["nft", IN]}, "fail")
        gatepost = self.serve("nft", port=10099)
        gatepost.log.wait_for("the rules of an earlier start stay in force: .* told to fail")
        with self.assertRaises(ConnectionRefusedError):
            self.greeted_by()
        gatepost.log.wait_for("the rules of the packet filter are in force", LOOK)
        self.assertEqual(self.greeted_by(), "gatepost")
        self.ends_without_trace()

    def flushed(self, backend, *command):
        gatepost = self.serve(backend)
        self.assertEqual(self.greeted_by(), "gatepost")
        self.gateway.run(command)
        self.assertEqual(self.greeted_by(), "the server")
        self.assertEqual(self.status().returncode, 69)
        gatepost.log.wait_for("rules of the packet filter have gone, .*: somebody has flushed them, .*; they are in force again", LOOK)
        self.assertEqual(self.greeted_by(), "gatepost")
        self.assertEqual(self.status().returncode, 0)
        self.ends_without_trace()

    def test_rules_that_somebody_flushes_come_back(self):
        self.flushed("nft", "nft", "flush", "ruleset")

    @only_when_full
    def test_those_of_iptables_too(self):
        self.flushed("iptables", "nft", "flush", "ruleset")

    @only_when_full
    def test_and_those_of_a_table_that_was_emptied(self):
        self.flushed("nft", "nft", "flush", "table", "inet", "gatepost")

    @only_when_full
    def test_what_comes_back_is_what_was_in_force(self):
        gatepost = self.serve("nft")
        with open(self.place / "gatepost.json") as file:
            config = json.load(file)
        config["listeners"][0]["skip_sources"] = [CLIENT[4]]
        with open(self.place / "other.json", "w") as file:
            json.dump(config, file)
        self.gateway.run([PROGRAM, "firewall", "apply", "-c", self.place / "other.json"])
        self.assertEqual(self.greeted_by(), "the server")
        in_force = self.gateway.run(["nft", "-s", "list", "ruleset"]).stdout
        self.gateway.run(["nft", "flush", "ruleset"])
        gatepost.log.wait_for("they are in force again", LOOK)
        self.assertEqual(self.gateway.run(["nft", "-s", "list", "ruleset"]).stdout, in_force)
        self.assertEqual(self.greeted_by(), "the server")
        self.ends_without_trace()

    @only_when_full
    def test_a_program_that_fails_once_has_flushed_nothing(self):
        gatepost = self.serve("nft")
        self.tools.at({"argv": LISTING}, "fail")
        gatepost.log.wait_for("gatepost is serving")
        self.tools.wait_until_reached(LOOK)
        self.ends_without_trace()
        self.assertNotIn("flushed", gatepost.log.text())

    @only_when_full
    def test_rules_that_are_removed_during_a_look_stay_away(self):
        self.serve("nft")
        self.tools.at({"argv": LISTING}, "wait")
        self.tools.wait_for_hanging()
        self.remove_by_hand()
        looks = self.worker()
        self.tools.go_on()
        self.wait_for_end_of(looks)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)
        self.ends_without_trace()

    def test_rules_of_the_next_gatepost_are_not_withdrawn_by_the_one_before(self):
        for backend in self.each_backend():
            first = self.serve(backend)
            second = self.serve(backend, port=10099)
            first.signal(signal.SIGTERM)
            first.log.wait_for(rf"are those of another gatepost \(pid {second.pid}\), and stay")
            status, log = first.wait()
            self.assertEqual(status, 0, log)
            self.assertNotIn("were applied while gatepost ended", log)
            self.assertEqual(self.greeted_by(), "gatepost")
            self.ends_without_trace()

    def test_those_of_one_that_is_gone_are(self):
        first = self.serve("nft")
        second = self.serve("nft", port=10099)
        second.kill()
        first.signal(signal.SIGTERM)
        status, log = first.wait()
        self.assertEqual(status, 0, log)
        self.assertMultiLineEqual(snapshot(self.gateway), self.before)

    @only_when_full
    def test_who_could_not_withdraw_for_somebody_else_does_at_the_end(self):
        gatepost = self.serve("nft")
        lock = os.open(self.place / "rules", os.O_RDONLY)
        self.addCleanup(os.close, lock)
        fcntl.flock(lock, fcntl.LOCK_EX)
        gatepost.signal(signal.SIGTERM)
        gatepost.log.wait_for("rules of the packet filter are left: .* has held the lock", 60)
        fcntl.flock(lock, fcntl.LOCK_UN)
        self.assert_ended_without_trace()


if __name__ == "__main__":
    unittest.main()
