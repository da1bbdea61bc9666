#!/usr/bin/env python3
"""A whole story: gatepost on a bridge between clients and their mail server, which are in one network and know of nothing.
By both backends, IPv4 and IPv6; and what is said where it cannot be. Needs br_netfilter in the kernel."""
import contextlib
import subprocess
import unittest

from common import IS_ROOT, PROGRAM, Place
from firewall_case import BACKENDS
from firewall_world import CLIENT, NEAR, Namespace, Rules, available, cable, reach, snapshot
from interception_test import MESSAGE, PORT, Server, Stage

MAIL = {4: "203.0.113.25", 6: "2001:db8:c::25"}
LISTENERS = {4: f"0.0.0.0:{PORT}", 6: f"[::]:{PORT}"}
CALLS = {4: "net/bridge/bridge-nf-call-iptables", 6: "net/bridge/bridge-nf-call-ip6tables"}
SEES_BRIDGES = "mount -t sysfs sysfs /sys && exec \"$@\""  # /sys shows the network of who has mounted it


class Bridged:
    """client --- gateway (a bridge, with an address of its own) --- server; all of one network."""

    def __init__(self):
        self.client, self.gateway, self.server = Namespace(), Namespace(), Namespace()
        cable(self.gateway, "port0", self.client, "eth0")
        cable(self.gateway, "port1", self.server, "eth0")
        self.gateway.ip("link add br0 type bridge", *(f"link set {port} {what}" for port in ("port0", "port1")
                                                      for what in ("addrgenmode none", "master br0", "up")))
        for where, interface, address in ((self.gateway, "br0", NEAR), (self.client, "eth0", CLIENT), (self.server, "eth0", MAIL)):
            where.address(interface, address[4] + "/24", address[6] + "/64")

    def close(self):
        for each in (self.client, self.gateway, self.server):
            each.close()


def calls_packet_filter(host):
    """br_netfilter, which is loaded if it can be."""
    with contextlib.suppress(OSError):
        subprocess.run(["modprobe", "-q", "br_netfilter"], check=False, stdin=subprocess.DEVNULL)
    with contextlib.suppress(FileNotFoundError):
        return bool(host.sysctl(CALLS[4]))
    return False


@unittest.skipUnless(IS_ROOT and available(), "needs root and the tools of the packet filter")
class Bridge(Stage):
    def setUp(self):
        self.world = Bridged()
        self.addCleanup(self.world.close)
        self.place = Place()
        self.addCleanup(self.place.remove)
        self.rules = Rules(self.world.gateway, self.place)
        self.listener = {"intercept": "redirect", "scopes": ["forward"], "interfaces": ["br0"]}

    def listeners(self, at=LISTENERS, **more):
        return [{"name": f"taken{version}", "address": address, "downstream": "there", "protected": [MAIL[version]], **self.listener,
                 **more} for version, address in at.items()]

    def begin(self, backend, at=LISTENERS, **more):
        if not calls_packet_filter(self.world.gateway):
            self.skipTest("a bridge: this kernel has no br_netfilter, and bridged packets never meet the packet filter")
        for name in CALLS.values():
            self.world.gateway.sysctl(name, 0)
        before = snapshot(self.world.gateway)
        gatepost = self.serve_listeners(self.listeners(at, **more), {"original": True}, firewall={"backend": backend})
        self.rules.run("apply", "-c", self.place / "gatepost.json")
        return gatepost, before

    def end(self, gatepost, before):
        gatepost.__exit__(None)
        self.rules.run("remove")
        self.assertEqual(snapshot(self.world.gateway), before)

    def test_mail_over_a_bridge(self):
        servers = {version: Server(self.world.server, version) for version in MAIL}
        for each in servers.values():
            self.addCleanup(each.close)
        for backend in BACKENDS:
            with self.subTest(backend):
                gatepost, before = self.begin(backend)
                for version, server in servers.items():
                    server.messages, server.peers = [], []
                    self.assertEqual(self.send(version, MAIL[version])[0], 250)
                    self.assertEqual((server.messages, set(server.peers)), ([MESSAGE], {NEAR[version]}))
                    # What is for another port is bridged as ever.
                    self.assertEqual(reach(self.world.client, version, MAIL[version], 26), ["refused"])
                    meant = f"{MAIL[4]}:25" if version == 4 else f"[{MAIL[6]}]:25"
                    summary = gatepost.summary(listener=f"taken{version}", direction="incoming", meant_for=meant, outcome="answered")
                    self.assertIn(CLIENT[version], summary["client"])
                self.rules.run("verify", "-c", self.place / "gatepost.json")
                self.end(gatepost, before)
                for version, server in servers.items():  # past a gateway that is a bridge again
                    self.assertEqual(self.send(version, MAIL[version])[0], 250)
                    self.assertEqual(server.peers[-1], CLIENT[version])

    def test_who_is_skipped_is_bridged(self):
        for backend in BACKENDS:
            with self.subTest(backend), contextlib.ExitStack() as stack:
                gatepost, before = self.begin(backend, skip_sources=list(CLIENT.values()))
                for version in MAIL:
                    server = Server(self.world.server, version)
                    stack.callback(server.close)
                    self.assertEqual(self.send(version, MAIL[version])[0], 250)
                    self.assertEqual(set(server.peers), {CLIENT[version]})
                self.end(gatepost, before)

    def test_what_keeps_bridged_packets_from_the_rules_is_found(self):
        gatepost, before = self.begin("nft")
        for version, name in CALLS.items():
            self.world.gateway.sysctl(name, 0)  # as a file of sysctl.d may do it
            dotted = name.replace("/", ".")
            self.expect_fault(f"{dotted} is not 1, and listener taken{version} has the bridge br0", f"sysctl -w {dotted}=1")
            self.world.gateway.sysctl(name, 1)
        self.end(gatepost, before)
        # Plain REDIRECT is refused at once: the port has no address.
        gatepost, before = self.begin("nft", {4: f"{NEAR[4]}:{PORT}", 6: f"[{NEAR[6]}]:{PORT}"}, interfaces=["port0"])
        self.expect_fault("port0 is a port of the bridge br0", "name br0")
        self.end(gatepost, before)

    def expect_fault(self, what, mend):
        done = self.rules.run("verify", "-c", self.place / "gatepost.json", check=False)
        self.assertEqual(done.returncode, 69, done)
        self.assertRegex(done.stdout, f"wrong: {what}.*\n  mend: .*{mend}")

    def test_tproxy_is_refused(self):
        config = self.rules.config(*self.listeners(intercept="tproxy"), downstreams={"there": {"original": True}})
        done = self.world.gateway.run(["unshare", "-m", "sh", "-c", SEES_BRIDGES, "sh", PROGRAM, "check", "-c", config], check=False)
        self.assertEqual(done.returncode, 78, done)
        self.assertIn('"br0" is a bridge, where TPROXY does not work; use "redirect"', done.stderr)
        done = self.rules.run("plan", "-c", config, check=False)
        self.assertEqual(done.returncode, 78, done)
        self.assertIn("br0 is a bridge, where TPROXY does not work", done.stderr)

    def test_a_kernel_without_br_netfilter(self):
        config = self.rules.config(*self.listeners(), downstreams={"there": {"original": True}})
        before = snapshot(self.world.gateway)
        script = '[ ! -d /proc/sys/net/bridge ] || mount -t tmpfs none /proc/sys/net/bridge; exec "$@"'
        self.rules.before = ("unshare", "-m", "sh", "-c", script, "sh")
        done = self.rules.run("apply", "-c", config, check=False)
        self.assertEqual(done.returncode, 78, done)
        for family in ("iptables", "ip6tables"):
            self.assertRegex(done.stderr, f'this kernel has no net.bridge.bridge-nf-call-{family}; load it with "modprobe br_netfilter"')
        self.assertEqual(snapshot(self.world.gateway), before)


if __name__ == "__main__":
    unittest.main()
