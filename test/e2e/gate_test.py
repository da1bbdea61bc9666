#!/usr/bin/env python3
"""The gate: gatepost-gate decides on the first packet of each connection, in networks of the test's own, IPv4 and IPv6.
Taken, passed by and reset for true; and what becomes of connections when it is gone, with both kinds of failure."""
import contextlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading
import unittest

from common import BUILD, IS_ROOT, USERS, Lines, die_with_parent, wait_until
from firewall_world import ANY, CLIENT, SERVER, StandIn, World, available, reach
from peers import PATIENCE

GATE = os.path.join(BUILD, "firewall/gate/gatepost-gate")
QUEUE = 4100
PORT = 2525
BRIEF = 1.2  # seconds: no answer to the first SYN, nor to its repetition after one
MASK = "0x0f000000"
TAKE, RESET = f"0x03000000/{MASK}", f"0x05000000/{MASK}"
VERSIONS = (4, 6)


class GateProgram:
    """gatepost-gate as the supervisor starts it, inside a namespace."""

    def __init__(self, where, ready=True, listeners=1, open=False, length=1024, connections=0):
        told = {"open": open, "length": length, "uid": USERS["gate"], "gid": USERS["gate"],
                "listeners": [{"name": f"in{i}", "queue": QUEUE + i, "connections": connections, "prefix_v4": 32,
                               "prefix_v6": 64} for i in range(listeners)]}
        file = os.memfd_create("settings")
        os.write(file, json.dumps(told).encode())
        os.lseek(file, 0, os.SEEK_SET)
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.settimeout(PATIENCE)
        self.process = where.popen([GATE, "--settings", str(file), "--control", str(theirs.fileno())],
                                   before=die_with_parent, pass_fds=[file, theirs.fileno()], stderr=subprocess.PIPE)
        os.close(file)
        theirs.close()
        self.said = Lines(self.process.stderr)
        if self.control.recv(64) != b"ready":
            self.control.close()
            status = self.process.wait()
            self.said.ended()
            raise AssertionError(f"the gate did not start: {status}\n{self.said.text()}")
        if ready:
            self.control.send(b"ready")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def close(self):
        self.control.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(PATIENCE)
        self.process.kill()
        self.process.wait()
        self.said.ended()
        return self.process.returncode


class Crowd:
    """A listener that greets any number of clients at once and keeps their connections."""

    def __init__(self, where, version, port, name):
        self.greeting, self.kept = f"220 {name}\r\n".encode(), []
        self.socket = where.socket(version)
        if version == 6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.settimeout(None)
        self.socket.bind((ANY[version], port))
        self.socket.listen(1024)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                self.kept.append(self.socket.accept()[0])
                self.kept[-1].sendall(self.greeting)

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        for each in (self.socket, *self.kept):
            each.close()


@unittest.skipUnless(IS_ROOT and available(), "needs root and the tools of the packet filter")
class GateTest(unittest.TestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.gateway = self.world.gateway

    def start(self, **settings):
        gate = GateProgram(self.gateway, **settings)
        self.addCleanup(gate.close)
        return gate

    def rules(self, bypass=False):
        """Forwarded connections to port 25, on both families."""
        more = " --queue-bypass" if bypass else ""
        for tool in ("iptables", "ip6tables"):
            for line in (f"-t filter -A FORWARD -p tcp -m mark --mark {RESET} -j REJECT --reject-with tcp-reset",
                         f"-t mangle -A PREROUTING -m mark --mark {TAKE} -j CONNMARK --save-mark --nfmask {MASK} --ctmask {MASK}",
                         f"-t nat -A PREROUTING -i near -p tcp --dport 25 -m mark --mark {TAKE} -j REDIRECT --to-ports {PORT}",
                         f"-t raw -A PREROUTING -i near -p tcp --dport 25 --syn -m mark --mark 0x0/{MASK} "
                         f"-j NFQUEUE --queue-num {QUEUE}{more}"):
                self.gateway.run([tool, "-w", *line.split()])

    def stand_ins(self):
        for version in VERSIONS:
            for where, port, name in ((self.gateway, PORT, "gatepost"), (self.world.server, 25, "server")):
                self.addCleanup(StandIn(where, version, port, name).close)

    def reach(self, version, patience=None):
        return reach(self.world.client, version, SERVER[version], 25, patience=patience)[0]

    def test_taken(self):
        self.start()
        self.rules()
        self.stand_ins()
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertEqual(reach(self.world.client, version, SERVER[version], 25),
                                 ["gatepost", CLIENT[version], SERVER[version], "25"])

    def test_passed_by(self):
        self.rules()
        self.stand_ins()
        with contextlib.closing(GateProgram(self.gateway, open=True, ready=False)) as gate:
            for version in VERSIONS:
                self.assertEqual(self.reach(version), "server")
        self.assertIn("0 connections taken, 2 passed by", gate.said.text())

    def test_reset(self):
        self.start(connections=2)
        self.rules()
        self.stand_ins()
        for version in VERSIONS:
            with self.subTest(version=version):
                answers = [self.reach(version) for _ in range(4)]
                self.assertEqual(answers, ["gatepost", "gatepost", "refused", "refused"])

    def test_marks_of_others_stay(self):
        self.start()
        self.gateway.run(["iptables", "-w", "-t", "raw", "-A", "PREROUTING", "-i", "near", "-j", "MARK", "--set-xmark", "0x70000042/0xf0ffffff"])
        self.rules()
        self.gateway.run("iptables -w -t raw -A PREROUTING -p tcp --syn -m mark --mark 0x73000042".split())
        self.stand_ins()
        self.assertEqual(self.reach(4), "gatepost")
        # Rules behind ours are still met: the packet goes through its table again.
        counted = self.gateway.run(["iptables", "-w", "-t", "raw", "-nvxL", "PREROUTING"]).stdout
        self.assertRegex(counted, r"(?m)^\s+1\s.*mark match 0x73000042")

    def test_killed_fail_open(self):
        gate = self.start(open=True)
        self.rules(bypass=True)
        self.stand_ins()
        for version in VERSIONS:
            self.assertEqual(self.reach(version), "gatepost")
        running = self.world.client.connect(4, SERVER[4], 25)
        self.addCleanup(running.close)
        self.assertTrue(running.recv(100).startswith(b"220 gatepost"))
        gate.kill()
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertEqual(self.reach(version), "server")
        # A connection that was taken before stays where it was, and ends in order.
        running.shutdown(socket.SHUT_WR)
        self.assertEqual(running.recv(100), b"")
        self.start(open=True)
        self.assertEqual(self.reach(4), "gatepost")

    def test_killed_fail_closed(self):
        gate = self.start()
        self.rules()
        self.stand_ins()
        running = self.world.client.connect(6, SERVER[6], 25)
        self.addCleanup(running.close)
        self.assertTrue(running.recv(100).startswith(b"220 gatepost"))
        gate.kill()
        for version in VERSIONS:
            with self.subTest(version=version):
                self.assertEqual(self.reach(version, BRIEF), "silence")
        running.shutdown(socket.SHUT_WR)
        self.assertEqual(running.recv(100), b"")
        # A client that still waits is served by the next gate.
        waiting = self.world.client.socket(4)
        self.addCleanup(waiting.close)
        waiting.setblocking(False)
        waiting.connect_ex((SERVER[4], 25))
        self.start()
        waiting.settimeout(PATIENCE)
        self.assertTrue(waiting.recv(100).startswith(b"220 gatepost"))

    def crowd(self):
        for version in VERSIONS:
            for where, port, name in ((self.gateway, PORT, "gatepost"), (self.world.server, 25, "server")):
                self.addCleanup(Crowd(where, version, port, name).close)

    def begin(self, version):
        """A connection that is not waited for."""
        made = self.world.client.socket(version)
        self.addCleanup(made.close)
        made.setblocking(False)
        made.connect_ex((SERVER[version], 25))
        return made

    def greeted(self, made):
        made.settimeout(PATIENCE)
        return made.recv(100)

    def full(self, is_open):
        with contextlib.closing(GateProgram(self.gateway, open=is_open, length=4)) as gate:
            gate.process.send_signal(signal.SIGSTOP)
            waiting = [self.begin(4) for _ in range(4)]
            wait_until(lambda: self.waiting() == 4, "a full queue")
            self.assertEqual(self.reach(6, None if is_open else BRIEF), "server" if is_open else "silence")
            gate.process.send_signal(signal.SIGCONT)
            for made in waiting:  # those inside it were only late
                self.assertEqual(self.greeted(made), b"220 gatepost\r\n")
            # Its place in the queue is free again when the packet is answered: once more, so that the counts are told.
            self.assertEqual(self.greeted(self.begin(6)), b"220 gatepost\r\n")
        dropped = int(re.findall(r"dropped (\d+) for want of room in a queue, 0 in the socket", gate.said.text())[-1])
        # Where the way is open the kernel lets packets by, and counts none.
        self.assertEqual(dropped > 0, not is_open, gate.said.text())

    def test_a_full_queue_fail_open(self):
        self.rules()
        self.crowd()
        self.full(True)

    def test_a_full_queue_fail_closed(self):
        self.rules()
        self.crowd()
        self.full(False)

    def waiting(self, queue=QUEUE):
        with self.gateway.inside(), open("/proc/thread-self/net/netfilter/nfnetlink_queue") as file:
            for line in file:
                number, _, waiting = line.split()[:3]
                if int(number) == queue:
                    return int(waiting)
        return None

    def test_the_proxy_is_not_ready(self):
        self.rules()
        self.stand_ins()
        for is_open in (True, False):
            with self.subTest(open=is_open):
                gate = self.start(open=is_open, ready=False)
                for version in VERSIONS:
                    self.assertEqual(self.reach(version), "server" if is_open else "refused")
                gate.control.send(b"nonsense")
                gate.control.send(b"ready")
                self.assertEqual(self.reach(4), "gatepost")
                gate.control.send(b"unready")
                self.assertEqual(self.reach(4), "server" if is_open else "refused")
                self.assertEqual(gate.close(), 0)
                self.assertIn("3 of these while the proxy was not ready", gate.said.text())

    def test_a_queue_that_another_program_has(self):
        self.start()
        with self.assertRaisesRegex(AssertionError, "(?s)71.*queue 4100: "):
            GateProgram(self.gateway)

    def test_what_is_left_of_its_rights(self):
        gate = self.start(listeners=2)
        with open(f"/proc/{gate.process.pid}/status") as file:
            status = dict(line.rstrip("\n").split(":\t", 1) for line in file)
        net_admin = f"{1 << 12:016x}"
        self.assertEqual({key: status[key] for key in ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")},
                         {"CapEff": net_admin, "CapPrm": net_admin, "CapInh": "0" * 16, "CapBnd": "0" * 16, "CapAmb": "0" * 16})
        self.assertEqual((status["Uid"].split(), status["Groups"].strip()), ([str(USERS["gate"])] * 4, ""))
        self.assertEqual((status["NoNewPrivs"], status["Seccomp"]), ("1", "2"))

    def test_odd_packets(self):
        """Raw SYNs that a socket would not send: fragments, options, no room for them; afterwards all is as before."""
        gate = self.start()
        self.rules()
        self.stand_ins()
        with self.world.client.inside():
            raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with raw:
            for packet in odd_packets():
                with contextlib.suppress(OSError):
                    raw.sendto(packet, (SERVER[4], 0))
        self.assertEqual(self.reach(4), "gatepost")
        self.assertIsNone(gate.process.poll())

    def test_a_burst(self):
        """More than one system call's worth at once, in both families: all are answered, none waits for ever."""
        gate = self.start()
        self.rules()
        self.crowd()
        gate.process.send_signal(signal.SIGSTOP)
        waiting = [self.begin(version) for version in VERSIONS * 150]
        wait_until(lambda: self.waiting() == 300, "300 packets in the queue")
        gate.process.send_signal(signal.SIGCONT)
        for made in waiting:
            self.assertEqual(self.greeted(made), b"220 gatepost\r\n")
        self.assertEqual(self.waiting(), 0)


def odd_packets():
    def ip(segment, options=b"", fragment=0, protocol=6):
        length = 20 + len(options) + len(segment)
        header = struct.pack("!BBHHHBBH4s4s", 0x40 | (5 + len(options) // 4), 0, length, 77, fragment, 64, protocol, 0,
                             socket.inet_aton(CLIENT[4]), socket.inet_aton(SERVER[4]))
        return header + options + segment

    def tcp(offset=5, flags=2, more=b""):
        return struct.pack("!HHIIBBHHH", 40000, 25, 1, 0, offset << 4, flags, 1024, 0, 0) + more
    yield ip(tcp())  # a wrong checksum
    yield ip(tcp(), options=b"\x01" * 40)
    yield ip(tcp(offset=15, more=b"\x01" * 40))
    yield ip(tcp(offset=15))  # longer than the packet
    yield ip(tcp(offset=0))
    yield ip(tcp()[:8])
    yield ip(tcp()[:16], fragment=0x2000)
    yield ip(tcp(), fragment=0x2001)
    yield ip(tcp(more=b"x" * 1400))
    yield ip(tcp(flags=0x3F))
    yield ip(tcp(flags=0xC2))  # ECN


if __name__ == "__main__":
    unittest.main()
