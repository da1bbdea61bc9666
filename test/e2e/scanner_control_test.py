#!/usr/bin/env python3
"""gatepost-scanner with a control socket: loops that come and go while it lives, as when a proxy dies and a new one is
started."""
import os
import shutil
import socket
import subprocess
import tempfile
import unittest

from scanner_mails import EICAR, PREFIX, mail
from scanner_program import PROGRAM, decode_hello, decode_report, encode_request, encode_settings, memory_file

PATIENCE = 20


class Controlled:
    """The program with nothing but a control socket."""

    def __init__(self, **settings):
        self.directory = tempfile.mkdtemp(prefix="gatepost-test.", dir="/dev/shm")
        os.chmod(self.directory, 0o755)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        told = memory_file(encode_settings(temporary_directory=self.directory, **settings))
        os.lseek(told, 0, os.SEEK_SET)
        self.process = subprocess.Popen([PROGRAM, "--control", str(theirs.fileno()), "--settings", str(told)],
                                        pass_fds=[theirs.fileno(), told], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        os.close(told)
        theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.control.close()
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def loop(self, packet=b"N"):
        """A socket of a loop, greeted unless the packet is wrong."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(PATIENCE)
        socket.send_fds(self.control, [packet], [theirs.fileno()])
        theirs.close()
        if packet == b"N":
            decode_hello(ours.recv(65536))
        return ours

    def ended(self):
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said.decode()


def ask(loop, number, content):
    fd = memory_file(PREFIX + content)
    socket.send_fds(loop, [encode_request(number, len(PREFIX), len(content))], [fd])
    os.close(fd)


def scan(loop, content, number=1):
    ask(loop, number, content)
    report = decode_report(loop.recv(65536))
    assert report.id == number
    return report.outcome


class Control(unittest.TestCase):
    def test_loops_come_and_go(self):
        with Controlled() as scanner:
            for _ in range(5):
                with scanner.loop() as first, scanner.loop() as second:
                    self.assertEqual((scan(first, mail()), scan(second, mail(text=EICAR + b"\r\n"))), ("clean", "infected"))
            scanner.control.close()
            self.assertEqual(scanner.ended()[0], 0)

    def test_lives_as_long_as_any_socket(self):
        with Controlled() as scanner, scanner.loop() as loop:
            scanner.control.close()
            self.assertEqual(scan(loop, mail()), "clean")
            loop.close()
            self.assertEqual(scanner.ended()[0], 0)

    def test_what_is_no_socket_costs_nothing_else(self):
        with Controlled() as scanner, scanner.loop() as loop:
            for packet in (b"n", b"NN", b"x" * 1000):
                with scanner.loop(packet) as other:
                    self.assertEqual(other.recv(1), b"")
            scanner.control.send(b"N")
            self.assertEqual(scan(loop, mail()), "clean")
            with scanner.loop() as another:
                self.assertEqual(scan(another, mail()), "clean")

    def test_work_for_a_loop_that_is_gone_is_given_up(self):
        with Controlled(workers=1, scan_limit_ms=60_000) as scanner, scanner.loop() as lives:
            for number in range(3):
                with scanner.loop() as gone:
                    ask(gone, 7, mail(first=b"X-Gatepost-Test: hang\r\n"))
                    ask(gone, 8, mail())
                # The same ids: no answer may be taken for another's.
                self.assertEqual(scan(lives, mail(text=EICAR + b"\r\n"), number=7 + number % 2), "infected")


if __name__ == "__main__":
    unittest.main()
