#!/usr/bin/env python3
"""gatepost firewall verify: what it proves, and that it finds what is wrong, names it with the mend, and touches nothing."""
import contextlib
import json
import os
import subprocess
import unittest

from common import PROGRAM, USERS, Gatepost, config_for, only_when_full, wait_until
from firewall_case import BACKENDS, Firewall
from firewall_tools import Tools
from firewall_world import ANY, CLIENT, LOOPBACK, NEAR, SERVER, StandIn, _enter, snapshot
from gate_test import QUEUE, GateProgram
from interception_test import Server

WRONG = 69
BOTH = (4, 6)


def at(version, address=ANY, port=2525):
    return f"[{address[version]}]:{port}" if version == 6 else f"{address[version]}:{port}"


def redirecting(*scopes, **more):
    protected = {"protected": ["192.0.2.0/24", "2001:db8:5::/64", NEAR[4], NEAR[6]]} if "forward" in scopes else {}
    return [{"intercept": "redirect", "address": at(version), "scopes": list(scopes or ["input"]), **protected, **more}
            for version in BOTH]


def tproxying(*scopes, **more):
    return [{**each, "intercept": "tproxy", "address": at(version, LOOPBACK), "downstream": "there"}
            for version, each in zip(BOTH, redirecting(*scopes, **more))]


class VerifyStage(Firewall):
    """A gateway with a mail server, and what verify says of it."""

    def setUp(self):
        super().setUp()
        for version in BOTH:
            self.addCleanup(StandIn(self.gateway, version, 25, "mta").close)

    def given_proxy(self, transparent=False, uid=USERS["proxy"], versions=BOTH):
        stack = contextlib.ExitStack()
        for version in versions:
            address = LOOPBACK[version] if transparent else ANY[version]
            stack.enter_context(StandIn(self.gateway, version, 2525, "proxy", address=address, transparent=transparent, uid=uid))
        self.addCleanup(stack.close)
        return stack

    def applied(self, backend, listeners):
        self.config = self.configured(backend, *listeners)
        self.rules.run("apply", "-c", self.config)

    def verified(self, *words):
        done = self.rules.run("verify", "-c", self.config, "--json", *words, check=False)
        self.assertIn(done.returncode, (0, WRONG), done)
        told = json.loads(done.stdout)
        self.assertEqual(told["ok"], done.returncode == 0)
        self.results = {}
        for each in told["proofs"]:  # the worst of all interfaces
            key = (each["scope"], each["version"])
            self.results[key] = max(each["result"], self.results.get(key, ""), key=["", "proven", "inspected", "failed"].index)
        self.sentences = [each["text"] for each in told["proofs"]]
        self.warnings, self.spoof = told["warnings"], told.get("spoof")
        return told["faults"]

    def expect_fault(self, what, mend, result=None, scope="input", version=4):
        """Among the faults; and what is proven in spite of it."""
        faults = self.verified()
        self.assertTrue(any(what in each["what"] and mend in each["mend"] for each in faults), faults)
        if result:
            self.assertEqual(self.results[scope, version], result, self.sentences)


class Verify(VerifyStage):
    def test_it_proves_every_scope_and_leaves_no_trace(self):
        with self.given_proxy():
            for backend in BACKENDS:
                for scopes, direction in ((("input", "forward"), "incoming"), (("forward", "output"), "outgoing")):
                    with self.subTest(backend=backend, direction=direction):
                        more = {} if direction == "incoming" else {"protected": None}
                        listeners = [{key: value for key, value in {**each, **more, "direction": direction}.items() if value}
                                     for each in redirecting(*scopes)]
                        self.applied(backend, listeners)
                        before = snapshot(self.gateway)
                        self.assertEqual(self.verified(), [])
                        self.assertEqual(self.results, {(scope, version): "proven" for scope in scopes for version in BOTH})
                        self.assertTrue(all("220 proxy 198.18." in each or "220 proxy 2001:2:" in each for each in self.sentences),
                                        self.sentences)
                        self.assertEqual(snapshot(self.gateway), before)
                        self.rules.run("remove")

    def test_it_proves_tproxy_and_interfaces_that_are_named(self):
        with self.given_proxy(transparent=True):
            for backend in BACKENDS:
                with self.subTest(backend):
                    self.applied(backend, tproxying("input", "forward", interfaces=["near"]))
                    self.assertEqual(self.verified(), [])
                    self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                    self.rules.run("remove")

    def test_over_lo(self):
        with self.given_proxy():
            self.applied("nft", redirecting("output", interfaces=["lo"]))
            self.assertEqual(self.verified(), [])
            self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)

    def test_nobody_listens(self):
        for backend, listeners, meaning in (("nft", redirecting(), "is refused"), ("iptables", tproxying(), "gets no answer")):
            with self.subTest(backend):
                self.applied(backend, listeners)
                self.expect_fault("nobody listens on ", "gatepost serve", "proven")
                self.expect_fault(f"(listener l0): what is diverted {meaning}", "gatepost serve")
                self.assertIn("a listener of verify's own", self.sentences[0])
                self.rules.run("remove")

    def test_somebody_else_listens(self):
        self.applied("nft", redirecting())
        with self.given_proxy(uid=USERS["keeper"]):
            self.assertEqual(self.verified(), [])
            self.assertEqual(set(self.results.values()), {"failed"})
            self.assertIn(f"accepted by a process of uid {USERS['keeper']}", self.sentences[0])

    def test_what_cannot_be_tried_is_said(self):
        with self.given_proxy():
            for more in ({"skip_sources": ["0.0.0.0/0", "::/0"]}, {"skip_destinations": ["0.0.0.0/0", "::/0"]}):
                self.applied("nft", redirecting(**more))
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"inspected"})

    def test_nothing_in_force(self):
        config = self.configured("nft", *redirecting())
        done = self.rules.run("verify", "-c", config, check=False)
        self.assertEqual((done.returncode, "no rules are in force" in done.stderr), (69, True))

    def test_killed_on_the_way_it_leaves_no_trace(self):
        tools = Tools(self.place)
        self.applied("nft", redirecting())
        before = snapshot(self.gateway)
        tools.at({"argv": ["ip", "link", "set", "gp-verify0", "up"]}, "hang")
        process = self.gateway.popen([*tools.before, PROGRAM, "firewall", "verify", "-c", self.config, "--state", self.rules.state],
                                     stdout=subprocess.DEVNULL)
        hanging = tools.wait_for_hanging()
        self.assertIn("gp-verify0", snapshot(self.gateway))
        process.kill()
        process.wait()
        wait_until(lambda: not os.path.exists(f"/proc/{hanging}"), "programs end with who runs them")
        wait_until(lambda: snapshot(self.gateway) == before, "the interface is gone")

    @only_when_full
    def test_parts_that_are_missing(self):
        with self.given_proxy(transparent=True):
            for backend in BACKENDS:
                for what, commands in (("IPv4: the routing rule", ["ip rule delete priority 25"]),
                                       ("IPv4: our routing table", ["ip route flush table 2525"])):
                    with self.subTest(backend=backend, what=what):
                        self.applied(backend, tproxying("input", "forward"))
                        for each in commands:
                            self.gateway.run(each.split())
                        self.expect_fault(what + " is missing", "gatepost firewall apply", "failed", "forward")
                        self.assertEqual(self.results["forward", 6], "proven")
                        self.rules.run("remove")
            self.applied("nft", tproxying())
            self.gateway.run(["nft", "delete", "table", "inet", "gatepost"])
            self.expect_fault("the rule input4.l0 is missing", "gatepost firewall apply", "failed")
            self.rules.run("remove")
            self.applied("iptables", tproxying())
            self.gateway.run(["iptables", "-t", "mangle", "-D", "PREROUTING", "-j", "GATEPOST"])
            self.expect_fault("IPv4: the jump from PREROUTING in mangle is missing", "gatepost firewall apply", "failed")

    def test_another_configuration(self):
        with self.given_proxy():
            self.applied("nft", redirecting())
            self.config = self.configured("nft", *redirecting(skip_sources=["198.51.100.7"]))
            self.expect_fault("are not those of this configuration", "gatepost firewall apply", "proven")

    def test_every_port_is_tried(self):
        with self.given_proxy():
            for backend in BACKENDS:
                with self.subTest(backend):
                    self.applied(backend, redirecting(ports=[25, 465, 587]))
                    self.assertEqual(self.verified(), [])
                    self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                    for sentence in self.sentences:
                        self.assertRegex(sentence, "port 25 from .*; the same on port 465, 587$")
                    self.config = self.configured(backend, *redirecting(ports=[25, 465, 587, 2500, 2501]))
                    self.expect_fault("are not those of this configuration", "gatepost firewall apply", "failed")
                    for sentence in self.sentences:
                        self.assertRegex(sentence, "port 2500 from .*: the connection never met the rule; the same on port 2501; "
                                                   "proven on port 25, 465, 587$")
                    self.rules.run("remove")

    def test_source_ports_that_the_kernel_changes(self):
        """Two redirected connections that come from one port have one destination in the end."""
        self.gateway.sysctl("net/ipv4/ip_local_port_range", "40000 40001")
        with self.given_proxy():
            for backend in BACKENDS:
                self.applied(backend, redirecting("output", direction="outgoing", ports=[25, 465, 587, 2500]))
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
                self.rules.run("remove")

    def test_sysctls(self):
        with self.given_proxy(transparent=True):
            self.applied("nft", tproxying("input", "forward", interfaces=["near", "far"]))
            self.gateway.sysctl("net/ipv4/conf/all/src_valid_mark", 1)
            self.expect_fault("net.ipv4.conf.all.src_valid_mark is not 0", "sysctl -w net.ipv4.conf.all.src_valid_mark=0", "failed")
            self.gateway.sysctl("net/ipv4/conf/all/src_valid_mark", 0)
            for name in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
                self.gateway.sysctl(name, 0)
                name = name.replace("/", ".")
                self.expect_fault(f"{name} is 0, and listener l", f"sysctl -w {name}=1", "proven", "forward")
                self.gateway.sysctl(name.replace(".", "/"), 1)
            self.gateway.ip(f"route add default via {SERVER[4]}")
            self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 1)
            self.expect_fault("rp_filter is strict on near", "net.ipv4.conf.near.rp_filter=2")
            self.gateway.sysctl("net/ipv4/conf/near/rp_filter", 2)
            self.assertEqual(self.verified(), [])

    @only_when_full
    def test_rules_of_others(self):
        table = "table inet others {\n chain c {\n type %s; policy accept\n %s\n }\n}\n"
        redirect = ("nat hook prerouting priority dstnat - 20", "tcp dport 20-30 redirect to :26")
        for backend in BACKENDS:
            for kind, what, foreign in (
                    ("redirect", "table inet others, chain c: redirect may take", table % redirect),
                    ("redirect", "table inet others, chain c: dnat may take",
                     table % (redirect[0], "meta nfproto ipv4 tcp dport { 25, 26 } dnat ip to 192.0.2.77")),
                    ("redirect", "table inet others, chain c: drop may take",
                     table % ("filter hook prerouting priority raw", "tcp dport 25 drop")),
                    ("tproxy", "table inet others, chain c: reject may take",
                     table % ("filter hook prerouting priority mangle - 5", "meta l4proto tcp reject")),
                    ("redirect", "table inet others, chain c: drop may drop what was diverted to port 2525",
                     table % ("filter hook input priority filter", "tcp dport 2525 drop")),
                    ("tproxy", "table inet others, chain c: policy drop may drop what was diverted",
                     (table % ("filter hook input priority filter", "tcp dport 26 accept")).replace("policy accept", "policy drop"))):
                with self.subTest(backend=backend, what=what), self.given_proxy(transparent=kind == "tproxy"):
                    self.applied(backend, redirecting() if kind == "redirect" else tproxying())
                    self.gateway.run(["nft", "-f", "-"], input=foreign)
                    self.expect_fault(what, "", "failed")
                    self.gateway.run(["nft", "delete", "table", "inet", "others"])
                    self.assertEqual(self.verified(), [])
                    self.rules.run("remove")

    def test_rules_of_iptables_that_came_later(self):
        with self.given_proxy():
            self.applied("iptables", redirecting())
            self.gateway.run(["iptables", "-t", "nat", "-I", "PREROUTING", "-p", "tcp", "--dport", "25", "-j", "REDIRECT", "--to-ports", "26"])
            self.expect_fault("table ip nat, chain PREROUTING: redirect may take", "remove it", "failed")
            self.assertEqual(self.results["input", 6], "proven")

    def test_connection_tracking_nearly_full(self):
        os.mkdir(self.place / "netfilter")
        for name, value in (("count", 95), ("max", 100)):
            with open(self.place / f"netfilter/nf_conntrack_{name}", "w") as file:
                file.write(f"{value}\n")
        script = f'mount --make-rprivate / && mount --bind "{self.place / "netfilter"}" /proc/sys/net/netfilter && exec "$@"'
        with self.given_proxy():
            self.applied("nft", redirecting())
            self.rules.before = ("unshare", "-m", "sh", "-c", script, "sh")
            self.expect_fault("95 of 100 places are taken", "nf_conntrack_max=200", "proven")

    def test_a_kernel_that_lacks_a_part(self):
        tools = Tools(self.place)
        with self.given_proxy(transparent=True):
            self.applied("iptables", tproxying())
            tools.lacks("iptables", "TPROXY")
            self.rules.before = tools.before
            self.expect_fault("iptables cannot do it here: the kernel does not load TPROXY", "firewall plan", "proven")

    def test_a_server_elsewhere_and_a_spoofed_source(self):
        with self.given_proxy(transparent=True), StandIn(self.world.server, 4, 25, "server"), StandIn(self.world.server, 6, 25, "server"):
            self.applied("nft", tproxying())
            for version in BOTH:
                words = ("--spoof-from", CLIENT[version], "--spoof-to", at(version, SERVER, 25))
                self.assertEqual(self.verified(*words), [])
                self.assertFalse([each for each in self.warnings if f"IPv{version}" in each], self.warnings)
                self.assertEqual(self.spoof, {"version": version, "from": CLIENT[version], "to": at(version, SERVER, 25),
                                              "result": "proven"})
                self.assertIn(f"proven    spoofed source IPv{version}: {CLIENT[version]} to {at(version, SERVER, 25)}, and what",
                              self.rules.run("verify", "-c", self.config, *words).stdout)
                self.world.server.ip(f"-{version} route delete default")
                faults = self.verified(*words)
                self.assertEqual(len(faults), 1, faults)
                self.assertIn("its replies do not come back through this host", faults[0]["what"])
                self.assertEqual(self.results["input", version], "proven")
                self.assertEqual(self.spoof["result"], "failed")

    def test_a_spoofed_source_that_proves_nothing(self):
        with self.given_proxy(transparent=True):
            self.applied("nft", tproxying())
            nobody = {4: SERVER[4].rsplit(".", 1)[0] + ".250", 6: SERVER[6].rsplit(":", 1)[0] + ":250"}
            for version in BOTH:
                for source, server, what, mend in (
                        (NEAR, at(version, SERVER, 25), "is an address of this host", "name an address of a client"),
                        (CLIENT, at(version, NEAR, 25), "is this host itself", "name a server elsewhere"),
                        (CLIENT, at(version, nobody, 25), "does not answer this host either, so nothing is proven", "name a server that runs")):
                    with self.subTest(version=version, what=what):
                        faults = self.verified("--spoof-from", source[version], "--spoof-to", server)
                        self.assertEqual([(what in each["what"], each["mend"]) for each in faults], [(True, mend)], faults)

    def test_spoofed_sources_that_are_no_addresses(self):
        for source, server in ((CLIENT[4], at(6, SERVER, 25)), (CLIENT[4], SERVER[4]), (CLIENT[4], "mail.example:25"),
                               ("client", at(4, SERVER, 25)), (CLIENT[4], at(4, SERVER, 0)), ("0.0.0.0", at(4, SERVER, 25))):
            with self.subTest(source=source, server=server):
                done = self.rules.run("verify", "-c", "/nowhere", "--spoof-from", source, "--spoof-to", server, check=False)
                self.assertEqual((done.returncode, "no addresses of one family" in done.stderr), (64, True), done)

    def test_with_a_gate(self):
        with self.given_proxy():
            self.config = self.configured("iptables", *redirecting(), gate={"queue": QUEUE})
            self.rules.run("apply", "-c", self.config)
            with contextlib.closing(GateProgram(self.gateway, listeners=2)):
                self.assertEqual(self.verified(), [])
                self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)

    def test_a_gate_that_is_not_there(self):
        """Said as what it means for mail, which the kernel lets by or does not."""
        for on_failure, fault, sentence in (("open", "mail goes round gatepost, unscanned", "it went round gatepost: "),
                                            ("closed", "new connections get no answer", "it got no answer: ")):
            for scope, more in (("input", {}), ("output", {"direction": "outgoing"})):
                with self.subTest(on_failure=on_failure, scope=scope), self.given_proxy():
                    self.config = self.configured("iptables", *redirecting(scope, **more), gate={"queue": QUEUE, "on_failure": on_failure})
                    self.rules.run("apply", "-c", self.config)
                    faults = self.verified()
                    for number in (0, 1):
                        self.assertIn({"what": f"the gate does not run: nobody answers queue {QUEUE + number} (listener l{number}); {fault}",
                                       "mend": "gatepost serve"}, faults)
                    self.assertEqual(set(self.results.values()), {"failed"})
                    for each in self.sentences:
                        self.assertIn(sentence, each)
                    self.rules.run("remove")

    def test_a_gate_that_turns_connections_away(self):
        with self.given_proxy():
            self.config = self.configured("iptables", *redirecting(), gate={"queue": QUEUE, "on_failure": "open"})
            self.rules.run("apply", "-c", self.config)
            for more, sentence in (({"open": True, "ready": False}, "the gate has let it pass by"),
                                   ({"ready": False}, "the gate has reset it")):
                with self.subTest(sentence), contextlib.closing(GateProgram(self.gateway, listeners=2, **more)):
                    self.assertEqual(self.verified(), [])
                    self.assertEqual(set(self.results.values()), {"failed"})
                    for each in self.sentences:
                        self.assertIn(sentence, each)

    def test_a_gate_that_takes_only_so_many(self):
        """verify has one address: what is too much for the gate is no rule that is missing."""
        with self.given_proxy():
            for most in (2, 3):
                self.config = self.configured("iptables", *redirecting(ports=[25, 465, 587], max_client_connections=most), gate={"queue": QUEUE})
                self.rules.run("apply", "-c", self.config)
                told = f"the gate has reset it, as it does beyond max_client_connections ({most} in a minute): "
                with self.subTest(most), contextlib.closing(GateProgram(self.gateway, listeners=2, connections=most)):
                    self.assertEqual(self.verified(), [])
                    self.assertEqual(set(self.results.values()), {"inspected"}, self.sentences)
                    reset = [each for each in self.sentences if told + "not tried further" in each]
                    self.assertEqual(len(reset), 2, self.sentences)
                    for each in reset:
                        self.assertRegex(each, "; proven on port 25, 465$" if most == 2 else "^by [a-z]+, [a-z]+: .*further$")
                    self.verified()
                    self.assertEqual(set(self.results.values()), {"failed"})
                    self.assertIn(told + "try again after a minute", self.sentences[0])

    def test_gatepost_itself(self):
        for version in BOTH:
            self.addCleanup(Server(self.world.server, version).close)
        listeners = [{"name": f"{way}{version}", "address": at(version, LOOPBACK if way == "tproxy" else ANY, port), "intercept": way,
                      "scopes": ["forward"], "protected": [SERVER[version]], "ports": [meant], "downstream": "there"}
                     for version in BOTH for way, port, meant in (("redirect", 2525, 25), ("tproxy", 2526, 2500))]
        config = {**config_for(self.place, scan=False, loops=1), "listeners": listeners,
                  "downstreams": {"there": {"original": True, "accept_source_loss": True}}}
        with Gatepost(self.place, config, preexec=lambda: _enter(self.gateway.fd)) as gatepost:
            self.config = self.place / "gatepost.json"
            self.rules.run("apply", "-c", self.config)
            self.assertEqual(self.verified(), [], gatepost.log.tail())
            self.assertEqual(set(self.results.values()), {"proven"}, self.sentences)
            # Behind the one port there is a server, behind the other there is none.
            for sentence in self.sentences:
                self.assertRegex(sentence, ": 220 gatepost" if " port 25 " in sentence else ": 421 4[.]")


if __name__ == "__main__":
    unittest.main()
