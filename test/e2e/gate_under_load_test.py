#!/usr/bin/env python3
"""gate, proxy and supervisor killed while clients send through the gate, again and again, with both kinds of failure: what
becomes of new and of running connections is what gatepost(8) says, and of what the clients were told nothing is lost and
nothing is stored twice."""
import contextlib
import os
import random
import re
import signal
import threading
import unittest

from common import Gatepost, children_of, only_when_full, role_of, wait_until
from firewall_world import SERVER, _enter
from gate_serve_test import GateStage
from gate_test import VERSIONS
from interception_test import Server
from peers import PATIENCE, SANITIZED, Wire

SENDERS = 6
PAUSE = 0.06  # seconds between two messages of a sender, on average
KILLS = 6 if os.environ.get("GATEPOST_FULL") else 3


class SlowServer(Server):
    """Takes its time at the end of data; keeps the number of each message."""

    def _serve(self, connection):
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            connection.settimeout(PATIENCE)
            connection.sendall(b"220 far.example ESMTP\r\n")
            for line in lines:
                verb = line[:4].upper()
                if verb == b"RCPT" and b"relay-probe" in line:
                    connection.sendall(b"554 5.7.1 Relay access denied\r\n")
                elif verb == b"DATA":
                    connection.sendall(b"354 go on\r\n")
                    content = b""
                    while (text := lines.readline()) not in (b".\r\n", b""):
                        content += text
                    if not text:
                        return
                    threading.Event().wait(random.random() * 0.05)
                    self.messages.append(int(re.search(rb"(?m)^Subject: (\d+)", content)[1]))
                    connection.sendall(b"250 2.0.0 taken by far.example\r\n")
                else:
                    connection.sendall(b"221 2.0.0 bye\r\n" if verb == b"QUIT" else b"250 2.0.0 ok\r\n")
                if verb == b"QUIT":
                    return


class Load:
    """Senders of messages that are never sent twice. ends: number -> (who answered, the last reply's code): "gatepost" or
    "server", by the banner; "refused", "silence", or "nobody" for a connection that ended before a banner."""

    def __init__(self, client, patience):
        self.client, self.patience = client, patience
        self.ends, self.ports = {}, {}
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._send_all, args=(first,)) for first in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def stop(self):
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE * 3)
            assert not thread.is_alive()

    def lasts(self, seconds):
        self._stop.wait(seconds)

    def _send_all(self, number):
        while not self._stop.wait(PAUSE * random.random() * 2):
            self.ends[number] = self._send(number)
            number += SENDERS

    def _send(self, number):
        version = random.choice(VERSIONS)
        try:
            made = self.client.connect(version, SERVER[version], 25, patience=self.patience)
        except ConnectionRefusedError:
            return "refused", 0
        except TimeoutError:
            return "silence", 0
        made.settimeout(PATIENCE)
        with Wire.over(made) as wire:
            self.ports[made.getsockname()[1]] = number
            code, banner = wire.reply()
            if code != 220:
                return ("gatepost" if code else "nobody"), code
            who = "server" if b"far.example" in banner else "gatepost"
            try:
                return who, self._message(wire, number)
            except OSError:
                return who, 0

    @staticmethod
    def _message(wire, number):
        for line in (b"EHLO client.example", b"MAIL FROM:<m%d@example.org>" % number, b"RCPT TO:<b@example.net>", b"DATA"):
            code = wire.say(line)[0]
            if code not in (250, 354):
                return code
        filling = b"x" * 70 + b"\r\n"
        wire.send(b"Subject: %d\r\n\r\n" % number + filling * random.choice((1, 10, 400)) + b".\r\n")
        code = wire.reply()[0]
        with contextlib.suppress(OSError):
            wire.say(b"QUIT")
        return code


class GateUnderLoad(GateStage):
    def begin(self, on_failure, patience=PATIENCE, **listener):
        self.serve(on_failure, **listener)
        for each in self.servers.values():
            each.close()
        self.servers = {version: SlowServer(self.world.server, version) for version in VERSIONS}
        for each in self.servers.values():
            self.addCleanup(each.close)
        self.load = Load(self.world.client, patience)
        self.addCleanup(self.load.stop)
        self.until("gatepost")

    def until(self, who, code=250, meanwhile=lambda: None):
        """The next message that ends so from now on."""
        known = set(self.load.ends)

        def met():
            meanwhile()
            return any(self.load.ends[each] == (who, code) for each in set(self.load.ends) - known)
        wait_until(met, f"{who} {code}; the log:\n{self.gatepost.log.tail()}")

    def kill(self, role, until=None):
        """`until`: what some client has to meet while there is none. The last time there is none until one has met it: whichever
        comes is killed, too."""
        for left in reversed(range(KILLS)):
            self.load.lasts(0.1 + random.random() * 0.4)
            os.kill(self.gatepost.child(role), signal.SIGKILL)
            if until and not left:
                self.until(*until, meanwhile=lambda: self.kill_if_there(role))
            self.until("gatepost")

    def kill_if_there(self, role):
        for pid in children_of(self.gatepost.pid):
            with contextlib.suppress(OSError):
                if role_of(pid) == role:
                    os.kill(pid, signal.SIGKILL)

    def end(self, logs=()):
        """What the clients met, as a set; told and stored agree."""
        self.load.stop()
        self.gatepost.signal(signal.SIGTERM)
        self.gatepost.wait(PATIENCE * 2)
        log = "\n".join([*logs, self.gatepost.log.text()])
        tail = "the log's end:\n" + log[-6000:]
        stored = [number for server in self.servers.values() for number in server.messages]
        self.assertEqual(len(stored), len(set(stored)), "a message is stored twice")
        ends = self.load.ends
        told = {number for number, (_, code) in ends.items() if code == 250}
        self.assertEqual(told - set(stored), set(), f"told 250, and not stored; {tail}")
        unknown = self.unknown(log)
        surprising = {number: ends[number] for number in set(stored) - told if ends[number][1] != 0 and number not in unknown}
        self.assertEqual(surprising, {}, f"stored, refused, and not called unknown; {tail}")
        self.assertGreater(len(told), 3 if SANITIZED else 15)
        return {(who, code) for who, code in ends.values()}

    def unknown(self, log):
        found = {int(number) for number in re.findall(r'"from":"<?m(\d+)@[^\n]*"outcome":"unknown"', log)}
        for port in re.findall(r'"client":"[^"]*:(\d+)"[^\n]*"outcome":"unknown"', log):
            found.add(self.load.ports[int(port)])
        return found

    def assert_met(self, met, *allowed):
        self.assertEqual(met - set(allowed), set(), self.gatepost.log.tail())

    def killed_gate(self, on_failure, **listener):
        """Nobody is refused and nothing that runs is disturbed: at most a first packet is lost, and sent again."""
        self.begin(on_failure, **listener)
        by = ("server", 250) if on_failure == "open" else None
        self.kill("gate", until=by)
        self.assert_met(self.end(), ("gatepost", 250), by)

    def test_the_gate_fail_closed(self):
        self.killed_gate("closed")

    @only_when_full
    def test_the_gate_fail_open(self):
        self.killed_gate("open")

    @only_when_full
    def test_the_gate_with_tproxy(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.killed_gate(on_failure, intercept="tproxy")
                self.tidy()

    def killed_proxy(self, on_failure, **listener):
        """What runs is cut: no reply, or 4yz. New connections wait for the next proxy, or are passed by or refused."""
        self.begin(on_failure, **listener)
        other = {"open": ("server", 250), "closed": ("refused", 0), None: None}[on_failure]
        self.kill("proxy", until=other)
        self.assert_met(self.end(), ("gatepost", 250), ("gatepost", 0), ("gatepost", 451), ("gatepost", 421), ("nobody", 0), other)

    def test_the_proxy_fail_open(self):
        self.killed_proxy("open")

    @only_when_full
    def test_the_proxy_fail_closed(self):
        self.killed_proxy("closed")

    @only_when_full
    def test_the_proxy_with_tproxy(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.killed_proxy(on_failure, intercept="tproxy")
                self.tidy()

    @only_when_full
    def test_the_proxy_without_a_gate(self):
        """Its sockets stay open in the supervisor: who comes meanwhile waits for the next one."""
        for way in ("redirect", "tproxy"):
            with self.subTest(way):
                self.killed_proxy(None, intercept=way)
                self.tidy()

    def killed_supervisor(self, on_failure, **listener):
        """All of it is gone, until somebody starts it again; the rules are the kernel's, and stay. Without a gate they lead to
        a port where nobody listens."""
        self.begin(on_failure, patience=2, **listener)
        dead = ("refused", 0) if listener.get("intercept") == "redirect" else ("silence", 0)
        gone = {"open": ("server", 250), "closed": ("silence", 0), None: dead}[on_failure]
        logs = []
        for _ in range(KILLS):
            self.load.lasts(0.1 + random.random() * 0.4)
            self.gatepost.kill()
            self.until(*gone)
            logs.append(self.gatepost.log.text())
            self.gatepost = Gatepost(self.place, self.config, preexec=lambda: _enter(self.gateway.fd))
            self.addCleanup(self.gatepost.__exit__, None)
            self.until("gatepost")
        met = self.end(logs)
        # Refused: in the moment in which the proxy has gone and the gate has not.
        self.assert_met(met, ("gatepost", 250), ("gatepost", 0), ("nobody", 0), ("refused", 0), gone)

    def test_the_supervisor_fail_open(self):
        self.killed_supervisor("open")

    @only_when_full
    def test_the_supervisor_fail_closed(self):
        self.killed_supervisor("closed")

    @only_when_full
    def test_the_supervisor_with_tproxy(self):
        for on_failure in ("open", "closed"):
            with self.subTest(on_failure):
                self.killed_supervisor(on_failure, intercept="tproxy")
                self.tidy()

    @only_when_full
    def test_the_supervisor_without_a_gate(self):
        for way in ("redirect", "tproxy"):
            with self.subTest(way):
                self.killed_supervisor(None, intercept=way)
                self.tidy()


if __name__ == "__main__":
    unittest.main()
