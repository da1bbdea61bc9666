#!/usr/bin/env python3
"""Each mail program that test/interop knows, once: every server behind gatepost, every client before it, one message that
arrives as it arrives without gatepost. The whole table is test/interop's."""
import os
import sys
import unittest

from common import IS_ROOT, Place

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from neighbours.cases import CASES  # noqa: E402
from neighbours.compare import Direct, cell  # noqa: E402
from neighbours.stage import CLIENTS, NO_LISTENER, SERVERS, Stage  # noqa: E402

CASE = next(case for case in CASES if case.name == "8-bit")


@unittest.skipUnless(IS_ROOT, "needs root for servers of their own: " + ", ".join([*SERVERS, *CLIENTS]))
class Neighbours(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        place = Place()
        cls.addClassCleanup(place.remove)
        cls.stage = cls.enterClassContext(Stage(place, CLIENTS, SERVERS))
        cls.direct = Direct(cls.stage)

    def check(self, client, server):
        for name in (client, server):
            if name in self.stage.absent:
                self.skipTest(f"{name}: {self.stage.absent[name]}")
        found = cell(self.stage, self.direct, CASE, client, server)
        if found.reason == NO_LISTENER:
            self.skipTest(f"{client} -> {server}: {NO_LISTENER}")
        self.assertEqual(found.through, "ok", found.reason)


def add_cases():
    """One test per neighbour: a name and a time of its own."""
    for server, kind in SERVERS.items():
        client = "smtplib" if kind.protocol == "smtp" else "postfix-lmtp"
        setattr(Neighbours, "test_server_" + server.replace("-", "_"),
                lambda self, client=client, server=server: self.check(client, server))
    for client, kind in CLIENTS.items():
        server = "postfix" if kind.protocol == "smtp" else "dovecot-lmtp"
        setattr(Neighbours, "test_client_" + client.replace("-", "_"),
                lambda self, client=client, server=server: self.check(client, server))


add_cases()

if __name__ == "__main__":
    unittest.main()
