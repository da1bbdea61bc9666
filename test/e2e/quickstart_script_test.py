#!/usr/bin/env python3
"""appliance/quickstart around the demonstration: what it builds where, what it says, how it exits, what it leaves. A copy of
the checkout's appliance/ with the programs of this build; meson, ninja and dpkg-query are stand-ins that note their calls."""
import os
import shutil
import signal
import subprocess
import time
import unittest

from common import IS_ROOT, PATIENCE, PROGRAM, ROOT, SCANNER, Lines, Place, die_with_parent

ANYBODY = 64111
TOOLS = {
    "dpkg-query": 'for last; do :; done; case " $MISSING " in *" $last "*) exit 1 ;; *) printf installed ;; esac',
    "meson": """case $1 in
setup) [ -z "$MESON_FAILS" ] || { echo "meson: no compiler"; exit 1; }
  echo "setup $2" >>"$NOTES"; mkdir -p "$2" && echo release >"$2/type" && : >"$2/build.ninja" ;;
introspect) printf '[{"name":"buildtype","value":"%s"},{"name":"b_sanitize","value":"none"},{"name":"codecs_only","value":false}]' \\
  "$(cat "$3/type")" ;;
esac""",
    "ninja": """[ -z "$NINJA_FAILS" ] || { echo "FAILED: proxy/gatepost"; exit 1; }
echo "ninja $2" >>"$NOTES"; mkdir -p "$2/proxy" "$2/scanner" && cp "$PROGRAMS/gatepost" "$2/proxy/" && cp "$PROGRAMS/gatepost-scanner" "$2/scanner/" """,
}


@unittest.skipUnless(IS_ROOT and shutil.which("ip") and shutil.which("unshare") and os.path.exists("/usr/bin/python3"),
                     "needs root for a network namespace")
@unittest.skipUnless(os.path.exists("/usr/share/clamav-testfiles/clam.zip"), "clamav-testfiles is not installed")
class QuickstartScript(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)
        for name in ("tools", "programs", "checkout", "home"):
            os.mkdir(self.place / name)
        for name, script in TOOLS.items():
            with open(self.place / f"tools/{name}", "w") as out:
                out.write("#!/bin/sh\n" + script + "\n")
            os.chmod(out.name, 0o755)
        for path in (PROGRAM, SCANNER):
            shutil.copy(path, self.place / "programs")
        self.checkout = self.place / "checkout"
        shutil.copytree(os.path.join(ROOT, "appliance"), self.checkout + "/appliance")
        self.environment = {"PATH": self.place / "tools:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": self.place / "home",
                            "NOTES": self.place / "home/notes", "PROGRAMS": self.place / "programs"}
        self.state = self.place / "home/.local/state/gatepost-quickstart"
        self.give_to(ANYBODY)

    def give_to(self, uid, *paths):
        for path in paths or (self.checkout, self.place / "home"):
            subprocess.run(["chown", "-R", f"{uid}:{uid}", path], check=True)

    def start(self, *arguments, **environment):
        """As somebody without privileges, in a network of its own; a variable that is None is unset."""
        script = f'ip link set lo up; exec setpriv --reuid {ANYBODY} --regid {ANYBODY} --clear-groups "$@"'
        merged = {key: value for key, value in {**self.environment, **environment}.items() if value is not None}
        return subprocess.Popen(["unshare", "--net", "sh", "-c", script, "sh", self.checkout + "/appliance/quickstart", *arguments],
                                env=merged, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.STDOUT, preexec_fn=die_with_parent)

    def run_it(self, *arguments, **environment):
        with self.start(*arguments, **environment) as process:
            said = process.communicate(timeout=PATIENCE * 3)[0].decode()
        self.assertNotIn("Traceback", said)
        return process.returncode, said

    def notes(self):
        with open(self.place / "home/notes") as file:
            return file.read().split("\n")[:-1]

    def everything(self):
        found = set()
        for where in (self.place.path, "/tmp", "/var/tmp", "/dev/shm"):
            for name in os.listdir(where):
                if where == self.place.path or name.startswith("gatepost-s"):
                    found.add(os.path.join(where, name))
        for where in ("home", "checkout"):
            found |= {os.path.join(parent, name) for parent, _, names in os.walk(self.place / where) for name in names}
        return {name for name in found if "/checkout/build" not in name and not name.endswith("/notes")}

    def test_twice_and_clean(self):
        before = self.everything()
        status, said = self.run_it("--once")
        self.assertEqual(status, 0, said)
        self.assertEqual(said.count("as it should"), 3, said)
        self.assertIn(f"its files: {self.state}", said)
        began = time.monotonic()
        status, said = self.run_it("--once")
        self.assertEqual(status, 0, said)
        self.assertLess(time.monotonic() - began, PATIENCE)
        self.assertEqual(self.notes(), ["setup build", "ninja build", "ninja build"])
        self.assertTrue(os.path.exists(self.state))
        self.assertEqual(self.run_it("--clean"), (0, f"Removed {self.state}\n"))
        self.assertEqual(self.everything(), before)
        self.assertEqual(self.run_it("--clean"), (0, f"Nothing to remove: there is no {self.state}\n"))

    def test_as_root(self):
        """Its place is below /var/lib, which is another one here; no account is made."""
        self.give_to(0)
        script = ("ip link set lo up && mount -t tmpfs tmpfs /var/lib && q=$1 && sum=$(cat /etc/passwd /etc/group | cksum) &&"
                  "$q --once && ls /var/lib && $q --clean && ls -A /var/lib &&"
                  '[ "$sum" = "$(cat /etc/passwd /etc/group | cksum)" ]')
        done = subprocess.run(["unshare", "--net", "--mount", "sh", "-c", script, "sh", self.checkout + "/appliance/quickstart"],
                              env=self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE * 3)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines()[-2:], ["gatepost-quickstart", "Removed /var/lib/gatepost-quickstart"])

    def build_as(self, kind, owner=ANYBODY):
        os.mkdir(self.checkout + "/build")
        for name, text in (("type", kind), ("build.ninja", "")):
            with open(f"{self.checkout}/build/{name}", "w") as out:
                out.write(text)
        self.give_to(owner, self.checkout + "/build")

    def test_debug_build_is_left_alone(self):
        self.build_as("debug")
        status, said = self.run_it("--once")
        self.assertEqual(status, 0, said)
        self.assertIn("Building a release in build-release/", said)
        self.assertEqual(self.notes(), ["setup build-release", "ninja build-release"])
        self.assertEqual(sorted(os.listdir(self.checkout + "/build")), ["build.ninja", "type"])

    def test_build_of_somebody_else(self):
        """After a first try with sudo."""
        self.build_as("release", owner=0)
        status, said = self.run_it("--once")
        self.assertEqual(status, 0, said)
        self.assertEqual(self.notes(), ["setup build-release", "ninja build-release"])

    def test_interrupted_setup(self):
        os.makedirs(self.checkout + "/build/meson-private")
        self.give_to(ANYBODY)
        self.assertEqual(self.run_it("--once")[0], 0)
        self.assertEqual(self.notes(), ["setup build", "ninja build"])

    def test_checkout_of_somebody_else(self):
        self.give_to(0, self.checkout)
        status, said = self.run_it("--once")
        self.assertEqual((status, len(said.splitlines())), (77, 1), said)
        self.assertIn(f"{self.checkout} is not yours to write", said)

    def test_what_is_missing(self):
        status, said = self.run_it("--once", MISSING="meson clamav-testfiles")
        self.assertEqual(status, 77, said)
        self.assertIn("apt-get install --no-install-recommends meson clamav-testfiles\n", said)

    def test_no_build(self):
        for fault, words in (("MESON_FAILS", "meson: no compiler"), ("NINJA_FAILS", "FAILED: proxy/gatepost")):
            status, said = self.run_it("--once", **{fault: "1"})
            self.assertEqual(status, 70, said)
            self.assertIn(words, said)

    def test_no_place(self):
        status, said = self.run_it("--once", HOME=None)
        self.assertEqual((status, len(said.splitlines())), (78, 1), said)
        self.assertIn("HOME", said)
        status, said = self.run_it("--once", HOME="/nonexistent")
        self.assertEqual(status, 78, said)
        self.assertIn("/nonexistent/.local/state/gatepost-quickstart cannot be made or used: ", said)
        self.assertEqual(self.run_it("--once", HOME=None, XDG_STATE_HOME=self.place / "home/else")[0], 0)

    def test_message_that_ends_otherwise(self):
        """Without a scanner nothing is clean, and nothing infected."""
        status, said = self.run_it("--once", GATEPOST_SCANNER="/nonexistent")
        self.assertEqual((status, said.count("WRONG")), (1, 3), said)

    def test_command_line(self):
        status, said = self.run_it("--help")
        self.assertEqual(status, 0)
        for word in ("--once", "--clean", "Status: 0 all is well"):
            self.assertIn(word, said)
        self.assertNotIn("set -euo", said)
        self.assertEqual(self.run_it("--no-such"), (64, said))

    def test_clean_while_it_runs(self):
        process = self.start()
        lines = Lines(process.stdout)
        lines.wait_for("goes on serving")
        status, said = self.run_it("--clean")
        self.assertEqual(status, 75, said)
        self.assertIn("end it first", said)
        self.assertTrue(os.path.exists(self.state))
        process.send_signal(signal.SIGINT)
        process.wait(PATIENCE)
        lines.ended()
        self.assertEqual(process.returncode, 0, lines.tail())
        self.assertEqual(self.run_it("--clean")[0], 0)
        self.assertFalse(os.path.exists(self.state))


if __name__ == "__main__":
    unittest.main()
