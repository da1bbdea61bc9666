#!/usr/bin/env python3
"""The commands besides serve: what they print and how they exit."""
import json
import os
import subprocess
import unittest

from common import PATIENCE, PROGRAM, ROOT, Place, config_for
from scanner_mails import EICAR, encrypted_zip, mail


def run(*arguments, stdin=b""):
    done = subprocess.run([PROGRAM, *arguments], input=stdin, capture_output=True, timeout=PATIENCE * 3)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


class Commands(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def write(self, name, octets):
        with open(self.place / name, "wb") as out:
            out.write(octets)
        return self.place / name

    def config(self, **sections):
        return self.write("gatepost.json", json.dumps(config_for(self.place, **sections), indent=1).encode())

    def test_help_and_version(self):
        status, said, _ = run("--version")
        self.assertEqual((status, said.split()[0]), (0, "gatepost"))
        for arguments in (["--help"], ["serve", "--help"], ["scan", "--help"]):
            status, said, _ = run(*arguments)
            self.assertEqual(status, 0)
            self.assertIn(arguments[0] if len(arguments) > 1 else "Examples:", said)

    def test_wrong_command_line(self):
        for arguments in ([], ["sevre"], ["serve", "--no-such"], ["config"], ["config", "shwo"], ["scan"], ["check"],
                          ["serve", "-c", "x", "--state", "y"], ["serve", "--ready-fd", "99"]):
            status, said, errors = run(*arguments)
            self.assertEqual((status, said), (64, ""), arguments)
            self.assertTrue(errors.startswith("gatepost: "), errors)

    def test_the_hint_names_the_command(self):
        for words, sentence, hint in (
                (["sevre"], 'there is no command "sevre"; did you mean "serve"?', "gatepost --help"),
                (["firewall", "aply"], 'there is no command "firewall aply"; did you mean "apply"?', "gatepost firewall --help"),
                (["firewall", "apply"], "--config is required", "gatepost firewall apply --help"),
                (["bans", "flush"], 'there is no command "bans flush"', "gatepost bans --help"),
                (["bans", "add", "192.0.2.1", "--for", "ever"], "--for: expects a time", "gatepost bans add --help"),
                (["config", "shwo"], 'there is no command "config shwo"; did you mean "show"?', "gatepost config --help"),
                (["config", "--", "show", "more"], "more", "gatepost config --help"),
                (["serve", "--no-such"], "--no-such", "gatepost serve --help"),
                (["config"], 'no command given after "config": show, schema, manual', "gatepost config --help"),
                (["bans"], 'no command given after "bans": list, add, remove', "gatepost bans --help"),
                (["-c", "x"], "required", "gatepost --help")):
            status, said, errors = run(*words)
            self.assertEqual((status, said), (64, ""), words)
            first, second = errors.splitlines()
            self.assertIn(sentence, first)
            self.assertEqual(second, f"Try {hint}.")

    def test_help_has_what_an_operator_looks_for(self):
        for words, wanted in ((["serve"], ["HUP", "USR2"]), ([], ["HUP", "USR2", "gatepost bans --help"]),
                              (["firewall"], ["remove -c FILE --drain"]), (["bans"], ["gatepost bans add", "gatepost bans list"])):
            said = run(*words, "--help")[1]
            for each in wanted:
                self.assertIn(each, said, words)

    def test_check(self):
        status, said, errors = run("check", "-c", self.config())
        self.assertEqual(status, 0, said + errors)
        status, said, errors = run("check", "-c", self.config(hostnaem="x"))
        self.assertEqual(status, 78)
        self.assertRegex(said + errors, r"gatepost\.json:\d+:\d+: /hostnaem: .*hostname")

    def test_show_is_a_config_of_the_same_meaning(self):
        status, shown, errors = run("config", "show", "-c", self.config())
        self.assertEqual(status, 0, errors)
        again = self.write("again.json", shown.encode())
        self.assertEqual(run("config", "show", "-c", again)[:2], (0, shown))

    def test_schema(self):
        status, said, _ = run("config", "schema")
        self.assertEqual(status, 0)
        schema = json.loads(said)
        self.assertIn("listeners", schema["properties"])

    def test_examples_are_right(self):
        directory = os.path.join(ROOT, "appliance/examples")
        names = sorted(os.listdir(directory))
        self.assertTrue(names)
        for name in names:
            with open(os.path.join(directory, name)) as file:
                text = file.read()
            for user in ("gatepost-keeper", "gatepost-scanner", "gatepost-gate", "gatepost"):
                self.assertNotIn(f'"{user}"', text)  # no account is taken for granted
            status, said, errors = run("check", "-c", self.write(name, self.with_users(text).encode()))
            self.assertEqual(status, 0, f"{name}: {said}{errors}")

    @staticmethod
    def with_users(text):
        """Accounts by number, so that the check does not depend on the machine's."""
        if os.geteuid() != 0:
            return text
        return text.rstrip()[:-1].rstrip() + ',\n  "users": { "proxy": "64101", "keeper": "64102", "scanner": "64103", "gate": "64104" }\n}\n'

    def scan(self, *files, stdin=b"", more=()):
        return run("scan", "--signatures", self.place.signatures(), *more, *files, stdin=stdin)

    def test_scan(self):
        clean = self.write("clean.eml", mail())
        infected = self.write("infected.eml", mail((b"e.com", EICAR)))
        locked = self.write("locked.eml", mail((b"e.zip", encrypted_zip("a.txt", b"hello" * 100))))
        self.assertEqual(self.scan(clean)[:2], (0, f"{clean}: clean\n"))
        status, said, _ = self.scan(infected)
        self.assertEqual(status, 1)
        self.assertRegex(said, r"infected\(.*EICAR")
        status, said, _ = self.scan(locked)
        self.assertEqual(status, 2)
        self.assertTrue(said.startswith(f"{locked}: unscannable(encrypted"), said)
        status, said, _ = self.scan(self.place / "nowhere")
        self.assertEqual(status, 2)
        self.assertRegex(said, "error")
        status, said, errors = self.scan(clean, infected, locked)
        self.assertEqual((status, len(said.splitlines())), (1, 3), said + errors)
        status, said, _ = self.scan(clean, self.place.path)
        self.assertEqual(status, 2, said)

    def test_scan_of_standard_input(self):
        self.assertEqual(self.scan("-", stdin=mail())[0], 0)
        self.assertEqual(self.scan("-", stdin=mail(text=EICAR + b"\r\n"))[0], 1)

    def test_scan_in_json(self):
        odd = self.write('odd "\x1b\n\udcff name', mail())
        status, said, _ = self.scan(odd, more=["--json"])
        self.assertEqual(status, 0)
        [line] = said.splitlines()
        self.assertEqual(json.loads(line)["outcome"], "clean")

    def test_scan_without_signatures_is_not_clean(self):
        os.mkdir(self.place / "empty")
        status, said, errors = run("scan", "--signatures", self.place / "empty", self.write("m.eml", mail()))
        self.assertEqual(status, 2, said + errors)

    def test_manual_names_every_key(self):
        """gatepost.json(5) is made from this list, so that it cannot be out of date."""
        status, manual, _ = run("config", "manual")
        self.assertEqual(status, 0)
        schema = json.loads(run("config", "schema")[1])

        def keys(node):
            for name, inner in node.get("properties", {}).items():
                yield name
                yield from keys(inner)
            for part in ("items", "additionalProperties"):
                if isinstance(node.get(part), dict):
                    yield from keys(node[part])
        for key in set(keys(schema)):
            self.assertIn(key, manual)


if __name__ == "__main__":
    unittest.main()
