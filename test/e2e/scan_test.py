#!/usr/bin/env python3
"""gatepost scan FILE...: exit status and words for every kind of file, and for files that change under it."""
import json
import os
import shutil
import subprocess
import unittest

from common import IS_ROOT, PATIENCE, PROGRAM, SCANNER, Place
from scanner_mails import EICAR, encrypted_zip, mail

CLEAN, INFECTED, OTHER = 0, 1, 2


class Scan(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def write(self, name, octets):
        with open(self.place / name, "wb") as out:
            out.write(octets)
        return self.place / name

    def start(self, *arguments, program=PROGRAM, **more):
        return subprocess.Popen([program, "scan", "--signatures", self.place.signatures(), *arguments],
                                **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more})

    def scan(self, *arguments, given=None, **more):
        """(status, lines of stdout, stderr); `given` goes to stdin."""
        if given is not None:
            more["stdin"] = subprocess.PIPE
        with self.start(*arguments, **more) as process:
            said, errors = process.communicate(given, timeout=PATIENCE * 3)
        return process.returncode, said.decode().splitlines() if said else [], errors.decode()

    def files(self):
        return (self.write("clean.eml", mail()), self.write("infected.eml", mail((b"e.com", EICAR))),
                self.write("locked.eml", mail((b"e.zip", encrypted_zip("a.txt", b"hello" * 100)))))

    def test_status_of_several(self):
        """Something found is 1 whatever else there is; else whatever is not clean is 2. One line each, in order."""
        clean, infected, locked = self.files()
        absent = self.place / "absent"
        for files, wanted in (((clean, clean), CLEAN), ((clean, infected), INFECTED), ((infected, locked), INFECTED),
                              ((locked, infected), INFECTED), ((absent, infected), INFECTED), ((infected, absent), INFECTED),
                              ((clean, locked), OTHER), ((locked, clean), OTHER), ((clean, absent), OTHER),
                              ((absent, clean), OTHER)):
            status, lines, errors = self.scan(*files)
            self.assertEqual(status, wanted, (files, lines, errors))
            self.assertEqual([line.split(": ")[0] for line in lines], list(files))

    def test_json(self):
        clean, infected, locked = self.files()
        status, lines, errors = self.scan("--json", clean, infected, locked, self.place / "absent", self.place.path)
        self.assertEqual((status, len(lines)), (INFECTED, 5), errors)
        told = [json.loads(line) for line in lines]
        self.assertEqual([each["file"] for each in told], [clean, infected, locked, self.place / "absent", self.place.path])
        self.assertEqual([each["outcome"] for each in told], ["clean", "infected", "unscannable", "error", "error"])
        self.assertEqual(told[0]["findings"], [])
        [found] = told[1]["findings"]
        self.assertEqual(found["engine"], "clamav")
        self.assertIn("EICAR", found["name"])
        self.assertEqual([each["reason"] for each in told[2]["findings"]], ["encrypted"])
        self.assertEqual([each["findings"][0]["reason"] for each in told[3:]], ["storage", "storage"])

    def test_odd_names(self):
        for name in ("new\nline", "esc\x1b[2J", "-", "--json", "a b", "quote\"", "\udcff", "%s%n", "x" * 255):
            self.write(name, mail(text=EICAR + b"\r\n"))
            status, lines, errors = self.scan("--json", self.place / name)
            self.assertEqual((status, len(lines)), (INFECTED, 1), errors)
            if name != "\udcff":
                self.assertEqual(json.loads(lines[0])["file"], self.place / name)
            status, lines, errors = self.scan(self.place / name)
            self.assertEqual((status, len(lines)), (INFECTED, 1), errors)
            self.assertTrue(lines[0].isprintable(), lines)
        status, lines, errors = self.scan("--", "--json", cwd=self.place.path)
        self.assertEqual((status, len(lines)), (INFECTED, 1), errors)

    def test_standard_input(self):
        clean, infected, _ = self.files()
        for content, wanted in ((mail(), CLEAN), (mail(text=EICAR + b"\r\n"), INFECTED), (b"", CLEAN)):
            self.assertEqual(self.scan("-", given=content)[0], wanted)
        with open(infected, "rb") as file:
            self.assertEqual(self.scan("-", stdin=file)[0], INFECTED)
        status, lines, _ = self.scan(clean, "-", infected, given=mail())
        self.assertEqual((status, [line.split(": ")[1][:8] for line in lines]), (INFECTED, ["clean", "clean", "infected"]))
        status, lines, _ = self.scan("-", preexec_fn=lambda: os.close(0))
        self.assertEqual(status, OTHER, lines)

    def test_what_is_no_file_to_read(self):
        os.symlink("loop", self.place / "loop")
        for name in (self.place.path, self.place / "absent", self.place / "loop", "/proc/self/mem", "", "x" * 5000):
            status, lines, errors = self.scan(name)
            self.assertEqual((status, len(lines)), (OTHER, 1), (name, errors))
            self.assertRegex(lines[0], r": error\(storage: ")

    @unittest.skipUnless(IS_ROOT, "needs root to become somebody else")
    def test_unreadable_file(self):
        secret = self.write("secret.eml", mail())
        os.chmod(secret, 0o600)
        programs = [shutil.copy(path, self.place.path) for path in (PROGRAM, SCANNER)]

        def nobody():
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)

        status, lines, errors = self.scan(secret, self.write("open.eml", mail()), program=programs[0], preexec_fn=nobody,
                                          env={"GATEPOST_SCANNER": programs[1]})
        self.assertEqual(status, OTHER, errors)
        self.assertIn("Permission denied", lines[0])
        self.assertTrue(lines[1].endswith(": clean"), lines)

    def test_file_that_vanishes(self):
        """Before its turn it is an error; while it is read, it is scanned whole."""
        os.mkfifo(self.place / "first")
        later = self.write("later.eml", mail())
        with self.start(self.place / "first", later) as process:
            with open(self.place / "first", "wb") as first:  # opens when scan does
                os.unlink(later)
                os.unlink(self.place / "first")
                first.write(mail(text=EICAR + b"\r\n"))
            said, _ = process.communicate(timeout=PATIENCE * 3)
        self.assertEqual(process.returncode, INFECTED)
        first, second = said.decode().splitlines()
        self.assertIn("infected", first)
        self.assertIn("error(storage: cannot open: No such file", second)

    def test_huge_file(self):
        """Sparse: 2 GiB that nobody has to copy to know that they are too many; and a pipe without end."""
        with open(self.place / "huge", "wb") as huge:
            huge.truncate(2 << 30)
        status, lines, errors = self.scan(self.place / "huge", self.write("clean.eml", mail()))
        self.assertEqual(status, OTHER, errors)
        self.assertRegex(lines[0], r": unscannable\(size")
        self.assertTrue(lines[1].endswith(": clean"), lines)

    def test_nowhere_to_say_it(self):
        with open("/dev/full", "wb") as full:
            self.assertEqual(self.scan(self.write("clean.eml", mail()), stdout=full)[0], OTHER)

    def test_leaves_nothing_and_ends_when_it_is_killed(self):
        def abandoned():
            return [name for where in ("/dev/shm", "/tmp") for name in os.listdir(where)
                    if name.startswith(("gatepost-scanner.", "gatepost-signatures."))]
        before = set(abandoned())
        self.scan(self.write("clean.eml", mail()))
        self.assertEqual(set(abandoned()) - before, set())

    def test_help(self):
        for words in (["scan", "--help"], ["--help"]):
            done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
            wanted = ("FILE", "- is standard input", "--json", "--signatures", "--config", "/var/lib/clamav")
            for part in wanted if words[0] == "scan" else ("scan: 0 all clean, 1 something infected or suspicious", "anything else",
                                                           *(f"  {name} " for name in ("serve", "check", "config", "scan"))):
                self.assertIn(part, done.stdout)
        for words in ([], ["--json"], ["--signatures"], ["--no-such", "x"]):
            done = subprocess.run([PROGRAM, "scan", *words], capture_output=True, text=True, timeout=PATIENCE)
            self.assertEqual((done.returncode, done.stdout), (64, ""), words)
            self.assertTrue(done.stderr.startswith("gatepost: "), done.stderr)


if __name__ == "__main__":
    unittest.main()
