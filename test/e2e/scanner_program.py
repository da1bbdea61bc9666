"""gatepost-scanner as its proxy sees it: the packets of scanner/job.h and scanner/report.h over a socketpair."""
import atexit
import os
import select
import shutil
import socket
import struct
import subprocess
import tempfile
import time
from collections import namedtuple

from scanner_mails import PREFIX

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PROGRAM = os.environ.get("GATEPOST_SCANNER", os.path.join(ROOT, "build/scanner/gatepost-scanner"))


def readable_copy(path):
    """For the scanner's account, which a private home directory around the checkout keeps out."""
    directory = tempfile.mkdtemp(prefix="gatepost-signatures.")
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    os.chmod(directory, 0o755)
    copy = shutil.copyfile(path, os.path.join(directory, os.path.basename(path)))
    os.chmod(copy, 0o644)
    return copy


SIGNATURES = readable_copy(os.path.join(ROOT, "appliance/signatures/gatepost-test.ndb"))

OUTCOMES = ["clean", "suspicious", "unscannable", "error", "infected"]
REASONS = ["", "encrypted", "size", "recursion", "files", "time", "limit"]
FAILURES = ["", "not_ready", "busy", "crashed", "killed", "memory", "engine", "storage", "disconnected"]

Finding = namedtuple("Finding", "outcome reason failure engine name")
Report = namedtuple("Report", "id elapsed_us outcome findings")
Hello = namedtuple("Hello", "signatures version test_only")


def text(octets):
    return struct.pack("<I", len(octets)) + octets


def encode_settings(**given):
    s = dict(name=b"clamav", signatures=[SIGNATURES], workers=2, queue=256, scan_limit_ms=60000, memory_limit=0,
             max_scan_size=0, max_file_size=0, max_recursion=0, max_files=0, temporary_directory="", uid=0, gid=0,
             test_hooks=True)
    s.update(given)
    out = b"S" + text(s["name"]) + struct.pack("<I", len(s["signatures"]))
    out += b"".join(text(os.fsencode(path)) for path in s["signatures"])
    out += struct.pack("<IIIQQQII", s["workers"], s["queue"], s["scan_limit_ms"], s["memory_limit"], s["max_scan_size"],
                       s["max_file_size"], s["max_recursion"], s["max_files"])
    return out + text(os.fsencode(s["temporary_directory"])) + struct.pack("<IIB", s["uid"], s["gid"], s["test_hooks"])


def encode_request(number, prefix, size, limit_ms=0, kind=0):
    return b"Q" + struct.pack("<BQIQI", kind, number, prefix, size, limit_ms)


class Reader:
    def __init__(self, octets):
        self.rest = octets

    def take(self, form):
        values = struct.unpack_from("<" + form, self.rest)
        self.rest = self.rest[struct.calcsize("<" + form):]
        return values if len(values) > 1 else values[0]

    def text(self):
        length = self.take("I")
        octets, self.rest = self.rest[:length], self.rest[length:]
        assert len(octets) == length
        return octets.decode()


def decode_hello(packet):
    reader = Reader(packet[1:])
    assert packet[:1] == b"H", packet
    hello = Hello(reader.take("Q"), reader.text(), reader.take("B"))
    assert reader.rest == b""
    return hello


def decode_report(packet):
    reader = Reader(packet[1:])
    assert packet[:1] == b"R", packet
    number, elapsed, count = reader.take("QIB")
    findings = []
    for _ in range(count):
        outcome, reason, failure = reader.take("BBB")
        findings.append(Finding(OUTCOMES[outcome], REASONS[reason], FAILURES[failure], reader.text(), reader.text()))
    assert reader.rest == b""
    gravest = max((OUTCOMES.index(f.outcome) for f in findings), default=0)
    return Report(number, elapsed, OUTCOMES[gravest], findings)


def memory_file(octets):
    fd = os.memfd_create("message", os.MFD_CLOEXEC)
    with open(fd, "wb", closefd=False) as file:
        file.write(octets)
    return fd


class Scanner:
    """The running program with `loops` sockets; settings as keywords of encode_settings."""

    def __init__(self, loops=1, preexec=None, greet=True, **settings):
        self.directory = tempfile.mkdtemp(prefix="gatepost-test.", dir=settings.pop("parent", "/dev/shm"))
        os.chmod(self.directory, 0o755)
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(loops)]
        self.sockets = [ours for ours, _ in pairs]
        told = memory_file(encode_settings(**{"temporary_directory": self.directory, **settings}))
        os.lseek(told, 0, os.SEEK_SET)
        theirs = [other.fileno() for _, other in pairs]
        self.process = subprocess.Popen(
            [PROGRAM, "--sockets", ",".join(map(str, theirs)), "--settings", str(told)], pass_fds=theirs + [told],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=preexec)
        os.close(told)
        for _, other in pairs:
            other.close()
        if greet:
            self.hellos = [decode_hello(self.packet(i)) for i in range(loops)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for ours in self.sockets:
            ours.close()
        if self.process.poll() is None:
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.process.stderr.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def packet(self, loop=0, seconds=20):
        """The next packet on a loop's socket; b"" when the scanner has closed it."""
        if not select.select([self.sockets[loop]], [], [], seconds)[0]:
            raise AssertionError("the scanner says nothing")
        try:
            return self.sockets[loop].recv(65536)
        except ConnectionResetError:
            return b""

    def send(self, packet, fds=(), loop=0):
        socket.send_fds(self.sockets[loop], [packet], list(fds))

    def request(self, number, content, limit_ms=0, loop=0, prefix=PREFIX):
        fd = memory_file(prefix + content)
        self.send(encode_request(number, len(prefix), len(content), limit_ms), [fd], loop)
        os.close(fd)

    def cancel(self, number, loop=0):
        self.send(encode_request(number, 0, 0, kind=1), loop=loop)

    def report(self, loop=0, seconds=20):
        return decode_report(self.packet(loop, seconds))

    def scan(self, content, **more):
        self.request(1, content, **more)
        report = self.report()
        assert report.id == 1
        return report

    @property
    def place(self):
        """Its temporary place as the scanner sees it: as root that is a tmpfs of its own over the directory."""
        lives = self.process.poll() is None
        return f"/proc/{self.process.pid}/root{self.directory}" if lives and os.geteuid() == 0 else self.directory

    def leftovers(self):
        """Every file in there, and every directory but the workers' own and the one around them."""
        place, found = self.place, []
        assert os.path.isdir(place)
        for parent, directories, files in os.walk(place):
            inside = "/worker-" in parent[len(place):]
            found += [os.path.join(parent, name) for name in files + (directories if inside else [])]
        return found

    def said(self):
        """What it has said on stderr so far, at least one piece."""
        if not select.select([self.process.stderr], [], [], 20)[0]:
            raise AssertionError("the scanner says nothing")
        return os.read(self.process.stderr.fileno(), 65536).decode()

    def workers(self):
        """Process ids of all workers that live."""
        with open(f"/proc/{self.process.pid}/task/{self.process.pid}/children") as file:
            return [int(pid) for pid in file.read().split()]

    def ended(self, seconds=20):
        """Waits for the end; exit status and what was said on stderr."""
        _, said = self.process.communicate(timeout=seconds)
        return self.process.returncode, said.decode()


def wait_dead(pids, seconds=10):
    """True when all these processes are gone in time."""
    deadline = time.monotonic() + seconds
    for pid in pids:
        try:
            fd = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        gone = select.select([fd], [], [], max(0, deadline - time.monotonic()))[0]
        os.close(fd)
        if not gone:
            return False
    return True
