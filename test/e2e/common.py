"""gatepost as an administrator runs it: the real programs, started with a config file or the embedded defaults, spoken
to over loopback sockets, read by their log. Each test starts its own and ends only that.

GATEPOST_BUILD names the build directory (default: build in the checkout); GATEPOST_SANITIZED=1 says that it was built
with sanitizers, whose memory is not worth measuring.
"""
import contextlib
import ctypes
import json
import os
import queue
import re
import select
import shutil
import signal
import smtplib
import subprocess
import tempfile
import threading
import time

from peers import PATIENCE, Wire

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("GATEPOST_BUILD", "build"))
PROGRAM = os.path.join(BUILD, "proxy/gatepost")
SCANNER = os.path.join(BUILD, "scanner/gatepost-scanner")
SIGNATURES = os.path.join(ROOT, "appliance/signatures")
IS_ROOT = os.geteuid() == 0


def only_when_full(test):
    """A test too long for every run: it exists in `test/run --full` alone."""
    return test if os.environ.get("GATEPOST_FULL") else None
USERS = {"proxy": 64101, "keeper": 64102, "scanner": 64103, "gate": 64104}  # as root: numbers without accounts

os.environ["GATEPOST_SCANNER"] = SCANNER
_libc = ctypes.CDLL(None)


def die_with_parent():
    _libc.prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # ignored by whatever a shell starts in the background


def wait_until(condition, what, seconds=PATIENCE):
    """For states that nobody announces (a file, a process table): asks again until they are so."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what}")
        select.select([], [], [], 0.02)


def children_of(pid):
    with contextlib.suppress(FileNotFoundError):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return [int(child) for child in file.read().split()]
    return []


def descriptors_of(pid):
    found = []
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):  # closed since
            found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return sorted(found)


def memory_of(pid):
    """Private and shared memory in KiB (PSS)."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return int(re.search(r"^Pss:\s+(\d+)", file.read(), re.M)[1])


class Lines:
    """The lines of a pipe, read by a thread of its own so that the writer never waits for a test."""

    def __init__(self, pipe):
        self.all = []
        self._new = queue.Queue()
        self._thread = threading.Thread(target=self._read, args=(pipe,), daemon=True)
        self._thread.start()

    def _read(self, pipe):
        for line in pipe:
            line = line.decode("utf-8", "surrogateescape").rstrip("\n")
            self.all.append(line)
            self._new.put(line)
        pipe.close()
        self._new.put(None)

    def wait_for(self, pattern, seconds=PATIENCE):
        """The first line not yet waited for that matches; the lines before it are skipped."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                line = self._new.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"no log line within {seconds} s for {pattern!r}; the log:\n{self.tail()}") from None
            if line is None:
                self._new.put(None)
                raise AssertionError(f"the log ended without {pattern!r}:\n{self.tail()}")
            if re.search(pattern, line):
                return line

    def ended(self):
        self._thread.join(PATIENCE)

    def text(self):
        return "\n".join(self.all)

    def tail(self):
        """For messages of failed tests."""
        return "\n".join(line[:600] for line in self.all[-25:])


class Place:
    """A private directory that every account may pass through, for one gatepost."""

    def __init__(self, parent=None):
        self.path = tempfile.mkdtemp(prefix="gatepost-e2e-", dir=parent)
        os.chmod(self.path, 0o755)

    def __truediv__(self, name):
        return os.path.join(self.path, name)

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)

    def signatures(self):
        """A copy of the test signatures that the scanner's account can read wherever the checkout lies."""
        copy = self / "signatures"
        if not os.path.exists(copy):
            shutil.copytree(SIGNATURES, copy)
            os.chmod(copy, 0o755)
            for name in os.listdir(copy):
                os.chmod(os.path.join(copy, name), 0o644)
        return copy


def config_for(place, servers=None, scan=True, **sections):
    """A whole config: a listener on a free loopback port before `servers`, or before a maildir in the place."""
    listener = {"name": "inbound", "protocol": "smtp", "address": "127.0.0.1:0", "downstream": "next"}
    if servers:
        downstream = {"protocol": "smtp", "servers": servers}
    else:
        downstream = {"path": place / "mail/%domain/%local", "create": True}
    config = {
        "hostname": "gatepost.example", "loops": 2, "state_directory": place / "state",
        "listeners": [{**listener, **sections.pop("listener", {})}],
        "downstreams": {"next": {**downstream, **sections.pop("downstream", {})}},
        "spool": {"directory": place / "spool", **sections.pop("spool", {})},
        "log": {"format": "json", "to": "stderr"},
    }
    if scan:
        config["scanners"] = {"clamav": {"engine": "libclamav", "signatures": [place.signatures()], "workers": 2,
                                         **sections.pop("scanner", {})}}
    if IS_ROOT:
        config["users"] = {role: str(number) for role, number in USERS.items()}
    config.update(sections)
    return config


class Gatepost:
    """`gatepost serve`; a context that ends it. `config` is a dict, or None for the embedded defaults with `state`."""

    def __init__(self, place, config=None, arguments=(), preexec=None, wait_ready=True, before=()):
        """`before`: words in front of the command, of something that becomes it."""
        self.place = place
        ready_read, ready_write = os.pipe()
        command = [*before, PROGRAM, "serve", "--ready-fd", str(ready_write), *arguments]
        if config is not None:
            file = place / "gatepost.json"
            with open(file, "w") as out:
                json.dump(config, out, indent=2)
            command += ["-c", file]

        def prepare():
            die_with_parent()
            if preexec:
                preexec()

        self.process = subprocess.Popen(command, pass_fds=[ready_write], stdin=subprocess.DEVNULL,
                                        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=prepare)
        os.close(ready_write)
        self.pid = self.process.pid
        self.log = Lines(self.process.stdout)
        self.listeners = {}
        try:
            if wait_ready:
                self._wait_ready(ready_read)
        except BaseException:
            self.kill()
            raise
        finally:
            os.close(ready_read)

    def _wait_ready(self, fd):
        text, deadline = b"", time.monotonic() + PATIENCE
        while b"\n" not in text:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([fd], [], [], left)[0]:
                raise AssertionError(f"gatepost is not ready after {PATIENCE} s; its log:\n{self.log.tail()}")
            piece = os.read(fd, 65536)
            if not piece:
                break
            text += piece
        if not text.strip():
            self.process.wait(PATIENCE)
            self.log.ended()
            raise AssertionError(f"gatepost ended with {self.process.returncode}; its log:\n{self.log.tail()}")
        told = json.loads(text)
        self.listeners = {each["name"]: each["address"] for each in told["listeners"]}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                self.kill()
                if kind is None:
                    raise AssertionError(f"gatepost did not end on TERM; its log:\n{self.log.tail()}") from None
        self.log.ended()

    def kill(self):
        """Its children die with it."""
        self.process.kill()
        self.process.wait()
        self.log.ended()

    def wait(self, seconds=PATIENCE):
        """Exit status and the whole log."""
        status = self.process.wait(seconds)
        self.log.ended()
        return status, self.log.text()

    def signal(self, number):
        self.process.send_signal(number)

    @property
    def port(self):
        return int(next(iter(self.listeners.values())).rsplit(":", 1)[1])

    def smtp(self, **more):
        return smtplib.SMTP("127.0.0.1", self.port, local_hostname="client.example", **{"timeout": PATIENCE, **more})

    def wire(self):
        return Wire(self.port)

    def records(self):
        """The log's JSON lines; a line that is none is an error."""
        return [json.loads(line) for line in self.log.all]

    def summary(self, **wanted):
        """The summary line of a transaction, once it is there, whose fields are as given."""
        def find():
            for line in list(self.log.all):
                with contextlib.suppress(ValueError):
                    record = json.loads(line)
                    if "status" in record and all(str(record.get(key)) == str(value) for key, value in wanted.items()):
                        return record
            return None
        return wait_until(find, f"a summary line with {wanted}; the log:\n" + self.log.tail())

    def sessions(self):
        """Connections to the listener that gatepost has not closed: ESTABLISHED or CLOSE_WAIT in proc(5)."""
        with open("/proc/net/tcp") as table:
            rows = [line.split() for line in table.readlines()[1:]]
        return sum(int(row[1].rsplit(":", 1)[1], 16) == self.port and row[3] in ("01", "08") for row in rows)

    def child(self, name):
        """Process id of the proxy, keeper or scanner; needs root (see role_of)."""
        def find():
            for pid in children_of(self.pid):
                with contextlib.suppress(OSError):
                    if role_of(pid) == name:
                        return pid
            return None
        return wait_until(find, f"a running {name}")

    def children(self):
        """All processes below the supervisor."""
        found, todo = [], [self.pid]
        while todo:
            below = children_of(todo.pop())
            found += below
            todo += below
        return found


def role_of(pid):
    """By the account that it runs under; only root's gatepost has one for each."""
    with open(f"/proc/{pid}/status") as file:
        uid = int(re.search(r"^Uid:\s+(\d+)", file.read(), re.M)[1])
    return next((role for role, number in USERS.items() if number == uid), None)


def maildir_files(path):
    """Every message below a directory of maildirs that is delivered: name -> octets."""
    found = {}
    for parent, _, names in os.walk(path):
        if os.path.basename(parent) == "new":
            for name in names:
                with open(os.path.join(parent, name), "rb") as file:
                    found[os.path.join(parent, name)] = file.read()
    return found
