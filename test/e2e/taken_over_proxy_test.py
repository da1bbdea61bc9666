#!/usr/bin/env python3
"""What a proxy that somebody has taken over gets from the supervisor, which is root: this test speaks in its name, by the
proxy's own end of the control socket."""
import contextlib
import ctypes
import fcntl
import os
import signal
import socket
import struct
import termios
import unittest

from common import IS_ROOT, Gatepost, Place, config_for, descriptors_of, wait_until
from firewall_world import Namespace

PIDFD_GETFD = 438
READY, SOCKETS = 9, 10  # Message::Kind
BATCH = 32
SPOOFING = {"address": "127.0.0.1:2525", "intercept": "tproxy", "scopes": ["forward"], "protected": ["192.0.2.25"],
            "downstream": "original"}
_libc = ctypes.CDLL(None, use_errno=True)


def message(kind, index, text):
    return struct.pack("<cBII", b"S", kind, index, len(text)) + text


NOTHING = message(READY, 0, b"nobody")


def unread(sender):
    """Whether the other end has yet to read something (unix(7), SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(sender, termios.TIOCOUTQ, b"\0" * 4))[0] != 0


def descriptors(receiver):
    """All that have come and nobody has taken yet, until nothing more is there."""
    found = []
    with contextlib.suppress(BlockingIOError):
        more = True
        while more:
            more, fds, _, _ = socket.recv_fds(receiver, 4096, 64)
            found += fds
    return found


def has_stopped(pid):
    def state(thread):
        with open(f"/proc/{pid}/task/{thread}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    return all(state(thread) == "T" for thread in os.listdir(f"/proc/{pid}/task"))


def packet_sockets(pid):
    """Copies of all SOCK_SEQPACKET sockets of a process."""
    process, found = os.pidfd_open(pid), []
    for fd in map(int, os.listdir(f"/proc/{pid}/fd")):
        copy = _libc.syscall(PIDFD_GETFD, process, fd, 0)
        if copy < 0:
            continue
        try:
            one = socket.socket(fileno=copy)
        except OSError:  # none of a socket
            os.close(copy)
            continue
        if one.family == socket.AF_UNIX and one.getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == socket.SOCK_SEQPACKET:
            one.setblocking(False)
            found.append(one)
        else:
            one.close()
    os.close(process)
    return found


@unittest.skipUnless(IS_ROOT, "needs root to speak for another process, and for sockets with a foreign address")
class TakenOver(unittest.TestCase):
    def begin(self, **listener):
        self.place = Place()
        self.addCleanup(self.place.remove)
        config = config_for(self.place, scan=False, loops=2)
        config["listeners"][0].update(listener)
        namespace = Namespace()
        self.addCleanup(namespace.close)
        self.gatepost = self.enterContext(Gatepost(self.place, config, preexec=namespace.enter))
        proxy, keeper = self.gatepost.child("proxy"), self.gatepost.child("keeper")
        for pid in (proxy, keeper):  # nobody but the supervisor reads what is said
            os.kill(pid, signal.SIGSTOP)
            wait_until(lambda pid=pid: has_stopped(pid), "all of its threads have stopped")
        self.addCleanup(lambda: os.kill(proxy, signal.SIGCONT))
        self.control = self.read_by_the_supervisor(packet_sockets(proxy))
        os.kill(keeper, signal.SIGCONT)

    def read_by_the_supervisor(self, sockets):
        for each in sockets:
            self.addCleanup(each.close)
            each.send(NOTHING)
        wait_until(lambda: any(map(unread, sockets)) and not all(map(unread, sockets)), "one of them is read")
        (control,) = [each for each in sockets if not unread(each)]
        return control

    def say(self, *packets):
        """All of it is done when it returns: one thing comes after the other, and the last one means nothing."""
        for packet in (*packets, NOTHING):
            self.control.send(packet)
        wait_until(lambda: not unread(self.control), "the supervisor has read it")

    def got(self):
        """The families of the sockets that have come, in bundles (scanner/packet_socket.h)."""
        found = []
        for bundle in descriptors(self.control):
            with socket.socket(fileno=bundle) as opened:
                opened.setblocking(False)
                for fd in descriptors(opened):
                    with socket.socket(fileno=fd) as one:
                        found.append(one.family)
        return found

    def test_no_socket_with_a_foreign_address_where_nobody_spoofs(self):
        self.begin()
        self.say(message(SOCKETS, 0, b"4"), message(SOCKETS, 0, b"6"))
        self.assertEqual(self.got(), [])

    def test_sockets_for_loops_and_families_that_there_are(self):
        self.begin(**SPOOFING)
        self.got()
        self.say(message(SOCKETS, 2, b"4"), message(SOCKETS, 0xFFFFFFFF, b"4"), message(SOCKETS, 0, b"x"),
                 message(SOCKETS, 1, b"6"))
        self.assertEqual(self.got(), [socket.AF_INET6] * BATCH)

    def test_the_supervisor_keeps_its_descriptors(self):
        self.begin(**SPOOFING)
        before = len(descriptors_of(self.gatepost.pid))
        everything = [message(SOCKETS, loop, family) for loop in (0, 1, 7) for family in (b"4", b"6")]
        for _ in range(10):
            self.say(*everything * 10)
        self.assertLessEqual(len(descriptors_of(self.gatepost.pid)) - before, 2 * 2 * 2 * BATCH)
        os.kill(self.gatepost.child("keeper"), signal.SIGKILL)
        wait_until(lambda: self.gatepost.child("keeper"), "another keeper")


if __name__ == "__main__":
    unittest.main()
