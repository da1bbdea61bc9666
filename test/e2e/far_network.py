"""A network of the test's own: this process moves into a fresh network namespace, and clients with the public-looking
address 203.0.113.9 (and ANOTHER, and one of IPv6) live in another one, behind a cable. Needs root; to be made before
anything makes threads."""
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import unittest

from common import die_with_parent
from peers import PATIENCE, Wire

CLIENT = "203.0.113.9"
ANOTHER = "203.0.113.10"
CLIENT6 = "2001:db8:113::9"
HERE = "203.0.113.1"
HERE6 = "2001:db8:113::1"
CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def available():
    return os.geteuid() == 0 and all(shutil.which(each) for each in ("ip", "unshare", "nsenter"))


def _ip(*words):
    subprocess.run(["ip", *words], check=True, stdin=subprocess.DEVNULL)


class FarNetwork:
    def __init__(self):
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self._here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self.process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo up; exec cat"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, preexec_fn=die_with_parent)
        self.process.stdout.readline()
        self._there = os.open(f"/proc/{self.process.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _ip("link", "add", "near", "type", "veth", "peer", "name", "far", "netns", str(self.process.pid))
        self._lay("near", _ip, HERE + "/24", HERE6 + "/64")
        self._lay("far", self._far_ip, CLIENT + "/24", ANOTHER + "/24", CLIENT6 + "/64")

    def _far_ip(self, *words):
        subprocess.run(["nsenter", "-t", str(self.process.pid), "-n", "ip", *words], check=True, stdin=subprocess.DEVNULL)

    @staticmethod
    def _lay(end, ip, *addresses):
        for each in addresses:
            ip("address", "add", each, "dev", end, *(["nodad"] if ":" in each else []))
        ip("link", "set", "lo", "up")
        ip("link", "set", end, "up")

    def close(self):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()
        os.close(self._there)
        os.close(self._here)

    @contextlib.contextmanager
    def _inside(self):
        if _libc.setns(self._there, CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "setns")
        try:
            yield
        finally:
            if _libc.setns(self._here, CLONE_NEWNET) != 0:
                os._exit(70)  # nothing may go on in the wrong network

    def connect(self, port, source=CLIENT):
        """A TCP connection from there to this host."""
        with self._inside():  # a socket stays where it was made
            made = socket.socket(socket.AF_INET6 if ":" in source else socket.AF_INET)
            made.bind((source, 0))
        made.settimeout(PATIENCE)
        made.connect((HERE6 if ":" in source else HERE, port))
        return made

    def wire(self, port, source=CLIENT):
        return FarWire(self.connect(port, source))


def laid_for_module(*needed):
    """For setUpModule: gone with the module, which is skipped where it cannot be, or where one of the modules `needed` is
    not available()."""
    missing = [each.__name__ for each in (sys.modules[__name__], *needed) if not each.available()]
    if missing:
        raise unittest.SkipTest("needs root and what these need: " + ", ".join(missing))
    network = FarNetwork()
    unittest.addModuleCleanup(network.close)
    return network


class FarWire(Wire):
    def __init__(self, connected):  # in place of a connection over loopback
        self.socket = connected
        self.buffer = b""
