#!/usr/bin/env python3
"""gatepost firewall as a command: what it says of mistakes, what it needs, and its answers as JSON."""
import json
import os
import re
import shutil
import unittest

from common import PROGRAM, ROOT
from firewall_case import BACKENDS, EVERYTHING, NOT_APPLIED, Firewall
from firewall_world import snapshot

GOLDEN = os.path.join(ROOT, "test/golden/firewall")
USAGE, NO_PERMISSION, CONFIG = 64, 77, 78
NOBODY = 65534


class Command(Firewall):
    program = PROGRAM

    def said(self, *words, status=USAGE, **more):
        done = self.gateway.run([self.program, "firewall", *words], check=False, **more)
        self.assertEqual(done.returncode, status, done)
        return done.stderr

    def test_mistakes_on_the_command_line(self):
        config = self.configured("nft")
        for words, said in ((["aply"], 'there is no command "firewall aply"; did you mean "apply"?'),
                            (["x\x1b[31m"], 'there is no command "firewall x\\x1b[31m"'),
                            ([], 'no command given after "firewall": plan, apply'),
                            (["apply"], "--config is required"), (["verify"], "--config is required"),
                            (["plan"], "firewall plan needs -c FILE"), (["apply", "-c", config, "--confirm-within", "0s"], "between 1s and 24h"),
                            (["apply", "-c", config, "--confirm-within", "soon"], "between 1s and 24h"),
                            (["verify", "-c", config, "--spoof-from", "192.0.2.1"], "--spoof-to"),
                            (["status", "--jsn"], "--jsn")):
            with self.subTest(words):
                self.assertIn(said, self.said(*words))

    def test_help_has_examples(self):
        told = self.gateway.run([PROGRAM, "firewall", "--help"]).stdout
        for action in ("plan", "apply", "confirm", "verify", "status", "remove"):
            self.assertIn(f"gatepost firewall {action}", told)

    def test_a_config_that_cannot_be_used(self):
        self.assertIn("/listeners/0/ports", self.said("plan", "-c", self.configured("nft", {"intercept": "redirect",
                                                      "address": "0.0.0.0:25"}), status=CONFIG))
        self.assertIn("no listener has intercept", self.said("plan", "-c", self.rules.config(
            {"address": "127.0.0.1:2525", "downstream": "mta"}, downstreams={"mta": {"servers": ["127.0.0.1:26"]}}), status=CONFIG))

    def test_facts_of_another_host(self):
        config = self.configured("auto")
        facts = self.rules.run("plan", "--show-facts").stdout
        path = self.place / "facts.json"
        with open(path, "w") as file:
            file.write(facts)
        here = self.rules.run("plan", "-c", config).stdout
        self.assertEqual(self.rules.run("plan", "-c", config, "--facts", path).stdout, here)
        self.assertIn("nft -f -", here)
        with open(path, "w") as file:
            json.dump({**json.loads(facts), "nft": []}, file)
        self.assertIn("iptables-restore", self.rules.run("plan", "-c", config, "--facts", path).stdout)
        self.assertIn("is not for this system",
                      self.said("plan", "-c", config, "--facts", os.path.join(GOLDEN, "openbsd.facts.json"), status=CONFIG))
        for text, said in (("", "facts.json:1:1"), ("{}", "system must be"), ('{"system": "linux", "ntf": []}', 'did you mean "nft"?')):
            with open(path, "w") as file:
                file.write(text)
            self.assertIn(said, self.said("plan", "-c", config, "--facts", path, status=CONFIG))
        self.assertIn("No such file", self.said("plan", "-c", config, "--facts", self.place / "none", status=CONFIG))

    def test_who_is_not_root_may_plan_and_nothing_else(self):
        config = self.configured("nft", *EVERYTHING[:2])
        os.chmod(config, 0o644)
        self.program = shutil.copy(PROGRAM, self.place / "gatepost")  # the checkout may be root's alone

        def ordinary():
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
        facts = os.path.join(GOLDEN, "linux.facts.json")
        with open(facts) as file:
            text = file.read()
        with open(self.place / "facts.json", "w") as file:
            file.write(text)
        before = snapshot(self.gateway)
        planned = self.gateway.run([self.program, "firewall", "plan", "-c", config, "--facts", self.place / "facts.json"],
                                   before=ordinary)
        self.assertIn("table inet gatepost", planned.stdout)
        for words in (["plan", "-c", config], ["plan", "--show-facts"], ["apply", "-c", config], ["verify", "-c", config], ["confirm"],
                      ["remove"]):
            with self.subTest(words):
                self.said(*words, *(["--state", self.rules.state] if words[-1] != "--show-facts" else []), status=NO_PERMISSION,
                          before=ordinary)
        self.assertEqual(self.said("status", "--state", self.rules.state, status=NO_PERMISSION, before=ordinary),
                         "gatepost: firewall status needs root: the kernel shows rules to nobody else\n")
        # Nor where the directory is his own: the packet filter is not.
        os.mkdir(self.rules.state)
        os.chown(self.rules.state, NOBODY, NOBODY)
        os.chmod(self.place / "", 0o755)
        for words in (["apply", "-c", config], ["confirm"], ["remove"], ["remove", "--drain", "0s"]):
            with self.subTest(words):
                self.assertEqual(self.said(*words, "--state", self.rules.state, status=NO_PERMISSION, before=ordinary),
                                 "gatepost: only root may change rules, or prove them\n")
        self.assertEqual(snapshot(self.gateway), before)

    def test_a_directory_that_cannot_be_used(self):
        config = self.configured("nft")
        directory = self.place / "file/firewall"
        with open(self.place / "file", "w"):
            pass
        for words in (["apply", "-c", config], ["confirm"], ["remove"], ["verify", "-c", config]):
            with self.subTest(words):
                self.assertEqual(self.said(*words, "--state", directory, status=CONFIG), f"gatepost: {directory}: Not a directory\n")

    def test_verify_with_nothing_in_force(self):
        self.assertIn("no rules are in force", self.said("verify", "-c", self.configured("nft"), "--state", self.rules.state,
                                                         status=NOT_APPLIED))

    def test_a_config_that_is_broken_by_now_still_says_where_to_look(self):
        config = self.configured("nft", state_directory=self.rules.state)
        before = snapshot(self.gateway)
        self.gateway.run([PROGRAM, "firewall", "apply", "-c", config, "--confirm-within", "1h"])
        with open(config) as file:
            broken = {**json.load(file), "users": {"proxy": "no-such-account"}}
        with open(config, "w") as file:
            json.dump(broken, file)
        for action, said in (("confirm", "confirmed\n"), ("status", "in force, by nft\n"), ("remove", "removed\n")):
            with self.subTest(action):
                done = self.gateway.run([PROGRAM, "firewall", action, "-c", config])
                self.assertIn(said, done.stdout)
                self.assertIn("no-such-account", done.stderr)
                self.assertIn(f"{config} cannot be used", done.stderr)
        self.assertEqual(snapshot(self.gateway), before)
        for action in ("confirm", "status", "remove"):
            self.assertIn("cannot be used", self.said(action, "-c", config, status=CONFIG))

    def test_json_everywhere(self):
        config = self.configured("nft")
        self.assertEqual(set(self.rules.told("plan", "-c", config)), {"ok", "plan", "warnings"})
        self.assertEqual(self.rules.told("remove"), {"ok": False, "text": "nothing is in force"})
        self.assertEqual(json.loads(self.rules.run("status", "--json", check=False).stdout), {"applied": False})
        self.assertEqual(set(self.rules.told("apply", "-c", config, "--confirm-within", "1h")), {"ok", "backend", "ran", "warnings"})
        self.assertEqual(self.rules.told("confirm"), {"ok": True, "text": "confirmed"})
        self.assertEqual(json.loads(self.rules.run("confirm", "--json", check=False).stdout),
                         {"ok": False, "text": "nothing waits to be confirmed"})
        status = self.rules.told("status")
        self.assertEqual((status["applied"], status["intact"], status["confirmed"], len(status["rules"])), (True, True, True, 6))
        told = json.loads(self.rules.run("verify", "-c", config, "--json", check=False).stdout)
        self.assertEqual(set(told), {"ok", "proofs", "faults", "warnings"})
        self.assertEqual(self.rules.told("remove"), {"ok": True, "text": "removed"})

    def test_what_is_in_force_cannot_be_read(self):
        os.makedirs(self.rules.state, mode=0o700, exist_ok=True)
        with open(self.rules.state + "/firewall.json", "w") as file:
            file.write("{garbage")
        failed = self.rules.run("remove", check=False)
        self.assertEqual((failed.returncode, failed.stdout), (71, ""))
        self.assertRegex(failed.stderr, r"\Agatepost: .*/firewall.json:1:2: .*\n\Z")

    def test_the_golden_texts_load_into_this_kernel(self):
        # nft may lack what the gate needs (gate_rules_test.py).
        for config, backends in (("gateway", BACKENDS), ("spoof", BACKENDS), ("gate", ["iptables"]), ("bans", BACKENDS)):
            for backend in backends:
                with self.subTest(config=config, backend=backend):
                    with open(os.path.join(GOLDEN, f"{config}.{backend}.txt")) as file:
                        apply, aside, remove = re.split("#!/bin/sh\n# remove.*\n", file.read())
                    before = snapshot(self.gateway)
                    # The host of these plans had its IPv4 nat table.
                    self.gateway.run(["nft", "add", "table", "ip", "nat"])
                    self.gateway.run(["nft", "add chain ip nat PREROUTING { type nat hook prerouting priority dstnat; }"])
                    with_nat = snapshot(self.gateway)
                    for _ in range(2):
                        self.gateway.run(["sh"], input=apply)
                    applied = snapshot(self.gateway)
                    for _ in range(2):
                        self.gateway.run(["sh"], input=aside)
                    self.assertNotIn(snapshot(self.gateway), (with_nat, applied))
                    self.gateway.run(["sh"], input=apply)
                    self.assertMultiLineEqual(snapshot(self.gateway), applied)
                    self.gateway.run(["sh"], input=aside)
                    for _ in range(2):
                        self.gateway.run(["sh"], input=remove)
                    self.assertEqual(snapshot(self.gateway), with_nat)
                    self.gateway.run(["nft", "delete", "table", "ip", "nat"])
                    self.assertEqual(snapshot(self.gateway), before)


if __name__ == "__main__":
    unittest.main()
