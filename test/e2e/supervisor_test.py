#!/usr/bin/env python3
"""The processes themselves: privileges, descriptors, restarts with back-off, readiness, INT, the embedded defaults, and
the commands beside serve."""
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import unittest

from common import IS_ROOT, PATIENCE, PROGRAM, Gatepost, Place, config_for, descriptors_of, maildir_files, wait_until
from scanner_mails import EICAR, mail

CLEAN = b"From: a@example.org\r\nSubject: test\r\n\r\nhello\r\n"
NO_CAPABILITIES = "0" * 16


class InPlace(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def gatepost(self, config=None, **more):
        return self.enterContext(Gatepost(self.place, config or config_for(self.place), **more))

    def command(self, *words, **more):
        return subprocess.run([PROGRAM, *words], capture_output=True, timeout=PATIENCE * 3, **more)


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


class Processes(InPlace):
    @unittest.skipUnless(IS_ROOT, "needs root: otherwise there is nothing to drop")
    def test_nobody_below_the_supervisor_has_privileges(self):
        gatepost = self.gatepost()
        children = gatepost.children()
        self.assertEqual(len(children), 5)  # proxy, keeper, scanner and its two workers
        for pid in children:
            status = status_of(pid)
            self.assertNotIn("0", status["Uid"].split() + status["Gid"].split())
            self.assertEqual(status["Groups"].split(), [])
            for name in ("CapEff", "CapPrm", "CapInh", "CapAmb"):
                self.assertEqual(status[name], NO_CAPABILITIES, (pid, name))
            self.assertEqual(status["NoNewPrivs"], "1")

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_nobody_holds_what_is_not_theirs(self):
        gatepost = self.gatepost()
        inodes = listening_inodes(gatepost.port)
        self.assertEqual(len(inodes), 2)  # one per loop

        def holders(pid):
            return {fd for fd in descriptors_of(pid) if fd in inodes}

        self.assertEqual(holders(gatepost.child("proxy")), inodes)
        for role in ("keeper", "scanner"):
            self.assertEqual(holders(gatepost.child(role)), set())
        # One that has been started this moment may not have closed it yet.
        wait_until(lambda: not [pid for pid in gatepost.children() if pid != gatepost.child("scanner")
                                and any("signalfd" in fd for fd in descriptors_of(pid))], "signals are the supervisor's alone")

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_restarts_pause_longer_each_time(self):
        gatepost = self.gatepost(config_for(self.place, scan=False))
        for pause in (100, 200, 400):
            keeper = gatepost.child("keeper")
            os.kill(keeper, signal.SIGKILL)
            gatepost.log.wait_for(rf"the keeper \(pid {keeper}\) ended: SIGKILL; a new one starts in {pause} ms")
        gatepost.child("keeper")
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_port_stays_open_without_a_proxy(self):
        gatepost = self.gatepost(config_for(self.place, scan=False))
        for _ in range(3):
            os.kill(gatepost.child("proxy"), signal.SIGKILL)
            with gatepost.wire() as wire:  # connects now, is served by the next one
                self.assertEqual(wire.reply()[0], 220)

    def test_int_ends_an_idle_gatepost_at_once(self):
        gatepost = self.gatepost()
        gatepost.signal(signal.SIGINT)
        self.assertEqual(gatepost.wait()[0], 0)

    def test_term_while_it_starts(self):
        gatepost = self.gatepost(wait_ready=False)
        gatepost.log.wait_for("gatepost .* starts")
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)

    def test_tells_the_service_manager(self):
        path = self.place / "notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
            manager.bind(path)
            manager.settimeout(PATIENCE)
            os.environ["NOTIFY_SOCKET"] = path
            self.addCleanup(os.environ.pop, "NOTIFY_SOCKET", None)
            gatepost = self.gatepost()
            self.assertEqual(manager.recv(100), b"READY=1")
            gatepost.signal(signal.SIGTERM)
            self.assertEqual(manager.recv(100), b"STOPPING=1")

    def test_scanner_that_is_not_installed(self):
        os.environ["GATEPOST_SCANNER"], before = "/nonexistent", os.environ["GATEPOST_SCANNER"]
        try:
            gatepost = self.gatepost()
        finally:
            os.environ["GATEPOST_SCANNER"] = before
        gatepost.log.wait_for("/nonexistent cannot be started: .* mail is deferred")
        with gatepost.wire() as wire:
            wire.to_data()
            wire.send(CLEAN + b".\r\n")
            self.assertEqual(wire.reply()[0], 451)


def listening_inodes(port):
    """As /proc/PID/fd shows them."""
    with open("/proc/net/tcp") as file:
        rows = [line.split() for line in file][1:]
    return {f"socket:[{row[9]}]" for row in rows if int(row[1].split(":")[1], 16) == port and row[3] == "0A"}


@unittest.skipUnless(IS_ROOT, "needs root for a /dev of its own")
class Syslog(InPlace):
    def own_log_device(self):
        """In a mount namespace of the program's: a /dev whose log is ours."""
        new = self.place / "dev"
        os.mkdir(new)
        ctypes.CDLL(None).unshare(0x20000)  # CLONE_NEWNS
        steps = ("mount --make-rprivate /", f"mount -t tmpfs none {new}", f"mknod -m 666 {new}/null c 1 3", f"mkdir {new}/shm",
                 f"ln -s {self.place / 'log'} {new}/log", f"mount --move {new} /dev")
        subprocess.run(" && ".join(steps), shell=True, check=True)

    def test_all_processes_speak_to_it(self):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as daemon:
            daemon.bind(self.place / "log")
            os.chmod(self.place / "log", 0o666)
            daemon.settimeout(PATIENCE)
            config = config_for(self.place, scan=False, log={"format": "text", "to": "syslog"})
            gatepost = self.gatepost(config, preexec=self.own_log_device)
            with gatepost.smtp() as client:
                client.sendmail("a@example.org", ["b@example.org"], CLEAN)
            # mail.info, and no time of our own besides syslog's.
            shape = re.compile(rb"<22>... [ \d]\d \d\d:\d\d:\d\d gatepost/proxy\[\d+\]: \S+: client=.* from=<a@example.org>")
            while not shape.match(daemon.recv(9000)):
                pass


class Embedded(InPlace):
    def serve(self):
        return self.enterContext(Gatepost(self.place, arguments=["--state", self.place / "state"]))

    def test_first_try(self):
        gatepost = self.serve()
        gatepost.log.wait_for("THE TEST SIGNATURES PROTECT NOBODY")
        gatepost.log.wait_for("gatepost is serving")
        with gatepost.smtp() as client:
            client.sendmail("a@example.org", ["Bob@Example.org"], CLEAN)
        stored = maildir_files(self.place / "state/mail")
        self.assertEqual(len(stored), 1)
        self.assertIn("/state/mail/example.org/Bob/new/", next(iter(stored)))

    def test_second_one_takes_the_next_free_port(self):
        first = self.serve()
        other = Place()
        self.addCleanup(other.remove)
        second = self.enterContext(Gatepost(other, arguments=["--state", other / "state"]))
        self.assertGreater(second.port, first.port)
        second.log.wait_for(f"port 2525 is taken: using port {second.port}")
        ports = {address.rsplit(":", 1)[1] for address in second.listeners.values()}
        self.assertEqual(len(ports), 1)  # IPv4 and IPv6 alike


class Commands(InPlace):
    def config_file(self, **more):
        name = self.place / "gatepost.json"
        with open(name, "w") as file:
            json.dump(config_for(self.place, **more), file)
        return name

    def test_usage(self):
        for words, why in (((), "no command"), (("srve",), 'did you mean "serve"'), (("config", "shw"), "shw"), (("check",), "config"),
                           (("serve", "--ready-fd", "99"), "99"), (("scan",), "FILE"), (("serve", "--bogus"), "bogus")):
            result = self.command(*words)
            self.assertEqual((result.returncode, result.stdout), (64, b""), words)
            self.assertIn(why, result.stderr.decode())
        for words in (("--help",), ("scan", "--help"), ("--version",)):
            result = self.command(*words)
            self.assertEqual((result.returncode, result.stderr), (0, b""), words)
            self.assertIn(b"gatepost", result.stdout)

    def test_check(self):
        name = self.config_file()
        self.assertEqual(self.command("check", "-c", name).returncode, 0)
        told = json.loads(self.command("check", "-c", name, "--json").stdout)
        self.assertEqual((told["ok"], told["errors"]), (True, []))
        wrong = self.config_file(hostnam="x")
        result = self.command("check", "-c", wrong)
        self.assertEqual(result.returncode, 78)
        self.assertRegex(result.stderr.decode(), r"gatepost\.json:1:\d+: ")
        told = json.loads(self.command("check", "-c", wrong, "--json").stdout)
        self.assertEqual((told["ok"], told["errors"][0]["pointer"]), (False, "/hostnam"))

    def test_config(self):
        name = self.config_file()
        shown = self.command("config", "show", "-c", name)
        self.assertEqual(json.loads(shown.stdout)["hostname"], "gatepost.example")
        json.loads(self.command("config", "schema").stdout)
        self.assertIn("scan_wait", self.command("config", "manual").stdout.decode())
        self.assertEqual(self.command("config", "show").returncode, 64)
        with open("/dev/full", "w") as full:
            result = subprocess.run([PROGRAM, "config", "manual"], stdout=full, stderr=subprocess.PIPE, timeout=PATIENCE)
        self.assertEqual(result.returncode, 74)

    def scan(self, *files, octets=b""):
        result = self.command("scan", *files, "--signatures", self.place.signatures(), input=octets)
        return result.returncode, result.stdout.decode(), result.stderr.decode()

    def test_scan(self):
        clean, bad = self.place / "clean.eml", self.place / "bad.eml"
        for name, content in ((clean, CLEAN), (bad, mail(text=EICAR + b"\r\n"))):
            with open(name, "wb") as file:
                file.write(content)
        self.assertEqual(self.scan(clean), (0, f"{clean}: clean\n", ""))
        status, said, _ = self.scan(clean, bad, "-", octets=CLEAN)
        self.assertEqual(status, 1)
        self.assertTrue(re.fullmatch(rf"{clean}: clean\n{bad}: infected\(Gatepost\.Test\.EICAR\S*\)\n-: clean\n", said), said)
        status, said, _ = self.scan(self.place / "missing", clean)
        self.assertEqual(status, 2)
        self.assertRegex(said, r"missing: error\(.*No such file.*\)\n.*clean\n$")
        self.assertEqual(self.scan(self.place.path)[0], 2)
        listed = self.command("scan", "--json", bad, "--signatures", self.place.signatures())
        self.assertEqual(json.loads(listed.stdout)["outcome"], "infected")

    def test_scan_without_signatures(self):
        result = self.command("scan", "/dev/null", "--signatures", self.place / "none")
        self.assertEqual((result.returncode, result.stdout), (2, b""))
        self.assertIn(b"none", result.stderr)

    def test_scan_of_a_large_file(self):
        name = self.place / "large"
        with open(name, "wb") as file:
            file.write(EICAR)
            file.truncate(40 << 20)
        status, said, _ = self.scan(name)
        self.assertEqual(status, 1, said)


class Sweep(InPlace):
    def test_ends_without_leavings(self):
        before = set(os.listdir("/dev/shm"))
        gatepost = self.gatepost()
        children = gatepost.children()
        gatepost.signal(signal.SIGTERM)
        self.assertEqual(gatepost.wait()[0], 0)
        wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in children), "all children are gone")
        left = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("gatepost-scanner.64103.")}
        self.assertEqual(left, set())
        for _, _, names in os.walk(self.place / "spool"):
            self.assertEqual(names, [])


if __name__ == "__main__":
    unittest.main()
