#!/usr/bin/env python3
"""Clients that break off in the content, a thousand times (T:C4): the downstream sees no DATA of theirs, and every
connection, descriptor, spool file, memfd and temporary file is gone afterwards."""
import os
import random
import threading
import unittest

from common import IS_ROOT, Gatepost, Place, config_for, descriptors_of, wait_until
from peers import SANITIZED, Downstream
from scanner_mails import EICAR, mail

PARTS = 20
RUNS = 200 if SANITIZED else 1000
SMALL = mail((b"a.bin", random.Random(1).randbytes(6_000)))
BIG = mail((b"a.bin", random.Random(2).randbytes(400_000)))  # lies in a file
ROLES = ("proxy", "keeper", "scanner")


def places():
    """(content that is sent, before the client breaks off): each twentieth of a small and of a big message, and, up to the
    last octet but one, each piece of an end of data; near-ends are no ends."""
    for content in (SMALL, BIG):
        for part in range(PARTS + 1):
            yield content[:len(content) * part // PARTS]
        for end in (b".", b".\r", b"\n.\n", b".\n", b"..\r\n", b"\r\n.\r"):
            yield content + end


def break_off(gatepost, sent, reset):
    with gatepost.wire() as wire:
        wire.to_data()
        wire.send(sent)
        if reset:
            wire.reset()


@unittest.skipUnless(IS_ROOT, "needs root to look into the processes")
class Cuts(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def counts(self):
        """Everything that a message could leave behind: descriptors by process, and what files these are."""
        counts = {}
        for role in ROLES:
            names = descriptors_of(self.gatepost.child(role))
            counts[role] = len(names)
            counts[role, "spool"] = sum(name.startswith(self.place / "spool/#") for name in names)
            counts[role, "memfd"] = sum(name.startswith("/memfd:gatepost-message") for name in names)
            counts[role, "sockets"] = sum(name.startswith("socket:") for name in names)
        return counts

    def files(self):
        """Named files in the spool and in the scanner's temporary place, which is a tmpfs of its own."""
        scanner = f"/proc/{self.gatepost.child('scanner')}/root{self.place / 'spool'}"
        return sorted(os.path.join(parent, name) for where in (self.place / "spool", scanner)
                      for parent, _, names in os.walk(where) for name in names)

    def run_all(self, runs, senders=8):
        failures = []

        def run(mine):
            try:
                for sent, reset in mine:
                    break_off(self.gatepost, sent, reset)
            except Exception as error:  # shown by the test, not lost in the thread
                failures.append(error)

        threads = [threading.Thread(target=run, args=(runs[first::senders],)) for first in range(senders)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failures, [])

    def good_message(self):
        with self.gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], BIG)

    def assert_idle(self, downstream, sessions):
        """So many sessions there have been, and all are over on both sides."""
        wait_until(lambda: downstream.closed == sessions and self.gatepost.sessions() == 0, f"{sessions} sessions are over")

    def check(self, **sections):
        downstream = self.enterContext(Downstream())
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(self.place, servers=[downstream.address],
                                                                          downstream={"reuse": False}, **sections)))
        self.good_message()
        self.assert_idle(downstream, 1)
        before, files = self.counts(), self.files()
        every = [(sent, reset) for sent in places() for reset in (False, True)]
        runs = [every[number % len(every)] for number in range(RUNS)]
        self.run_all(runs)
        self.assert_idle(downstream, 1 + len(runs))
        wait_until(lambda: self.counts() == before, f"as at the start: {before}")
        self.assertEqual((downstream.opened, downstream.closed), (1 + len(runs), 1 + len(runs)))
        self.assertEqual((len(downstream.messages), downstream.data_commands), (1, 1))
        self.assertEqual(self.files(), files)
        self.good_message()
        self.assertEqual([content for _, _, content in downstream.messages], [BIG, BIG])
        self.assert_logged(len(runs))

    def assert_logged(self, cuts):
        """One summary for each; nobody was told anything, and nothing was scanned."""
        def outcomes():
            return [line["outcome"] for line in self.gatepost.records() if "status" in line]
        wait_until(lambda: len(outcomes()) >= cuts + 2, f"{cuts} summaries")
        self.assertEqual(sorted(outcomes()), sorted(["answered"] * 2 + ["client_gone"] * cuts))
        self.assertEqual(sum(line.get("status") == "NOT_SCANNED" for line in self.gatepost.records()), cuts)

    def test_a_thousand_cuts(self):
        self.check()

    def test_cut_while_it_is_scanned(self):
        """The content is whole, the client leaves before the verdict: D sees nothing, and the scan leaves nothing."""
        downstream = self.enterContext(Downstream())
        self.gatepost = self.enterContext(Gatepost(self.place, config_for(
            self.place, servers=[downstream.address], downstream={"reuse": False}, scanner={"test_hooks": True},
            limits={"scan_wait": "1s"})))
        self.good_message()
        self.assert_idle(downstream, 1)
        before, files = self.counts(), self.files()
        hanging = mail((b"e.com", EICAR), first=b"X-Gatepost-Test: hang\r\n")
        cuts = [(hanging + padding + b".\r\n", reset) for padding in (b"", b"x" * 70 + b"\r\n", (b"x" * 70 + b"\r\n") * 8000)
                for reset in (False, True)]
        self.run_all(cuts, senders=2)
        self.assert_idle(downstream, 1 + len(cuts))
        wait_until(lambda: self.counts() == before and self.files() == files, f"as at the start: {before}, {files}")
        self.assertEqual((downstream.opened, downstream.data_commands), (1 + len(cuts), 1))


if __name__ == "__main__":
    unittest.main()
