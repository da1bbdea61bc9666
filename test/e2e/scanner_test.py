#!/usr/bin/env python3
"""The real gatepost-scanner with the test signatures: faults, limits, the queue and the end of processes.

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
from unittest import mock

from common import wait_until
from scanner_mails import EICAR, mail, zipped
from scanner_program import PROGRAM, SIGNATURES, Scanner, encode_request, memory_file, wait_dead


def marked(marker):
    return mail(first=b"X-Gatepost-Test: " + marker + b"\r\n")


class Faults(unittest.TestCase):
    def test_each_fault_hits_its_own_message(self):
        with open(PROGRAM, "rb") as file:
            dies_instead = b"__asan_init" in file.read()  # AddressSanitizer's operator new never throws
        faults = {b"crash": "crashed", b"abort": "crashed", b"exit": "crashed", b"hang": "",
                  b"bloat": "crashed" if dies_instead else "memory"}
        # Whoever dies for want of memory has none left to search for leaks: with clang's sanitizers that never ends.
        options = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
        with mock.patch.dict(os.environ, ASAN_OPTIONS=options), Scanner(memory_limit=64 << 20) as scanner:
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

    def test_a_message_in_the_queue_waits_no_longer_than_its_limit(self):
        with Scanner(workers=1, scan_limit_ms=30000) as scanner:
            scanner.request(1, marked(b"hang"))
            scanner.request(2, mail(), limit_ms=300)
            report = scanner.report()
            self.assertEqual((report.id, report.findings[0].failure), (2, "busy"))

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
        with Scanner(workers=1, queue=0) as scanner:  # no queue: whatever comes behind the first is answered at once
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
                def is_first_to_go():  # one that was only forked has still to say so
                    with open(f"/proc/{pid}/oom_score_adj") as file:
                        return file.read().strip() == "1000"
                wait_until(is_first_to_go, "oom_score_adj 1000")
                self.assertLessEqual(len(os.listdir(f"/proc/{pid}/fd")), 5)
            self.assertEqual(os.listdir(scanner.directory), [])  # the tmpfs is private
            self.assertEqual(scanner.scan(marked(b"litter")).outcome, "clean")


if __name__ == "__main__":
    unittest.main()
