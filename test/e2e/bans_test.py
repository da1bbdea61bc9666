"""Bans for what clients do: gatepost intercepts on a gateway in networks of the test's own, and whom it bans the kernel
turns away, IPv4 and IPv6, by both kinds of rules."""
import json
import unittest

from common import IS_ROOT, PROGRAM, wait_until
from firewall_world import CLIENT, SERVER, Rules, available, snapshot
from gate_test import QUEUE
from interception_test import PORT, Stage
from peers import Wire
from raw_packets import SYN, send_packet
from scanner_mails import EICAR, mail

LISTENERS = {4: "0.0.0.0", 6: "[::]"}
HOUR = {"for": "1h"}


@unittest.skipUnless(IS_ROOT and available(), "needs root and the tools of the packet filter")
class Bans(Stage):
    backend = "nft"
    gate = None

    def setUp(self):
        super().setUp()
        self.rules_of = Rules(self.world.gateway, self.place)
        self.servers = {version: self.server(version) for version in (4, 6)}

    def begin(self, bans, never=(), scan=False, **listener):
        """Mail of the world for our server, by the gateway, for both families."""
        self.direction = listener.get("direction", "incoming")
        keys = {"intercept": "redirect", "scopes": ["forward"], "downstream": "there", "bans": bans,
                "protected": list(SERVER.values()), **listener}
        keys = {key: value for key, value in keys.items() if value is not None}
        listeners = [{"name": f"taken{version}", "address": f"{address}:{PORT}", **keys}
                     for version, address in LISTENERS.items()]
        lists = {"on": True, **({"never": list(never)} if never else {})}
        self.before = snapshot(self.world.gateway)
        gatepost = self.serve_listeners(listeners, {"original": True}, scan=scan, loops=2, firewall={
            "backend": self.backend, "bans": lists, **({"gate": self.gate} if self.gate else {})})
        self.rules_of.run("apply", "-c", self.place / "gatepost.json")
        self.assertEqual(self.rules_of.told("status")["backend"], self.backend)
        self.addCleanup(lambda: self.assertEqual(snapshot(self.world.gateway), self.before))
        self.addCleanup(self.rules_of.run, "remove")
        return gatepost

    def bans(self, *words):
        return self.world.gateway.run([PROGRAM, "bans", *words])

    def listed(self):
        return {each["network"]: each for each in json.loads(self.bans("list", "--json").stdout)["bans"]}

    def banned(self, version, reason, network=None):
        """The one line for the operator, and the next connection."""
        network = network or CLIENT[version]
        wait_until(lambda: self.events(self.gatepost, event="banned", network=network),
                   f"the line about {network}")
        lines = self.events(self.gatepost, event="banned", network=network)
        self.assertEqual(len(lines), 1)
        line = lines[0]
        self.assertEqual((line["client"], line["reason"], line["listener"], line["direction"], line["lift"]),
                         (CLIENT[version], reason, f"taken{version}", self.direction, f"gatepost bans remove {network}"))
        self.assertEqual(self.listed()[network]["reason"], f"{reason}, listener taken{version}")
        self.refused(version)
        return line

    def wire_from(self, version, source):
        return Wire.over(self.world.client.connect(version, SERVER[version], 25, source=source))

    def refused(self, version, source=None):
        with self.assertRaises(ConnectionRefusedError):
            self.wire_from(version, source or CLIENT[version])

    def served(self, version, source=None):
        with self.wire_from(version, source or CLIENT[version]) as wire:
            self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())

    def speak(self, wire, *lines):
        self.assertEqual(wire.reply()[0], 220, self.gatepost.log.tail())
        return [wire.say(line)[0] for line in lines]

    def test_early_talk(self):
        self.begin({"early_talk": {"after": 2, **HOUR}}, early_talker_wait="5s")
        for version in (4, 6):
            with self.subTest(version=version):
                for _ in range(2):
                    with self.wire(version, SERVER[version]) as wire:
                        wire.send(b"EHLO client.example\r\n")
                        self.assertEqual(wire.reply()[0], 554)
                self.assertEqual(self.banned(version, "early_talk")["for"], "1h")

    def test_errors(self):
        self.begin({"errors": {"after": 1, **HOUR}}, max_errors=2)
        for version in (4, 6):
            with self.subTest(version=version):
                with self.wire(version, SERVER[version]) as wire:
                    self.assertEqual(self.speak(wire, b"RUBBISH", b"RUBBISH"), [500, 500])
                    self.assertEqual(wire.say(b"RUBBISH")[0], 500)
                    self.assertEqual(wire.reply()[0], 421)
                self.banned(version, "errors")

    def test_what_is_not_smtp_is_an_error_and_one_client_is_not_the_next(self):
        self.begin({"errors": {"after": 2, **HOUR}})
        self.world.client.address("eth0", "203.0.113.77/24")
        for source in (CLIENT[4], "203.0.113.77", CLIENT[4]):
            with self.wire_from(4, source) as wire:
                self.speak(wire, b"GET / HTTP/1.1")
        self.banned(4, "errors")
        self.served(4, "203.0.113.77")

    def test_failed_authentications(self):
        for server in self.servers.values():
            server.auth = True
        self.begin({"auth_failures": {"after": 3, **HOUR}}, auth="always")
        for version in (4, 6):
            with self.subTest(version=version):
                with self.wire(version, SERVER[version]) as wire:
                    self.speak(wire, b"EHLO client.example")
                    replies = [wire.say(b"AUTH PLAIN AGEAYg==")[0] for _ in range(3)]
                    self.assertEqual(replies, [535] * 3)
                    self.banned(version, "auth_failures")
                    self.assertEqual(wire.say(b"NOOP")[0], 250)  # the session that runs goes on

    def test_too_many_connections(self):
        self.begin({"rate": {"after": 2, "within": "1m", **HOUR}}, max_client_connections=2)
        for version in (4, 6):
            with self.subTest(version=version):
                for expected in (220, 220, 421, 421):
                    with self.wire(version, SERVER[version]) as wire:
                        self.assertEqual(wire.reply()[0], expected)
                self.banned(version, "rate")

    def test_a_ban_ends_by_itself_and_needs_nobody_for_it(self):
        self.begin({"errors": {"after": 1, "for": "2s"}})
        for version in (4, 6):
            with self.wire(version, SERVER[version]) as wire:
                self.speak(wire, b"GET / HTTP/1.1")
            wait_until(lambda: CLIENT[version] in self.listed(), "the ban")
        self.gatepost.kill()
        wait_until(lambda: self.listed() == {}, "the end of the bans")
        # The rules are still there, and nobody listens; without them it goes to the server.
        self.rules_of.run("remove")
        for version in (4, 6):
            self.served(version)

    def test_bans_outlive_the_daemon_and_new_rules(self):
        self.begin({"errors": {"after": 1, **HOUR}})
        for version in (4, 6):
            with self.wire(version, SERVER[version]) as wire:
                self.speak(wire, b"GET / HTTP/1.1")
            self.banned(version, "errors")
        self.gatepost.kill()
        self.rules_of.run("apply", "-c", self.place / "gatepost.json")
        for version in (4, 6):
            self.assertEqual(self.listed()[CLIENT[version]]["reason"], f"errors, listener taken{version}")
            self.refused(version)

    def test_a_longer_ban_stays_and_is_the_one_to_lift(self):
        """Of a client whose session goes on: banned by hand alone, or with its network, for longer than the offence would."""
        self.begin({"errors": {"after": 1, **HOUR}})
        for version, network, more in ((4, CLIENT[4], ("--for", "5h")), (6, "2001:db8:c::/48", ())):
            with self.subTest(version=version):
                with self.wire(version, SERVER[version]) as wire:
                    self.assertEqual(wire.reply()[0], 220)
                    self.bans("add", network, *more)
                    wire.say(b"GET / HTTP/1.1")
                wait_until(lambda: self.events(self.gatepost, event="banned", client=CLIENT[version]), "the line about it")
                line = self.events(self.gatepost, event="banned", client=CLIENT[version])[0]
                self.assertEqual((line["network"], line["lift"], line["message"]),
                                 (network, f"gatepost bans remove {network}", "that ban was there already"))
                self.assertEqual(line["for"] == "until removed", not more)
                listed = self.listed()
                self.assertEqual((listed[network]["reason"], CLIENT[6] in listed), ("by hand", False))
                left = listed[network]["seconds_left"]
                self.assertTrue(left > 4 * 3600 if more else left is None, left)
        self.assertEqual(self.events(self.gatepost, event="ban_failed"), [])

    def test_who_is_on_the_allow_list_is_never_banned(self):
        self.begin({"errors": {"after": 1, **HOUR}}, never=[CLIENT[4], "2001:db8:c::/48"])
        for version in (4, 6):
            for _ in range(3):
                with self.wire(version, SERVER[version]) as wire:
                    self.speak(wire, b"GET / HTTP/1.1")
            wait_until(lambda: self.events(self.gatepost, event="not_banned", client=CLIENT[version]), "the line about it")
            line = self.events(self.gatepost, event="not_banned", client=CLIENT[version])[0]
            self.assertEqual((line["message"], line["reason"], line["direction"]), ("firewall.bans.never lists it", "errors", "incoming"))
            self.served(version)
        self.assertEqual(self.listed(), {})
        self.assertEqual(self.events(self.gatepost, event="banned"), [])

    def test_ipv6_clients_from_elsewhere_are_banned_by_their_network(self):
        """Whoever is on a link of ours would take us along: those are banned alone, here in all other tests."""
        for address in ("2001:db8:d::9", "2001:db8:d::10", "2001:db8:d:1::9", "2001:db8:d:2::9"):
            self.world.client.ip(f"-6 address add {address}/128 dev lo nodad")
        self.world.gateway.ip(f"-6 route add 2001:db8:d::/48 via {CLIENT[6]}")
        self.begin({"errors": {"after": 2, **HOUR}})
        for source in ("2001:db8:d::9", "2001:db8:d::10"):  # two of one network make two
            with self.wire_from(6, source) as wire:
                self.speak(wire, b"GET / HTTP/1.1")
        wait_until(lambda: "2001:db8:d::/64" in self.listed(), "the ban")
        self.refused(6, "2001:db8:d::9")
        self.refused(6, "2001:db8:d::10")
        self.served(6, "2001:db8:d:1::9")
        self.served(6)
        # One of them is banned for longer: nft has no room for the network around it then.
        self.bans("add", "2001:db8:d:2::10")
        for _ in range(2):
            with self.wire_from(6, "2001:db8:d:2::9") as wire:
                self.speak(wire, b"GET / HTTP/1.1")
        expected = {"nft": "2001:db8:d:2::9", "iptables": "2001:db8:d:2::/64"}[self.backend]
        wait_until(lambda: expected in self.listed(), "the ban")
        self.refused(6, "2001:db8:d:2::9")
        self.assertEqual(self.listed()["2001:db8:d:2::10"]["seconds_left"], None)

    def test_a_peer_that_speaks_for_others_is_not_banned_for_them(self):
        self.begin({"errors": {"after": 1, **HOUR}}, xclient_from=[CLIENT[4]])
        with self.wire(4, SERVER[4]) as wire:
            self.assertEqual(self.speak(wire, b"XCLIENT ADDR=198.51.100.66"), [220])
            wire.say(b"GET / HTTP/1.1")
        wait_until(lambda: self.events(self.gatepost, event="not_banned", client="198.51.100.66"), "the line about it")
        # Nor for its own sake.
        with self.wire(4, SERVER[4]) as wire:
            self.speak(wire, b"GET / HTTP/1.1")
        wait_until(lambda: self.events(self.gatepost, event="not_banned", client=CLIENT[4]), "the line about it")
        self.assertEqual(self.listed(), {})
        self.served(4)

    def test_a_ban_that_cannot_be_is_an_error_in_the_log(self):
        self.begin({"errors": {"after": 1, **HOUR}})
        with open(self.place / "gatepost.json") as file:
            config = json.load(file)
        del config["firewall"]["bans"]
        for listener in config["listeners"]:
            del listener["bans"]
        other = self.place / "without.json"
        with open(other, "w") as file:
            json.dump(config, file)
        self.rules_of.run("apply", "-c", other)
        with self.wire(4, SERVER[4]) as wire:
            self.speak(wire, b"GET / HTTP/1.1")
        wait_until(lambda: self.events(self.gatepost, event="ban_failed"), "the line about it")
        line = self.events(self.gatepost, event="ban_failed")[0]
        self.assertEqual((line["level"], line["client"], line["direction"]), ("error", CLIENT[4], "incoming"))
        self.assertIn("there is no list of banned clients", line["message"])

    def test_the_story_of_an_infected_client_in_our_network(self):
        """Outgoing mail of a network: the client with the virus is refused, banned, and named; its neighbours go on."""
        gatepost = self.begin({"infected": {**HOUR}}, scan=True, direction="outgoing", protected=None)
        for version in (4, 6):
            neighbour = {4: "203.0.113.50", 6: "2001:db8:c::50"}[version]
            self.world.client.address("eth0", neighbour + {4: "/24", 6: "/64"}[version])
            with self.subTest(version=version):
                with self.wire_from(version, CLIENT[version]) as wire:
                    self.assertEqual(self.speak(wire, b"EHLO client.example", b"MAIL FROM:<a@example.org>",
                                                b"RCPT TO:<b@example.net>", b"DATA"), [250, 250, 250, 354])
                    wire.send(mail(text=EICAR + b"\r\n") + b".\r\n")
                    code, text = wire.reply()
                    self.assertEqual(code, 550, text)
                    # By its own address: the whole network would be its neighbours', too.
                    line = self.banned(version, "infected", CLIENT[version])
                    self.assertEqual(line["for"], "1h")
                    wire.say(b"QUIT")
                summary = wait_until(lambda: self.events(gatepost, outcome="answered", listener=f"taken{version}"),
                                     "the summary")[0]
                self.assertIn(CLIENT[version], summary["client"])
                self.assertIn("VIRUS", summary["status"])
                self.assertEqual(self.servers[version].messages, [])
                self.served(version, neighbour)
                self.bans("remove", CLIENT[version])
                self.served(version)


class BansWithIptables(Bans):
    backend = "iptables"


class BansWithGate(Bans):
    """What a gate has decided about is banned for the same."""

    backend = "iptables"
    gate = {"queue": QUEUE}

    def test_first_packets_with_somebody_elses_address_ban_nobody(self):
        """The client's own system knows nothing of them, and answers as one whose address was taken: RST."""
        self.begin({"rate": {"after": 2, "within": "1m", **HOUR}}, max_client_connections=2)
        for version in (4, 6):
            for number in range(20):
                send_packet(self.world.client, version, CLIENT[version], SERVER[version], SYN, source_port=41000 + number)
            self.refused(version)  # for the rest of the minute, as ever
        self.assertEqual(self.listed(), {})
        self.assertNotIn("banned", self.gatepost.log.text())


if __name__ == "__main__":
    unittest.main()
