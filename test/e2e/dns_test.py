#!/usr/bin/env python3
"""Names in the real world: gatepost's resolver against nsd, every odd answer of T:J6; servers of a downstream that move, go
away and come back while gatepost runs."""
import contextlib
import json
import os
import re
import smtplib
import subprocess
import unittest

from common import BUILD, IS_ROOT, PROGRAM, Gatepost, Place, config_for, wait_until
from name_server import NameServer, missing
from peers import PATIENCE, Downstream
from traced import Traced

ASK = os.path.join(BUILD, "test/dns_ask")
ZONE = "example.test."
CLEAN = b"Subject: test\r\n\r\nhello\r\n"
LONG = " ".join('"%s"' % (chr(97 + i % 26) * 250) for i in range(100))
RECORDS = "\n".join([
    "one 300 IN A 192.0.2.1", "one IN AAAA 2001:db8::1", "four IN A 192.0.2.4",
    *(f"many IN A 10.1.{i // 200}.{i % 200}" for i in range(600)),
    "alias 20 IN CNAME next", "next 200 IN CNAME one", "dangling IN CNAME gone", "outside IN CNAME www.elsewhere.example.",
    "round IN CNAME about", "about IN CNAME round",
    "mx IN MX 20 two", "mx IN MX 10 one", "nullmx IN MX 0 .", "*.wild IN A 192.0.2.77", "*.wild IN MX 5 one",
    f"long IN TXT {LONG}", r'odd IN TXT "a\"b\000\255" "c"', "_25._tcp.one IN TLSA 3 1 1 " + "ab" * 32,
    "zero 0 IN A 192.0.2.10",
])
REVERSE = "1 IN PTR one.example.test.\n2 IN PTR one.example.test.\n2 IN PTR other.example.test.\n" + r"3 IN PTR a\010b\"c.test."


@unittest.skipIf(missing(), "not installed: " + ", ".join(missing()))
class WithNameServer(unittest.TestCase):
    def setUp(self):
        self.place = Place()
        self.addCleanup(self.place.remove)

    def ask(self, *questions, anchor=""):
        """Answers to NAME TYPE pairs, in order."""
        done = subprocess.run([ASK, self.names.address, anchor, *questions], capture_output=True, text=True, timeout=PATIENCE * 5)
        self.assertEqual(done.returncode, 0, done.stderr)
        return [json.loads(line) for line in done.stdout.splitlines()]


class Answers(WithNameServer):
    def setUp(self):
        super().setUp()
        self.names = self.enterContext(NameServer(self.place / "nsd", {ZONE: RECORDS, "2.0.192.in-addr.arpa.": REVERSE}))

    def records(self, name, kind):
        answer, = self.ask(name, kind)
        self.assertEqual(answer["outcome"], "found", answer)
        return answer["records"]

    def test_addresses(self):
        one, six, none, many, wild = self.ask("one.example.test", "A", "ONE.example.test.", "AAAA", "four.example.test", "AAAA",
                                              "many.example.test", "A", "a.b.wild.example.test", "A")
        self.assertEqual((one["records"], one["secure"]), (["192.0.2.1"], False))
        self.assertTrue(290 <= one["ttl"] <= 300, one)
        self.assertEqual(six["records"], ["2001:db8::1"])
        self.assertEqual((none["outcome"], none["text"]), ("no data", "no AAAA record"))
        self.assertTrue(60 <= none["ttl"] <= 77, none)
        self.assertEqual(len(set(many["records"])), 600)  # by TCP
        self.assertEqual(wild["records"], ["192.0.2.77"])

    def test_aliases(self):
        chain, dangling, outside, circle, mx = self.ask(
            "alias.example.test", "A", "dangling.example.test", "A", "outside.example.test", "A", "round.example.test", "A",
            "alias.example.test", "MX")
        self.assertEqual((chain["records"], chain["name"]), (["192.0.2.1"], "one.example.test"))
        self.assertLessEqual(chain["ttl"], 20)
        self.assertEqual(dangling["outcome"], "no such name")
        self.assertEqual(outside["outcome"], "failed")  # nsd refuses to speak of other zones
        self.assertEqual(circle["outcome"], "failed")
        self.assertEqual(mx["outcome"], "no data")

    def test_denials(self):
        gone, other, refused = self.ask("gone.example.test", "MX", "gone.example.test", "TLSA", "www.elsewhere.example", "A")
        self.assertEqual((gone["outcome"], gone["text"]), ("no such name", "no such name"))
        self.assertEqual(other["outcome"], "no such name")
        self.assertEqual(refused["outcome"], "failed")

    def test_other_types(self):
        self.assertEqual(sorted(self.records("mx.example.test", "MX")), [[10, "one.example.test"], [20, "two.example.test"]])
        self.assertEqual(self.records("nullmx.example.test", "MX"), [[0, ""]])
        self.assertEqual(self.records("x.wild.example.test", "MX"), [[5, "one.example.test"]])
        long, = self.records("long.example.test", "TXT")
        self.assertEqual(bytes.fromhex(long).decode(), LONG.replace('"', "").replace(" ", ""))
        self.assertEqual([bytes.fromhex(text) for text in self.records("odd.example.test", "TXT")], [b'a"b\0\xffc'])
        self.assertEqual(self.records("_25._tcp.one.example.test", "TLSA"), [[3, 1, 1, "ab" * 32]])

    def test_names_of_addresses(self):
        self.assertEqual(self.records("1.2.0.192.in-addr.arpa", "PTR"), ["one.example.test"])
        self.assertEqual(len(self.records("2.2.0.192.in-addr.arpa", "PTR")), 2)
        self.assertEqual(self.records("3.2.0.192.in-addr.arpa", "PTR"), [r"a\010b\"c.test"])
        self.assertEqual(self.ask("9.2.0.192.in-addr.arpa", "PTR")[0]["outcome"], "no such name")

    def test_no_time_to_live(self):
        self.assertEqual([answer["ttl"] for answer in self.ask(*["zero.example.test", "A"] * 3)], [0, 0, 0])

    def test_nobody_answers(self):
        self.names.stop()
        answer, = self.ask("one.example.test", "A")
        self.assertEqual((answer["outcome"], answer["text"]), ("failed", "no answer in time"))


class Signed(WithNameServer):
    def setUp(self):
        super().setUp()
        self.names = NameServer(self.place / "nsd", {ZONE: RECORDS})
        records = "www IN A 192.0.2.1\nmx IN MX 10 www\nalias IN CNAME www\n_25._tcp.www IN TLSA 3 1 1 " + "cd" * 32
        anchors = [self.names.sign("good.test.", records), self.names.sign("forged.test.", records),
                   self.names.sign("expired.test.", records, "-i", "20190101", "-e", "20200101")]
        forged = self.names.file_of("forged.test.")
        with open(forged) as file:
            text = file.read()
        changed, count = re.subn(r"192\.0\.2\.1\b", "192.0.2.66", text)
        self.assertEqual(count, 1)
        with open(forged, "w") as file:
            file.write(changed)
        self.anchor = self.place / "anchor"
        with open(self.anchor, "w") as file:
            file.writelines(anchors)
        self.enterContext(self.names)

    def outcomes(self, *questions, anchor=None):
        return [(answer["outcome"], answer["secure"] if "secure" in answer else None)
                for answer in self.ask(*questions, anchor=self.anchor if anchor is None else anchor)]

    def test_good_signatures(self):
        self.assertEqual(self.outcomes("www.good.test", "A", "mx.good.test", "MX", "alias.good.test", "A",
                                       "_25._tcp.www.good.test", "TLSA"), [("found", True)] * 4)

    def test_denials_are_proved(self):
        self.assertEqual(self.outcomes("gone.good.test", "A", "www.good.test", "TLSA"), [("no such name", True), ("no data", True)])

    def test_bad_signatures(self):
        forged, expired, expired_denial = self.ask("www.forged.test", "A", "www.expired.test", "A", "gone.expired.test", "A",
                                                   anchor=self.anchor)
        self.assertEqual({forged["outcome"], expired["outcome"], expired_denial["outcome"]}, {"bogus"})
        self.assertIn("expired", expired["text"])
        self.assertEqual(self.outcomes("mx.forged.test", "MX"), [("found", True)])  # only one record is forged

    def test_unsigned_zones_are_not_secure(self):
        self.assertEqual(self.outcomes("one.example.test", "A", "gone.example.test", "A"), [("found", False), ("no such name", False)])

    def test_without_dnssec_nobody_looks(self):
        self.assertEqual(self.outcomes("www.forged.test", "A", "www.good.test", "A", anchor=""), [("found", False)] * 2)


class Downstreams(WithNameServer):
    """Servers by name: "next.example.test", on one port of several loopback addresses."""

    def setUp(self):
        super().setUp()
        self.names = NameServer(self.place / "nsd", {ZONE: "next 1 IN A 127.0.0.1"}, denial_ttl=1)
        self.first = self.enterContext(Downstream())
        self.port = int(self.first.address.rsplit(":", 1)[1])

    def server_at(self, address):
        return self.enterContext(Downstream(at=(address, self.port)))

    def config(self, names=("next.example.test",), dns=None, **sections):
        return config_for(self.place, [f"{name}:{self.port}" for name in names], scan=False,
                          dns={"forwarders": [self.names.address], "hosts": "", "timeout": "2s", **(dns or {})},
                          downstream={"reuse": False, "identity": "none", "greeting_timeout": "10s"}, **sections)

    def start(self, *arguments, **sections):
        self.gatepost = self.enterContext(Gatepost(self.place, self.config(*arguments, **sections)))

    def send(self):
        with self.gatepost.smtp() as client:
            client.sendmail("a@example.org", ["b@example.org"], CLEAN)

    def sent_to(self, server):
        """Sends one message; whether that server got it."""
        before = len(server.messages)
        self.send()
        return len(server.messages) > before

    def refused(self):
        with self.assertRaises(smtplib.SMTPConnectError) as raised, self.gatepost.smtp():
            pass
        return raised.exception.smtp_code

    def test_a_server_moves(self):
        second = self.server_at("127.0.0.2")
        with self.names:
            self.start()
            self.assertTrue(self.sent_to(self.first))
            self.names.change(ZONE, "next 0 IN A 127.0.0.2")
            wait_until(lambda: self.sent_to(second), "mail arrives at the new address")
            self.names.change(ZONE, "next 1 IN CNAME there\nthere 1 IN A 127.0.0.1")
            wait_until(lambda: self.sent_to(self.first), "mail arrives at the old address again")

    def test_the_next_address_is_tried(self):
        second = self.server_at("127.0.0.2")
        self.names.zones[ZONE] = "next 1 IN AAAA ::1\nnext 1 IN A 127.0.0.3\nnext 1 IN A 127.0.0.4\nnext 1 IN A 127.0.0.2"
        with self.names:
            self.start()
            self.assertTrue(self.sent_to(second))

    def test_the_next_server_is_tried(self):
        with self.names:
            self.start(("gone.example.test", "next.example.test"))
            self.assertTrue(self.sent_to(self.first))

    def test_no_address_at_all(self):
        self.names.zones[ZONE] = "next 1 IN TXT x"
        with self.names:
            self.start(("gone.example.test", "next.example.test"), loops=1)
            self.assertEqual(self.refused(), 421)
            self.names.change(ZONE, "next 1 IN A 127.0.0.1")
            wait_until(lambda: self.greeted(), "the name has an address")
            self.assertTrue(self.sent_to(self.first))

    def greeted(self):
        with contextlib.suppress(smtplib.SMTPConnectError), self.gatepost.smtp():
            return True
        return False

    def test_gatepost_starts_without_dns(self):
        self.start(loops=1)
        self.assertEqual(self.refused(), 421)
        with self.names:
            wait_until(self.greeted, "the DNS is there")
            self.assertTrue(self.sent_to(self.first))

    def test_the_dns_goes_away(self):
        with self.names:
            self.start(loops=1)
            self.assertTrue(self.sent_to(self.first))
        wait_until(lambda: self.sent_to(self.first) and "cannot be resolved" in self.gatepost.log.text(), "the DNS is missed")
        for _ in range(5):
            self.assertTrue(self.sent_to(self.first))
        self.assertEqual(self.gatepost.log.text().count("cannot be resolved"), 1)
        with self.names:
            wait_until(lambda: self.sent_to(self.first) and "is resolved again" in self.gatepost.log.text(), "the DNS is back")

    def test_a_denial_is_final(self):
        with self.names:
            self.start()
            self.assertTrue(self.sent_to(self.first))
            self.names.change(ZONE, "other 1 IN A 127.0.0.1")
            wait_until(lambda: not self.greeted(), "the name is gone")

    def test_the_hosts_file(self):
        hosts = self.place / "hosts"
        with open(hosts, "w") as file:
            file.write("127.0.0.1 next.example.test\n")
        os.chmod(hosts, 0o644)
        self.start(dns={"hosts": hosts})  # nobody answers at the forwarder
        self.assertTrue(self.sent_to(self.first))

    def test_bogus_is_not_used(self):
        anchor = self.names.sign("signed.test.", "good 1 IN A 127.0.0.1\nbad 1 IN A 127.0.0.3")
        file = self.names.file_of("signed.test.")
        with open(file) as zone:
            text = zone.read().replace("127.0.0.3", "127.0.0.2")
        with open(file, "w") as zone:
            zone.write(text)
        with open(self.place / "anchor", "w") as out:
            out.write(anchor)
        os.chmod(self.place / "anchor", 0o644)
        forged = self.server_at("127.0.0.2")
        with self.names:
            self.start(("bad.signed.test", "good.signed.test"), dns={"dnssec": True, "trust_anchor": self.place / "anchor"})
            self.assertTrue(self.sent_to(self.first))
            self.assertEqual(forged.opened, 0)

    def check(self, config):
        file = self.place / "checked.json"
        with open(file, "w") as out:
            json.dump(config, out)
        done = subprocess.run([PROGRAM, "check", "-c", file], capture_output=True, text=True, timeout=PATIENCE)
        return done.returncode, done.stdout + done.stderr

    def test_check_warns_of_names_without_address(self):
        with self.names:
            status, said = self.check(self.config(("next.example.test", "gone.example.test")))
            self.assertEqual(status, 0, said)
            self.assertIn("gone.example.test has no address now (no such name)", said)
            self.assertNotIn("next.example.test has no address", said)
        status, said = self.check(self.config(dns={"timeout": "300ms"}))
        self.assertEqual(status, 0, said)
        self.assertIn("next.example.test has no address now", said)
        status, said = self.check(self.config(dns={"forwarders": ["ns.example.test:53"]}))
        self.assertEqual(status, 78, said)
        status, said = self.check(self.config(dns={"dnssec": True, "trust_anchor": "/nonexistent/anchor"}))
        self.assertEqual(status, 78, said)

    @unittest.skipUnless(IS_ROOT, "needs root to trace the processes")
    def test_no_file_and_no_wait(self):
        with self.names:
            self.start(loops=1)
            with Traced(self.gatepost.child("proxy"), self.place / "trace", "trace=file,process,poll,ppoll,select,pselect6,epoll_wait,epoll_pwait",
                        "signal=none") as traced:
                for _ in range(3):
                    self.assertTrue(self.sent_to(self.first))
                self.names.change(ZONE, "next 0 IN A 127.0.0.2")
                wait_until(lambda: not self.greeted(), "the name leads to nobody")
        opened = set(re.findall(r'open(?:at)?\([^"]*"([^"]*)"', traced.report))
        self.assertEqual({path for path in opened if path != self.place / "spool" and not path.startswith("/proc/self/fd/")}, set())
        self.assertNotIn("execve(", traced.report)
        # glibc's resolver waits in poll(): a loop waits in epoll_wait() alone.
        loops = set(re.findall(r"^(\d+) +epoll_p?wait", traced.report, re.M))
        self.assertEqual(len(loops), 1)
        waits = re.findall(r"^(\d+) +(?:p?poll|p?select6?)\(.*", traced.report, re.M)
        self.assertEqual(loops & set(waits), set())


if __name__ == "__main__":
    unittest.main()
