"""The configurations that are shipped (appliance/examples), before a Postfix that trusts its own host: nobody outside relays
through them, as they are or with their listeners opened to the world."""
import json
import os
import re
import unittest

import far_network
import postfix_server
from common import ROOT, USERS, Gatepost, Place
from postfix_server import Postfix

EXAMPLES = os.path.join(ROOT, "appliance/examples")
network = None


def setUpModule():
    global network
    network = far_network.laid_for_module(postfix_server)


class Examples(unittest.TestCase):
    def shipped(self, name):
        with open(os.path.join(EXAMPLES, name)) as file:
            config = json.loads(re.sub(r"^\s*//.*$", "", file.read(), flags=re.MULTILINE))
        del config["scanners"]
        config.update(spool={"directory": str(self.place / "spool")}, state_directory=str(self.place / "state"),
                      log={"format": "json", "to": "stderr"}, users=USERS)
        return config

    def serve(self, config):
        gatepost = Gatepost(self.place, config)
        self.addCleanup(gatepost.__exit__, None)
        return gatepost

    def begin(self, name):
        self.place = Place()
        self.addCleanup(self.place.remove)
        config = self.shipped(name)
        behind = {server for each in config["downstreams"].values() for server in each["servers"]}
        services = "".join(f"{server} inet n - n - - smtpd\n" for server in behind)
        postfix = Postfix(self.place, settings="mynetworks = 127.0.0.0/8\nsmtpd_relay_restrictions = permit_mynetworks, "
                          "reject_unauth_destination\n", services=services)
        self.addCleanup(postfix.__exit__)
        return config

    def test_from_outside_nobody_relays(self):
        for name in sorted(os.listdir(EXAMPLES)):
            with self.subTest(name):
                config = self.begin(name)
                gatepost = self.serve(config)
                ports = [int(each["address"].rsplit(":", 1)[1]) for each in config["listeners"]]
                for port in ports:
                    with self.assertRaises(ConnectionRefusedError):  # loopback alone
                        network.wire(port)
                gatepost.__exit__(None)
                for each in config["listeners"]:
                    each["address"] = each["address"].replace("127.0.0.1", "0.0.0.0")
                gatepost = self.serve(config)
                for port in ports:
                    with network.wire(port) as wire:
                        self.assertEqual(wire.reply()[0], 421)
                gatepost.log.wait_for("smtpd_authorized_xclient_hosts")
                self.doCleanups()


if __name__ == "__main__":
    unittest.main()
