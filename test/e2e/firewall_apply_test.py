#!/usr/bin/env python3
"""gatepost firewall apply and remove: whatever happens on the way, nothing is left behind."""
import json
import os
import signal
import subprocess
import threading
import unittest

from common import PROGRAM, only_when_full, wait_until
from firewall_case import BACKENDS, EVERYTHING, FAILED, NOT_APPLIED, NOT_PLANNED, Firewall
from firewall_tools import Tools
from firewall_world import snapshot


class Apply(Firewall):
    def test_apply_twice_and_remove_leave_no_trace(self):
        for backend, before in self.each_host():
            config = self.configured(backend)
            self.rules.run("apply", "-c", config)
            once = snapshot(self.gateway)
            self.assertNotEqual(once, before)
            self.rules.run("apply", "-c", config)
            self.expect(once)
            self.assertEqual(self.rules.run("remove").stdout.splitlines()[-1], "removed")
            self.expect(before)
            self.assertFalse(self.applied())
            self.assertEqual(self.rules.run("remove").stdout, "nothing is in force\n")

    def test_plan_is_what_apply_runs(self):
        tools = Tools(self.place)
        for backend, before in self.each_host():
            config = self.configured(backend)
            script = self.rules.run("plan", "-c", config).stdout
            steps = self.rules.told("plan", "-c", config)["plan"]
            self.expect(before)
            self.rules.before = tools.before
            tools.forget()
            told = self.rules.told("apply", "-c", config)
            self.rules.before = ()
            self.assertEqual(told["ran"], steps["apply"])
            wanted = [" ".join(step["argv"]) for step in steps["apply"]]
            conditions = [" ".join(step["unless"]) for step in steps["apply"] if "unless" in step]
            ran = tools.ran()[-len(wanted) - len(conditions):]
            self.assertEqual([line for line in ran if line not in conditions], wanted)
            by_apply = snapshot(self.gateway)
            # It is the same text afterwards, though the host has changed.
            self.assertEqual(self.rules.run("plan", "-c", config).stdout, script)
            removal = self.rules.run("plan", "-c", config, "--remove").stdout
            self.rules.run("remove")
            for _ in range(2):
                self.gateway.run(["sh"], input=script)
                self.expect(by_apply)
            self.gateway.run(["sh"], input=removal)
            self.expect(before)

    @only_when_full
    def test_a_failure_at_any_step_leaves_no_trace(self):
        tools = Tools(self.place)
        for backend, before in self.each_host():
            config = self.configured(backend)
            steps = self.rules.told("plan", "-c", config)["plan"]["apply"]
            self.rules.before = tools.before
            seen = set()
            for step in steps:
                if tuple(step["argv"]) in seen:
                    continue  # the first with these words fails
                seen.add(tuple(step["argv"]))
                tools.at(step, "fail")
                failed = self.rules.run("apply", "-c", config, check=False)
                self.assertTrue(tools.was_reached(), step)
                self.assertEqual(failed.returncode, FAILED, failed)
                self.assertIn(step["why"], failed.stderr)
                self.assertIn("told to fail", failed.stderr)
                self.assertIn("nothing of it is left", failed.stderr)
                self.expect(before)
                self.assertFalse(self.applied())
            self.rules.before = ()

    @only_when_full
    def test_a_failed_change_leaves_what_was_in_force(self):
        tools = Tools(self.place)
        for backend, before in self.each_host():
            first = self.configured(backend, *EVERYTHING[:2], name="first.json", routing_table=77)
            self.rules.run("apply", "-c", first)
            in_force = snapshot(self.gateway)
            config = self.configured(backend)
            steps = self.rules.told("apply", "-c", config)["ran"]  # those that change something
            self.rules.run("apply", "-c", first)
            self.expect(in_force)
            self.rules.before = tools.before
            for step in steps:
                tools.at(step, "fail")
                failed = self.rules.run("apply", "-c", config, check=False)
                self.assertEqual((failed.returncode, tools.was_reached()), (FAILED, True), failed)
                self.assertIn("in force before are in force again", failed.stderr)
                self.expect(in_force)
            self.rules.before = ()
            self.rules.run("remove")
            self.expect(before)

    def test_another_configuration_takes_the_place_of_the_one_in_force(self):
        for backend, before in self.each_host():
            other = BACKENDS[1 - BACKENDS.index(backend)]
            alone = [{"intercept": "redirect", "address": "0.0.0.0:2525"}]
            for change in (self.configured(backend, *alone), self.configured(backend, routing_table=77),
                           self.configured(other, *alone), self.configured(other)):
                self.rules.run("apply", "-c", change)
            config = self.configured(backend, *alone)
            self.rules.run("apply", "-c", config)
            last = snapshot(self.gateway)
            self.rules.run("remove")
            self.expect(before)
            self.rules.run("apply", "-c", config)
            self.expect(last)
            os.unlink(config)  # remove needs none
            self.rules.run("remove")
            self.expect(before)

    def test_killed_on_the_way(self):
        tools = Tools(self.place)
        for backend, before in self.each_host():
            config = self.configured(backend)
            whole = self.rules.told("plan", "-c", config)["plan"]["apply"]
            for after in ("remove", "apply"):
                tools.at(whole[-1], "hang")
                process = self.gateway.popen([*tools.before, PROGRAM, "firewall", "apply", "-c", config, "--state", self.rules.state],
                                             stdout=subprocess.DEVNULL)
                hanging = tools.wait_for_hanging()
                process.kill()
                process.wait()
                wait_until(lambda hanging=hanging: not os.path.exists(f"/proc/{hanging}"), "programs end with who runs them")
                self.assertEqual(self.rules.run("status", check=False).returncode, NOT_APPLIED)
                self.rules.run(after, *(["-c", config] if after == "apply" else []))
                if after == "apply":
                    self.assertTrue(self.rules.told("status")["intact"])
                    self.rules.run("remove")
                self.expect(before)

    def interrupted(self, tools, words, step, number):
        """What it has said, as its last line, when that signal came during the step."""
        tools.at(step, "wait")
        process = self.gateway.popen([*tools.before, PROGRAM, "firewall", *words, "--state", self.rules.state], stdout=subprocess.PIPE,
                                     text=True)
        tools.wait_for_hanging()
        process.send_signal(number)
        tools.go_on()
        said = process.communicate(timeout=60)[0]
        self.assertEqual(process.returncode, -number)
        return said.splitlines()[-1]

    def test_interrupted_on_the_way_it_says_what_is_in_force(self):
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:  # by nohup, or in the background of a shell, tests run with some that are ignored
            self.addCleanup(signal.signal, number, signal.signal(number, signal.SIG_DFL))
        tools = Tools(self.place)
        before = snapshot(self.gateway)
        for backend in BACKENDS:
            config = self.configured(backend)
            steps = self.rules.told("plan", "-c", config)["plan"]["apply"]
            for number in numbers:
                with self.subTest(backend=backend, number=number):
                    self.assertEqual(self.interrupted(tools, ["apply", "-c", config], steps[0], number), f"in force, by {backend}")
                    self.assertTrue(self.rules.told("status")["intact"])
                    step = json.loads(self.rules.run("plan", "-c", config, "--remove", "--json").stdout)["plan"]["remove"][0]
                    self.assertEqual(self.interrupted(tools, ["remove", "--drain", "0"], step, number), "removed")
                    self.expect(before)

    def test_rules_that_somebody_else_has_removed(self):
        for backend, before in self.each_host():
            config = self.configured(backend)
            self.rules.run("apply", "-c", config)
            whole = snapshot(self.gateway)
            if backend == "nft":
                self.gateway.run(["nft", "delete", "table", "inet", "gatepost"])
            else:
                self.gateway.run(["iptables", "-t", "nat", "-F"])
            self.gateway.ip("rule delete priority 25")
            self.assertEqual(self.rules.run("status", check=False).returncode, NOT_APPLIED)
            if before.count("\n") < 40:  # what was flushed is not ours alone otherwise
                self.rules.run("apply", "-c", config)
                self.expect(whole)
            self.rules.run("remove")

    def test_rules_that_nobody_remembers(self):
        for backend, before in self.each_host():
            config = self.configured(backend)
            self.gateway.run(["nft", "add", "table", "ip", "nat"])
            self.rules.run("apply", "-c", config)
            os.unlink(self.rules.state + "/firewall.json")
            self.assertEqual(self.rules.run("remove").stdout, "nothing is in force\n")
            self.assertIn("nobody remembers", self.rules.run("status", "-c", config, check=False).stderr)
            self.rules.run("apply", "-c", config)  # the routing table with our route and rule is ours
            self.assertTrue(self.rules.told("status")["intact"])
            os.unlink(self.rules.state + "/firewall.json")
            self.rules.run("remove", "-c", config)
            left = snapshot(self.gateway)
            self.assertNotIn("GATEPOST", left)
            self.assertNotIn("gatepost", left)
            self.assertNotIn("2525", left)

    def test_two_at_once(self):
        config = self.configured("nft")
        threads = [threading.Thread(target=self.rules.run, args=("apply", "-c", config)) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        self.assertTrue(self.rules.told("status")["intact"])

    def test_what_cannot_be_is_said_and_nothing_is_done(self):
        before = snapshot(self.gateway)
        self.gateway.ip("route add local default dev lo table 2525")
        self.gateway.ip("-6 route add local default dev lo table 2525")
        with_routes = snapshot(self.gateway)
        failed = self.rules.run("apply", "-c", self.configured("nft"), "--json", check=False)
        self.assertEqual(failed.returncode, NOT_PLANNED)
        self.assertEqual(json.loads(failed.stdout)["errors"],
                         ["the routing table 2525 has routes already; give firewall.routing_table a number that nobody uses"] * 2)
        self.expect(with_routes)
        self.rules.run("remove", "-c", self.configured("nft"))
        self.expect(with_routes)
        self.gateway.ip("route delete local default dev lo table 2525", "-6 route delete local default dev lo table 2525")
        self.expect(before)

    def test_a_spoiled_memory_is_no_reason_to_guess(self):
        os.mkdir(self.rules.state)
        for text in ("", "{", "[]", "{}", '{"boot": "another"}'):
            with open(self.rules.state + "/firewall.json", "w") as file:
                file.write(text)
            told = self.rules.run("status", check=False)
            self.assertEqual(told.returncode, NOT_APPLIED if "boot" in text or text == "{}" else FAILED, text)


if __name__ == "__main__":
    unittest.main()
