#!/usr/bin/env python3
"""The real gatepost-scanner with the test signatures: verdicts, faults, limits and the end of processes.

GATEPOST_SCANNER names the program; default: build/scanner/gatepost-scanner.
"""
import os
import random
import resource
import signal
import socket
import subprocess
import tempfile
import time
import unittest
import zipfile

from scanner_mails import (EICAR, PREFIX, bzipped, encrypted_zip, gzipped, mail, nested_messages, nested_multiparts,
                           nested_zip, zipped)
from scanner_program import PROGRAM, SIGNATURES, Scanner, encode_request, encode_settings, memory_file, wait_dead

SECRET = (b"e.zip", encrypted_zip("a.txt", b"hello" * 100))
DEEP = (b"d.zip", nested_zip(b"hello", 25))
TEST_FILE = "/usr/share/clamav-testfiles/clam.exe"


def marked(marker):
    return mail(first=b"X-Gatepost-Test: " + marker + b"\r\n")


class Verdicts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scanner = Scanner(max_file_size=1_000_000, max_scan_size=20_000_000, max_files=100)
        cls.addClassCleanup(cls.scanner.__exit__)

    def tearDown(self):
        self.assertEqual(self.scanner.leftovers(), [])

    def check(self, content, outcome, reason="", name=None):
        report = self.scanner.scan(content)
        self.assertEqual(report.outcome, outcome, report)
        self.assertTrue(all(f.engine == "clamav" for f in report.findings), report)
        decisive = [f for f in report.findings if f.outcome == outcome]
        if reason:
            self.assertIn(reason, [f.reason for f in decisive])
        if name:
            self.assertTrue(any(name in f.name for f in decisive), report)
        return report

    def test_hello(self):
        self.assertEqual(self.scanner.hellos[0].signatures, 2)
        self.assertEqual(self.scanner.hellos[0].test_only, 1)
        self.assertRegex(self.scanner.hellos[0].version, r"^ClamAV \d")

    def test_clean(self):
        for content in (mail(), mail((b"a.bin", bytes(range(256)) * 40)), b"", b"\r\n", b"\r\nbody\r\n", b"Subject: x\r\n",
                        b"\0" * 1000, b"From me@example.org Thu Jan  1\r\n\r\nx\r\n", mail(text=b"x" * 300_000)):
            self.assertEqual(self.check(content, "clean").findings, [])

    def test_eicar(self):
        for content in (mail(text=EICAR + b"\r\n"), mail((b"e.com", EICAR)), mail((b"e.zip", zipped({"e.com": EICAR}))),
                        mail((b"e.gz", gzipped(EICAR))), mail((b"e.zip", nested_zip(EICAR, 5))),
                        nested_messages(mail((b"e.com", EICAR)), 3),
                        mail((b"noise", random.Random(1).randbytes(400_000)), (b"e.com", EICAR))):  # mapped, not copied
            self.check(content, "infected", name="Gatepost.Test.EICAR")

    @unittest.skipUnless(os.path.exists(TEST_FILE), "clamav-testfiles is not installed")
    def test_clamav_test_file(self):
        with open(TEST_FILE, "rb") as file:
            octets = file.read()
        for content in (mail((b"c.exe", octets)), mail((b"c.zip", zipped({"clam.exe": octets})))):
            self.check(content, "infected", name="Gatepost.Test.ClamAV")

    def test_first_header_does_not_hide_mail(self):
        for first in (b"DKIM-Signature: v=1; a=rsa-sha256\r\n", b"ARC-Seal: i=1\r\n", b"X-Any: 1\r\n", b"MZ: a\r\n",
                      b"Authentication-Results: x\r\n", b"Content-Type: text/plain\r\n", b"PK\3\4: a\r\n", b"%PDF-1.4: x\r\n",
                      b"GIF89a: x\r\n", b"From someone Thu Jan  1 00:00:00 1970\r\n", b" leading\r\n", b"\0\r\n"):
            with self.subTest(first=first):
                self.check(mail((b"e.com", EICAR), first=first), "infected", name="EICAR")

    def test_encrypted(self):
        self.check(mail(SECRET), "unscannable", "encrypted")

    def test_virus_wins(self):
        for parts in ((SECRET, (b"e.com", EICAR)), ((b"e.com", EICAR), SECRET), (DEEP, (b"e.com", EICAR)),
                      (SECRET, (b"e.zip", zipped({"e.com": EICAR})))):
            self.check(mail(*parts), "infected", name="EICAR")

    def test_recursion(self):
        self.check(mail(DEEP), "unscannable", "recursion")
        self.check(mail((b"d.zip", nested_zip(EICAR, 25))), "unscannable", "recursion")
        self.check(nested_multiparts(b"Content-Type: text/plain\r\n\r\nx\r\n", 60), "unscannable", "recursion")

    def test_no_reason_hides_another(self):
        for parts in ((SECRET, DEEP), (DEEP, SECRET)):
            report = self.check(mail(*parts), "unscannable")
            self.assertLessEqual({"encrypted", "recursion"}, {f.reason for f in report.findings})

    def test_files(self):
        self.check(mail((b"m.zip", zipped({str(i): b"x%d" % i for i in range(200)}))), "unscannable", "files")

    def test_sizes(self):
        padding = random.Random(2).randbytes(4096) * 300
        for octets in (zipped({"1": padding + EICAR}), zipped({"1": padding + EICAR}, zipfile.ZIP_BZIP2),
                       gzipped(padding + EICAR), bzipped(padding + EICAR), nested_zip(zipped({"1": padding}), 2)):
            self.check(mail((b"big", octets)), "unscannable", "size")
        self.check(mail(text=b"x\r\n" * 400_000), "unscannable", "size")
        self.check(mail((b"bomb.zip", zipped({str(i): b"\0" * 990_000 for i in range(40)}))), "unscannable", "size")

    def test_exact_size_limit(self):
        self.check(mail((b"a.zip", zipped({"1": b"A" * 1_000_000}))), "clean")
        self.check(mail((b"a.zip", zipped({"1": b"A" * 1_000_001}))), "unscannable", "size")

    def test_litter_is_removed(self):
        self.check(marked(b"litter"), "clean")  # tearDown looks

    def test_wrong_length_is_no_verdict(self):
        for octets in (PREFIX, PREFIX + b"x" * 99, PREFIX + b"x" * 101, b""):
            for size in (100, 1_000_000):
                fd = memory_file(octets)
                self.scanner.send(encode_request(5, len(PREFIX), size), [fd])
                os.close(fd)
                report = self.scanner.report()
                if (len(octets), size) != (len(PREFIX) + 100, 100):
                    self.assertEqual([f.failure for f in report.findings], ["storage"], report)

    def test_other_descriptors_are_no_verdict(self):
        read, write = os.pipe()
        for fd in (read, os.open("/", os.O_RDONLY), os.open("/dev/zero", os.O_RDONLY), os.open("/dev/null", os.O_WRONLY)):
            for size in (100, 1_000_000):
                self.scanner.send(encode_request(6, 0, size), [fd])
                self.assertEqual(self.scanner.report().outcome, "error")
            os.close(fd)
        os.close(write)

    def test_regular_file_at_any_offset(self):
        for octets in (mail((b"e.com", EICAR)), mail((b"x", bytes(500_000)), (b"e.com", EICAR))):
            with tempfile.NamedTemporaryFile() as file:
                file.write(PREFIX + octets)
                file.flush()
                fd = os.open(file.name, os.O_RDONLY)
                os.lseek(fd, 17, os.SEEK_SET)
                self.scanner.send(encode_request(7, len(PREFIX), len(octets)), [fd])
                os.close(fd)
                self.assertEqual(self.scanner.report().outcome, "infected")


class Faults(unittest.TestCase):
    def test_each_fault_hits_its_own_message(self):
        with open(PROGRAM, "rb") as file:
            dies_instead = b"__asan_init" in file.read()  # AddressSanitizer's operator new never throws
        faults = {b"crash": "crashed", b"abort": "crashed", b"exit": "crashed", b"hang": "",
                  b"bloat": "crashed" if dies_instead else "memory"}
        with Scanner(memory_limit=64 << 20) as scanner:
            expected = {}
            for number in range(60):
                marker = list(faults)[number // 11] if number % 11 == 5 and number // 11 < len(faults) else None
                expected[number] = marker
                scanner.request(number, marked(marker) if marker else mail(text=b"%d\r\n" % number),
                                limit_ms=500 if marker == b"hang" else 0)
            reports = {report.id: report for report in (scanner.report() for _ in range(60))}
            self.assertEqual(len(reports), 60)
            for number, marker in expected.items():
                report = reports[number]
                if marker is None:
                    self.assertEqual(report.outcome, "clean", report)
                elif marker == b"hang":
                    self.assertEqual([(f.outcome, f.reason) for f in report.findings], [("unscannable", "time")])
                else:
                    self.assertEqual([f.failure for f in report.findings], [faults[marker]], report)
            for signal_name, marker in (("SIGSEGV", b"crash"), ("SIGABRT", b"abort"), ("exit status 3", b"exit")):
                number = next(n for n, m in expected.items() if m == marker)
                self.assertEqual(reports[number].findings[0].name, signal_name)
            self.assertEqual(scanner.scan(mail()).outcome, "clean")

    def test_crash_after_crash(self):
        with Scanner(workers=1) as scanner:
            for number in range(12):
                scanner.request(number, marked(b"crash"))
            self.assertEqual([scanner.report().findings[0].failure for _ in range(12)], ["crashed"] * 12)
            self.assertEqual(scanner.scan(mail()).outcome, "clean")

    def test_killed_at_the_limit_and_nothing_left(self):
        with Scanner(workers=1, scan_limit_ms=700) as scanner:
            for asked in (300, 0, 60_000):  # never longer than the settings say
                start = time.monotonic()
                report = scanner.scan(marked(b"hang"), limit_ms=asked)
                self.assertLess(time.monotonic() - start, (asked if asked == 300 else 700) / 1000 + 1)
                self.assertEqual((report.outcome, report.findings[0].reason), ("unscannable", "time"))
                self.assertEqual(scanner.scan(mail()).outcome, "clean")  # by the successor
                self.assertEqual(scanner.leftovers(), [])

    def test_worker_killed_by_somebody(self):
        with Scanner(workers=1, queue=0) as scanner:
            scanner.request(1, marked(b"hang"))
            scanner.request(2, mail())
            self.assertEqual(scanner.report().findings[0].failure, "busy")  # so the worker has the first
            for pid in scanner.workers():
                os.kill(pid, signal.SIGKILL)
            report = scanner.report()
            self.assertEqual((report.id, report.findings[0].failure), (1, "killed"))
            scanner.request(3, mail())
            while (report := scanner.report()).findings:  # until the successor lives
                self.assertEqual(report.findings[0].failure, "busy")
                scanner.request(3, mail())
            self.assertEqual(report.outcome, "clean")

    def test_markers_mean_nothing_without_test_hooks(self):
        with Scanner(test_hooks=False) as scanner:
            for marker in (b"crash", b"abort", b"exit", b"hang", b"bloat"):
                self.assertEqual(scanner.scan(marked(marker)).outcome, "clean")

    def test_full_temporary_directory_is_never_clean(self):
        def small_files():
            resource.setrlimit(resource.RLIMIT_FSIZE, (16384, 16384))

        with Scanner(workers=1, preexec=small_files) as scanner:
            noise = random.Random(3).randbytes(300_000)
            for content in (mail((b"a.zip", zipped({"n": noise, "e.com": EICAR}))), mail((b"noise", noise)),
                            mail((b"a.zip", zipped({"n": b"A" * 300_000})))):
                report = scanner.scan(content)
                self.assertEqual(report.outcome, "error", report)
                self.assertIn("storage", [f.failure for f in report.findings])
            self.assertEqual(scanner.scan(mail()).outcome, "clean")

    def test_missing_temporary_directory_is_never_clean(self):
        with Scanner(workers=1) as scanner:
            self.assertEqual(scanner.scan(mail()).outcome, "clean")
            for parent, directories, _ in os.walk(scanner.directory, topdown=False):
                for name in directories:
                    os.rmdir(os.path.join(parent, name))
            report = scanner.scan(mail((b"a.bin", b"hello")))
            self.assertEqual([f.failure for f in report.findings][:1], ["storage"], report)
            status, said = scanner.ended()  # for the supervisor to start another
            self.assertEqual(status, 71)
            self.assertIn(scanner.directory, said)


class Dispatch(unittest.TestCase):
    def test_full_queue_and_cancel(self):
        with Scanner(workers=1, queue=2) as scanner:
            scanner.request(1, marked(b"hang"), limit_ms=800)
            for number in (2, 3, 4):
                scanner.request(number, mail())
            busy = scanner.report()
            self.assertEqual((busy.id, busy.findings[0].failure), (4, "busy"))
            scanner.cancel(2)
            scanner.cancel(99)
            scanner.request(5, mail())  # takes the place of 2
            self.assertEqual([scanner.report().id for _ in range(3)], [1, 3, 5])
            scanner.request(6, mail())
            self.assertEqual(scanner.report().id, 6)  # and never 2

    def test_closed_socket_drops_only_its_own_jobs(self):
        with Scanner(loops=2, workers=1) as scanner:
            scanner.request(1, marked(b"hang"), limit_ms=400, loop=0)
            scanner.request(2, mail(), loop=0)
            scanner.sockets[0].close()
            scanner.request(3, mail(), loop=1)
            report = scanner.report(loop=1)
            self.assertEqual((report.id, report.outcome), (3, "clean"))
            scanner.sockets[1].close()
            self.assertEqual(scanner.ended()[0], 0)

    def test_garbage_drops_the_connection_only(self):
        fd = memory_file(b"x")
        garbage = [(b"x", []), (b"Q", [fd]), (encode_request(1, 0, 1), []), (encode_request(1, 0, 1), [fd, fd]),
                   (encode_request(1, 0, 1) + b"x", [fd]), (encode_request(1, 0, 1, kind=7), [fd]),
                   (encode_request(1, 1 << 20, 1), [fd]), (encode_request(1, 0, 1 << 63), [fd]),
                   (b"Q" * 65536, [fd]), (b"Q" * 70000, []), (random.Random(4).randbytes(500), [fd] * 8)]
        with Scanner(loops=len(garbage) + 1) as scanner:
            for loop, (packet, fds) in enumerate(garbage):
                with self.subTest(packet=packet[:40]):
                    scanner.send(packet, fds, loop)
                    self.assertEqual(scanner.packet(loop), b"")
                    scanner.request(1, mail(), loop=len(garbage))
                    self.assertEqual(scanner.report(len(garbage)).outcome, "clean")
        os.close(fd)

    def test_reader_that_does_not_read(self):
        with Scanner(loops=2, queue=10_000) as scanner:
            lazy = scanner.sockets[0]
            lazy.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            lazy.setblocking(False)
            sent = 0
            try:
                while sent < 900:  # unprivileged, no more than RLIMIT_NOFILE descriptors may be under way
                    scanner.request(sent, mail(), loop=0)
                    sent += 1
            except BlockingIOError:
                pass
            scanner.request(1, mail(), loop=1)
            self.assertEqual(scanner.report(loop=1).outcome, "clean")
            lazy.setblocking(True)
            self.assertGreater(sent, 500)
            self.assertEqual(sorted(scanner.report(0).id for _ in range(sent)), list(range(sent)))

    @unittest.skipUnless(os.geteuid() == 0, "only root may look at the descriptors")
    def test_many_messages_leak_no_descriptor(self):
        with Scanner() as scanner:
            def count():
                return len(os.listdir(f"/proc/{scanner.process.pid}/fd"))
            scanner.scan(mail())
            before = count()
            for number in range(200):
                scanner.request(number, mail())
            self.assertEqual({scanner.report().outcome for _ in range(200)}, {"clean"})
            self.assertEqual(count(), before)


class Ends(unittest.TestCase):
    def refuses(self, *words, **settings):
        with Scanner(greet=False, **settings) as scanner:
            status, said = scanner.ended()
            self.assertEqual((status, said.count("\n")), (78, 1), said)
            self.assertEqual(scanner.packet(), b"")
            for word in words:
                self.assertIn(word, said)
            self.assertEqual(scanner.leftovers(), [])

    def test_no_usable_signatures(self):
        with tempfile.TemporaryDirectory() as directory:
            os.chmod(directory, 0o755)
            broken = os.path.join(directory, "broken.ndb")
            empty = os.path.join(directory, "empty.ndb")
            with open(broken, "w") as file:
                file.write("this is no signature\n")
            with open(empty, "w"):
                pass
            bare = os.path.join(directory, "bare")
            os.mkdir(bare)
            for path in (bare, broken, empty, os.path.join(directory, "absent")):
                with self.subTest(path=path):
                    self.refuses(path, "freshclam", signatures=[path])
                    self.refuses(path, "freshclam", signatures=[SIGNATURES, path])
        self.refuses("signatures", signatures=[])

    def test_broken_settings(self):
        for workers in (0, 257):
            self.refuses("workers", workers=workers)
        self.refuses("scan limit", scan_limit_ms=0)

    def test_command_line(self):
        for words, status in ((["--help"], 0), (["--version"], 0), ([], 64), (["--sockets", "3"], 64),
                              (["--sockets", "x", "--settings", "4"], 64), (["--sockets", "0", "--settings", "4"], 64),
                              (["--sockets", "99", "--settings", "98"], 64)):
            with self.subTest(words=words):
                done = subprocess.run([PROGRAM, *words], capture_output=True, timeout=20)
                self.assertEqual(done.returncode, status)

    def test_term_when_idle(self):
        with Scanner() as scanner:
            workers = scanner.workers()
            self.assertEqual(len(workers), 2)
            scanner.process.terminate()
            self.assertEqual(scanner.ended()[0], 0)
            self.assertTrue(wait_dead(workers))
            self.assertEqual(os.listdir(scanner.directory), [])

    def test_term_lets_scans_finish(self):
        with Scanner(workers=1) as scanner:
            scanner.request(1, marked(b"hang"), limit_ms=500)
            scanner.request(2, mail())
            scanner.process.terminate()
            reports = {report.id: report for report in (scanner.report() for _ in range(2))}
            self.assertEqual(reports[1].findings[0].reason, "time")
            self.assertIn(reports[2].findings[0].failure if reports[2].findings else "", ("", "not_ready"))
            self.assertEqual(scanner.ended()[0], 0)

    def test_second_term_cuts(self):
        with Scanner(workers=1) as scanner:
            scanner.request(1, marked(b"hang"))
            scanner.process.terminate()
            scanner.request(2, mail())
            while scanner.report().findings[0].failure != "not_ready":  # it has seen the first
                scanner.request(2, mail())
            scanner.process.terminate()
            self.assertEqual(scanner.ended()[0], 0)

    def test_workers_die_with_the_nursery(self):
        with Scanner() as scanner:
            workers = scanner.workers()
            scanner.request(1, marked(b"hang"))
            scanner.process.kill()
            self.assertTrue(wait_dead(workers))
            left = os.listdir(scanner.directory)
            self.assertEqual(len(left), 1)
        with Scanner(parent="/dev/shm") as other:  # an abandoned directory is swept by the next scanner there
            abandoned = os.path.join(other.directory, f"gatepost-scanner.{os.geteuid()}.abcdef")
            os.makedirs(abandoned + "/worker-0")
            with Scanner(temporary_directory=other.directory):
                self.assertFalse(os.path.exists(abandoned))
            self.assertEqual(len(os.listdir(other.directory)), 1)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_privileges_are_dropped(self):
        with Scanner(parent="/var/tmp", uid=65534, gid=65534) as scanner:
            self.assertEqual(scanner.scan(mail((b"e.zip", zipped({"e.com": EICAR})))).outcome, "infected")
            for pid in [scanner.process.pid, *scanner.workers()]:
                with open(f"/proc/{pid}/status") as file:
                    status = dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)
                self.assertEqual(status["Uid"].split(), ["65534"] * 4)
                self.assertEqual(status["Gid"].split(), ["65534"] * 4)
                self.assertEqual((status["Groups"].split(), status["NoNewPrivs"], status["Threads"]), ([], "1", "1"))
                self.assertEqual(int(status["CapEff"], 16), 0)
            for pid in scanner.workers():
                with open(f"/proc/{pid}/oom_score_adj") as file:
                    self.assertEqual(file.read().strip(), "1000")
                self.assertLessEqual(len(os.listdir(f"/proc/{pid}/fd")), 5)
            self.assertEqual(os.listdir(scanner.directory), [])  # the tmpfs is private
            self.assertEqual(scanner.scan(marked(b"litter")).outcome, "clean")


if __name__ == "__main__":
    unittest.main()
