#!/usr/bin/env python3
"""What clients were told against what is stored, while gatepost is ended or its processes are killed under load: 250 means
stored, whatever happened; and what is stored without a 250 is a message whose client got no reply, or one that the log
calls unknown."""
import contextlib
import json
import os
import random
import re
import signal
import threading
import unittest

from common import IS_ROOT, PATIENCE, Gatepost, Place, config_for, maildir_files
from peers import SANITIZED, Downstream, Wire

SENDERS = 6
PAUSE = SENDERS / 20  # seconds between the messages of one sender: 20 messages a second in all
LAST_LINE = b"the last line\r\n"


class Load:
    """Senders of messages that are never sent twice, until stop(). told: number -> reply code, or 0 for none."""

    def __init__(self, gatepost):
        self.told, self.ports = {}, {}
        self._port = gatepost.port
        self._lock = threading.Lock()
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
        """Load for as long."""
        self._stop.wait(seconds)

    def _send_all(self, number):
        while not self._stop.wait(PAUSE * random.random() * 2):
            with contextlib.suppress(OSError):
                self._send(number)
            number += SENDERS

    def _send(self, number):
        with Wire(self._port) as wire:
            try:
                wire.to_data(sender=b"m%d@example.org" % number)
            except AssertionError:
                return  # refused before there was a message
            with self._lock:
                self.ports[wire.socket.getsockname()[1]] = number
                self.told[number] = 0
            filling = b"x" * 70 + b"\r\n"
            wire.send(b"Subject: %d\r\n\r\n" % number + filling * random.choice((1, 10, 400)) + LAST_LINE + b".\r\n")
            self.told[number] = wire.reply()[0]


def number_of(text):
    return int(re.search(r"<m(\d+)@", text)[1])


def unknown_in(log, ports):
    """Messages that the log calls unknown: by the session, or by the supervisor for a proxy that died."""
    found = set()
    for line in log.all:
        if '"outcome":"unknown"' not in line:
            continue
        record = json.loads(line)
        if "from" in record:
            found.add(number_of("<" + record["from"].strip("<>") + ">"))
        else:
            found.add(ports[int(record["client"].rsplit(":", 1)[1])])
    return found


class ToldAndStored(unittest.TestCase):
    def place(self):
        place = Place()
        self.addCleanup(place.remove)
        return place

    def compare(self, load, gatepost, stored):
        """`stored` may hold a message twice only by our fault: nobody sends one twice."""
        self.assertEqual(len(stored), len(set(stored)), "a message is stored twice")
        told = {number for number, code in load.told.items() if code == 250}
        lost = told - set(stored)
        self.assertEqual(lost, set(), f"told 250, and not stored; the log:\n{gatepost.log.text()}")
        without_reply = {number for number, code in load.told.items() if code == 0}
        surprising = set(stored) - told - without_reply - unknown_in(gatepost.log, load.ports)
        self.assertEqual(surprising, set(), f"stored, refused, and not called unknown; the log:\n{gatepost.log.text()}")
        return told

    def slow_downstream(self):
        waits = threading.Event()  # never set: a server that takes its time
        return Downstream(lambda _: waits.wait(random.random() * 0.1) and None)

    def stored_in(self, downstream):
        return [number_of(sender.decode()) for sender, _, _ in downstream.messages]

    def ended_at_a_random_moment(self, second_after=None):
        place = self.place()
        with self.slow_downstream() as downstream:
            config = config_for(place, servers=[downstream.address], limits={"drain": "5s"})
            with Gatepost(place, config) as gatepost:
                load = Load(gatepost)
                load.lasts(0.3 + random.random())
                gatepost.signal(signal.SIGTERM)
                if second_after is not None:
                    load.lasts(second_after)
                    gatepost.signal(signal.SIGTERM)
                status, _ = gatepost.wait()
                load.stop()
            told = self.compare(load, gatepost, self.stored_in(downstream))
        return status, told, load

    def test_term(self):
        everything = set()
        for _ in range(4):
            status, told, load = self.ended_at_a_random_moment()
            self.assertEqual(status, 0)
            # Nothing was cut: whoever got as far as the content has an answer, and it is 250.
            self.assertEqual(set(load.told.values()) - {250}, set())
            everything |= told
        self.assertGreater(len(everything), 4)

    def test_second_term(self):
        for _ in range(4):
            status, _, _ = self.ended_at_a_random_moment(second_after=random.random() * 0.06)
            self.assertIn(status, (0, 75))

    def kill_at_random(self, gatepost, roles, load):
        for _ in range(6):
            load.lasts(0.2 + random.random() * 0.4)
            os.kill(gatepost.child(random.choice(roles)), signal.SIGKILL)
        load.lasts(1)
        load.stop()
        gatepost.signal(signal.SIGTERM)
        gatepost.wait(PATIENCE * 2)

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_kill_before_a_server(self):
        place = self.place()
        with self.slow_downstream() as downstream:
            with Gatepost(place, config_for(place, servers=[downstream.address])) as gatepost:
                load = Load(gatepost)
                self.kill_at_random(gatepost, ("proxy", "scanner", "keeper"), load)
            told = self.compare(load, gatepost, self.stored_in(downstream))
        self.assertGreater(len(told), 5)

    @unittest.skipUnless(IS_ROOT, "needs root to tell the processes apart")
    def test_kill_before_a_maildir(self):
        place = self.place()
        with Gatepost(place, config_for(place)) as gatepost:
            load = Load(gatepost)
            self.kill_at_random(gatepost, ("keeper", "keeper", "scanner", "proxy"), load)
        stored = []
        for name, octets in maildir_files(place / "mail").items():
            stored.append(number_of(re.search(rb"^Return-Path: (.*)$", octets, re.M)[1].decode()))
            self.assertTrue(name.endswith(f",S={len(octets)}") and octets.endswith(LAST_LINE.replace(b"\r\n", b"\n")), name)
        told = self.compare(load, gatepost, stored)
        self.assertGreater(len(told), 1 if SANITIZED else 5)


if __name__ == "__main__":
    unittest.main()
