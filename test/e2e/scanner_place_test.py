#!/usr/bin/env python3
"""Where gatepost-scanner unpacks: a private tmpfs, else memory that it shares, else the disk; said at the start, limited,
and empty after every message, whatever became of its worker."""
import ctypes
import os
import random
import signal
import unittest

from common import Gatepost, Place, config_for
from scanner_mails import EICAR, gzipped, mail, zipped
from scanner_program import Scanner, wait_dead

IS_ROOT = os.geteuid() == 0
ON_DISK = "/var/tmp"
_libc = ctypes.CDLL(None, use_errno=True)


def checked(outcome):
    if outcome != 0:
        raise OSError(ctypes.get_errno(), "preexec")


def no_mounts():
    """For preexec: what follows may be root, but may not mount."""
    checked(_libc.prctl(24, 21, 0, 0, 0))  # PR_CAPBSET_DROP, CAP_SYS_ADMIN


def no_shared_memory():
    """For preexec: /dev/shm cannot be written, and nothing can be mounted."""
    checked(_libc.unshare(0x00020000))  # CLONE_NEWNS
    checked(_libc.mount(b"none", b"/", None, 0x4000 | 0x40000, None))  # MS_REC | MS_PRIVATE
    checked(_libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 1, None))  # MS_RDONLY
    no_mounts()


def marked(marker):
    return mail(first=b"X-Gatepost-Test: " + marker + b"\r\n")


def is_tmpfs(path):
    with open("/proc/self/mounts") as mounts:
        kinds = {line.split()[1]: line.split()[2] for line in mounts}
    while path not in kinds:
        path = os.path.dirname(path)
    return kinds[path] == "tmpfs"


class Emptied(unittest.TestCase):
    """The same for every place; each test names one."""

    def check(self, scanner):
        self.assertEqual(scanner.leftovers(), [])
        noise = random.Random(5).randbytes(600_000)
        for content, outcome in ((mail((b"a.zip", zipped({"n": noise, "m": noise}))), "clean"), (marked(b"litter"), "clean"),
                                 (mail((b"e.gz", gzipped(noise + EICAR))), "infected"), (marked(b"crash"), "error"),
                                 (marked(b"exit"), "error")):
            self.assertEqual(scanner.scan(content).outcome, outcome)
            self.assertEqual(scanner.leftovers(), [], content[:200])
        self.check_killed_in_mid_scan(scanner)
        report = scanner.scan(marked(b"hang"), limit_ms=300)
        self.assertEqual(report.findings[0].reason, "time")
        self.assertEqual(scanner.scan(mail()).outcome, "clean")  # by the successor, which starts when all is tidy
        self.assertEqual(scanner.leftovers(), [])

    def check_killed_in_mid_scan(self, scanner):
        """kill -9 as soon as the worker has files; its successor finds none."""
        scanner.request(1, marked(b"hang"))
        while not scanner.leftovers():
            os.sched_yield()
        for pid in scanner.workers():
            os.kill(pid, signal.SIGKILL)
        report = scanner.report()
        self.assertEqual((report.id, report.findings[0].failure), (1, "killed"))
        self.assertEqual(scanner.scan(mail()).outcome, "clean")
        self.assertEqual(scanner.leftovers(), [])


@unittest.skipUnless(IS_ROOT, "needs root")
class AsRoot(Emptied):
    def test_private_tmpfs_over_a_disk(self):
        self.check_private(ON_DISK)

    def test_private_tmpfs_over_another(self):
        """A shared tmpfs has no limit of ours: messages could fill it for everybody."""
        self.check_private("/dev/shm")

    def check_private(self, parent):
        with Scanner(workers=1, parent=parent, max_scan_size=300 << 20) as scanner:
            self.assertIn("in a private tmpfs of 300 MiB", scanner.said())
            self.assertEqual(os.listdir(scanner.directory), [], "seen from outside")
            room = os.statvfs(scanner.place)
            self.assertEqual(room.f_blocks * room.f_frsize, 300 << 20)
            self.check(scanner)

    def test_size_by_workers(self):
        for workers, given, wanted in ((3, 0, 1200), (2, 1 << 20, 512)):  # MiB; libclamav's default is 400 each
            with Scanner(workers=workers, max_scan_size=given) as scanner:
                room = os.statvfs(scanner.place)
                self.assertEqual(room.f_blocks * room.f_frsize, wanted << 20)

    def test_full(self):
        """What does not fit is error(storage), for that message alone."""
        content = mail((b"n.bin", random.Random(6).randbytes(600_000)))
        with Scanner(workers=1, max_scan_size=64 << 20) as scanner:
            self.assertEqual(scanner.scan(content).outcome, "clean")
            with open(scanner.place + "/filler", "wb") as filler:
                room = os.statvfs(scanner.place)
                os.posix_fallocate(filler.fileno(), 0, room.f_bavail * room.f_frsize)
                report = scanner.scan(content)
                self.assertEqual((report.outcome, report.findings[0].failure), ("error", "storage"), report)
            os.unlink(filler.name)
            self.assertEqual(scanner.scan(content).outcome, "clean")
            self.assertEqual(scanner.leftovers(), [])

    def test_shared_memory(self):
        with Scanner(workers=1, parent=ON_DISK, preexec=no_mounts) as scanner:
            said = scanner.said()
            self.assertRegex(said, r"kept in memory, in /dev/shm/gatepost-scanner\.\S+, with \d+ MiB free and shared")
            self.use(scanner, said)
            self.check(scanner)
        self.assertFalse(os.path.exists(scanner.directory), "left in /dev/shm")

    def test_on_a_tmpfs_already(self):
        with Scanner(workers=1, preexec=no_mounts) as scanner:
            said = scanner.said()
            self.assertIn(f"kept in memory, in {scanner.directory}/gatepost-scanner.", said)
            self.use(scanner, said)
            self.check(scanner)

    @unittest.skipIf(is_tmpfs(ON_DISK), f"{ON_DISK} is no disk")
    def test_disk(self):
        with Scanner(workers=1, parent=ON_DISK, preexec=no_shared_memory) as scanner:
            said = scanner.said()
            self.assertIn(f"kept on disk, in {scanner.directory}/gatepost-scanner.", said)
            self.use(scanner, said)
            self.check(scanner)

    def test_nowhere(self):
        with Scanner(workers=1, temporary_directory="/nowhere", preexec=no_shared_memory, greet=False) as scanner:
            status, said = scanner.ended()
            self.assertEqual((status, said.count("\n")), (71, 1), said)
            self.assertRegex(said, "/dev/shm or /nowhere")

    def use(self, scanner, said):
        """The directory that it has named: private, and what leftovers() looks into."""
        named = said.split("gatepost-scanner.", 1)[1].split(":")[0].split(",")[0]
        parent = "/dev/shm" if "/dev/shm/gatepost-scanner" in said else scanner.directory
        path = f"{parent}/gatepost-scanner.{named}"
        self.assertEqual(os.stat(path).st_mode & 0o7777, 0o700)
        if parent != scanner.directory:
            os.rmdir(scanner.directory)
            scanner.directory = path

    def remove_place(self, scanner):
        for parent, directories, _ in os.walk(scanner.place, topdown=False):
            for name in directories:
                os.rmdir(os.path.join(parent, name))

    def test_somebody_removes_it(self):
        """Inside the private tmpfs the workers' directories are made anew; a whole place cannot be: another scanner must."""
        content = mail((b"a.bin", b"hello"))
        with Scanner(workers=1) as scanner:
            self.assertEqual(scanner.scan(content).outcome, "clean")
            self.remove_place(scanner)
            self.assertEqual(scanner.scan(content).findings[0].failure, "storage")
            self.assertEqual(scanner.scan(content).outcome, "clean")
        with Scanner(workers=1, preexec=no_mounts) as scanner:
            self.assertEqual(scanner.scan(content).outcome, "clean")
            self.remove_place(scanner)
            self.assertEqual(scanner.scan(content).findings[0].failure, "storage")
            status, said = scanner.ended()  # for the supervisor to start another
            self.assertEqual(status, 71)
            self.assertIn(scanner.directory, said)

    def test_abandoned(self):
        """A killed scanner leaves its directory; the next one there removes it, but none that is in use."""
        with Scanner(preexec=no_mounts) as scanner:
            workers = scanner.workers()
            scanner.request(1, marked(b"hang"))
            while not scanner.leftovers():
                os.sched_yield()
            scanner.process.kill()
            self.assertTrue(wait_dead([scanner.process.pid, *workers]))
            [left] = os.listdir(scanner.directory)
            with Scanner(temporary_directory=scanner.directory, preexec=no_mounts) as first:
                self.assertEqual(len(os.listdir(scanner.directory)), 1)
                self.assertNotIn(left, os.listdir(scanner.directory))
                with Scanner(temporary_directory=scanner.directory, preexec=no_mounts):
                    self.assertEqual(len(os.listdir(scanner.directory)), 2)
                self.assertEqual(first.scan(mail()).outcome, "clean")

    def test_serve_says_it(self):
        place = Place()
        self.addCleanup(place.remove)
        gatepost = self.enterContext(Gatepost(place, config_for(place)))
        self.assertIn("in a private tmpfs of 800 MiB", gatepost.log.wait_for("temporary files"))


class WithoutADirectory(unittest.TestCase):
    def test_shared_memory(self):
        with Scanner(workers=1, temporary_directory="") as scanner:
            self.assertIn("kept in memory, in /dev/shm/gatepost-scanner.", scanner.said())
            self.assertEqual(scanner.scan(mail((b"e.zip", zipped({"e.com": EICAR})))).outcome, "infected")


if __name__ == "__main__":
    unittest.main()
