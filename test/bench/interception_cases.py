"""What interception costs, in networks of the benchmark's own (client, gateway, server; see test/e2e/firewall_world.py): the
gate per first packet, a spoofed source per session, and thousands of sessions at once. Needs root."""
import os
import re
import sys
import time

import measure
from cases import SETTLE, ratios, row, say
from stage import Failed

QUEUE = 4100
SESSIONS = 5000
CLIENTS = 8  # addresses of the client
RANGE = {4: "10.0.0.0", 6: "2001:db8:a000::"}
NETWORK = {4: "10.0.0.0/8", 6: "2001:db8:a000::/40"}
# As many as the gate has answered in the pause after them, on any machine that is worth a figure.
BURST, PAUSE_US = 2048, 60000


def worlds(stage):
    """The tests' own networks and rules, and the addresses in them."""
    if os.geteuid() != 0:
        raise Failed("needs root: network namespaces and packet filters")
    os.environ["GATEPOST_BUILD"] = stage.options.build
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "e2e"))
    import firewall_world
    if not firewall_world.available():
        raise Failed("needs ip, nft, iptables and ipset")
    return firewall_world


class Gateway:
    """A World with gatepost on its gateway, its rules in force, and a sink behind it."""

    def __init__(self, stage, way, downstream=None, version=4, gate=None, **listener):
        self.stage, self.there = stage, worlds(stage)
        self.world = self.there.World()
        gateway, client = self.world.gateway, self.world.client
        for i in range(1, CLIENTS):
            client.ip(f"address add 203.0.113.{9 + i}/24 dev eth0")
        for name in ("all", "default", "near"):
            gateway.sysctl(f"net/ipv4/conf/{name}/rp_filter", 0)
        self.sink = stage.start([stage.tool("smtp_sink"), "--address", "0.0.0.0", "--port", 25], stage.load_cpus, "sink",
                                inside=self.world.server)
        self.sink.line()
        address = f"{self.there.ANY[4] if version == 4 else '[::]'}:2525"
        self.gatepost = stage.intercepting(gateway, {
            "address": address, "downstream": "there", "intercept": way, "scopes": ["forward"],
            "protected": [self.there.SERVER[version]], **listener}, {"there": {"original": True, **(downstream or {})}},
            {"gate": gate} if gate else {})
        self.rules = self.there.Rules(gateway, self.gatepost.place)
        self.rules.run("apply", "-c", self.gatepost.place / "gatepost.json")
        # Entries of sessions that are over would fill the table of all.
        gateway.sysctl("net/netfilter/nf_conntrack_tcp_timeout_time_wait", 1)

    def load(self, *arguments):
        return self.stage.start([self.stage.tool("smtp_load"), "--to", f"{self.there.SERVER[4]}:25", "--from",
                                 self.there.CLIENT[4], "--sources", CLIENTS, *arguments], self.stage.load_cpus, "load",
                                inside=self.world.client)

    def counts(self):
        return self.stage.sink_counts(self.sink)

    def asked(self, version):
        """First packets that came to the rule with the queue."""
        text = self.world.gateway.run(["iptables-save" if version == 4 else "ip6tables-save", "-c", "-t", "raw"]).stdout
        return sum(map(int, re.findall(r"(?m)^\[(\d+):.*-j NFQUEUE", text)))

    def ended(self):
        """Ends gatepost; its log."""
        self.stage.stop(self.gatepost)
        with open(self.gatepost.log_name) as log:
            return log.read()

    def close(self):
        self.stage.stop(self.sink)
        self.world.close()


def session_cpu(stage, gateway, sessions):
    """Microseconds of CPU of all of gatepost for each session with one message."""
    def loaded(count):
        before = gateway.counts()
        stage.finish(gateway.load("--messages", count))
        after = gateway.counts()
        came = {name: after[name] - before[name] for name in ("messages", "connections", "partial")}
        if came["messages"] != count or came["connections"] < count or came["partial"]:
            raise RuntimeError(f"sent {count}, the sink has {before} -> {after}")
        time.sleep(SETTLE)

    loaded(max(sessions // 10, 8))  # warm-up
    before = measure.cpu_ns(gateway.gatepost.pid)
    loaded(sessions)
    return (measure.cpu_ns(gateway.gatepost.pid) - before) / 1e3 / sessions


def spoof(stage):
    """Connections are tracked in both, as they are on any host with a filter that knows states: the rules for spoofed
    sources need it, and what tracking costs by itself is not the price of a spoofed source."""
    found = {"plain": Gateway(stage, "tproxy", {"identity": "none", "reuse": False}),
             "spoofed": Gateway(stage, "tproxy", {"identity": "spoof"})}
    for gateway in found.values():
        gateway.world.gateway.run("iptables -w -t mangle -A OUTPUT -m conntrack --ctstate INVALID".split())
    spent = {name: [] for name in found}
    for number in range(stage.options.rounds):
        for name, gateway in found.items():
            spent[name].append(session_cpu(stage, gateway, stage.options.scaled(4000)))
        say(f"  round {number + 1}: " + ", ".join(f"{name} {values[-1]:.1f} µs" for name, values in spent.items()))
    for gateway in found.values():
        gateway.ended()
        gateway.close()
    return [row("spoof", "CPU per intercepted session (TPROXY, one 2 KB message): spoofed source / own source", "×", 1.15,
                ratios(spent["spoofed"], spent["plain"]), {f"{name} µs": values for name, values in spent.items()})]


def crowd(stage):
    """Sessions that have all sent their content but for the last dot, on both legs; then each gets its reply."""
    rows = []
    for way, downstream in (("redirect", {"identity": "none"}), ("tproxy", {"identity": "spoof"})):
        gateway = Gateway(stage, way, downstream)
        before, memory = gateway.counts(), measure.memory(gateway.gatepost.pid)
        load = gateway.load("--connections", SESSIONS, "--messages", SESSIONS, "--hold-before-dot")
        held = int(load.line().split()[1])
        legs = gateway.counts()["open"] - before["open"]
        octets = measure.memory(gateway.gatepost.pid) - memory
        load.tell()
        result = stage.finish(load)
        stored = gateway.counts()["messages"] - before["messages"]
        missing = [SESSIONS - count for count in (held, legs, result["messages"], stored)]
        say(f"  {way}: {held} held, {legs} legs to the server, {result['messages']} replies, {stored} stored")
        rows.append(row("crowd", f"of {SESSIONS} sessions at once ({way}), without a reply of their own", "sessions", 0,
                        [max(missing)], {"held": [held], "legs": [legs], "replies": [result["messages"]],
                                         "KiB each": [octets / 1024 / SESSIONS]}))
        gateway.ended()
        gateway.close()
    return rows


def gate(stage):
    return [one for version in (4, 6) for one in gate_of(stage, version)]


def send(gateway, version, count):
    stage = gateway.stage
    stage.finish(stage.start([stage.tool("syn_burst"), RANGE[version], gateway.there.SERVER[version], 25, count, BURST,
                              PAUSE_US], stage.load_cpus, "syn", inside=gateway.world.client))


def gate_of(stage, version):
    """All of it is answered, or there is no figure. The range is not tracked, and dropped behind the decision. Every source
    is new and counted; the kernel has looked it up among a thousand networks that are skipped."""
    count = stage.options.scaled(100_000)
    gateway = Gateway(stage, "redirect", None, version, {"queue": QUEUE}, max_client_connections=30,
                      skip_sources=[f"198.18.{i // 4}.{i % 4 * 64}/26" if version == 4 else f"2001:db8:b{i:03x}::/48"
                                    for i in range(1000)])
    tool = "iptables" if version == 4 else "ip6tables"
    for rule in (f"-t raw -I PREROUTING 1 -s {NETWORK[version]} -j CT --notrack",
                 f"-t mangle -I FORWARD 1 -s {NETWORK[version]} -j DROP"):
        gateway.world.gateway.run([tool, "-w", *rule.split()])
    pid = measure.named("gatepost-gate", gateway.gatepost.pid)
    send(gateway, version, BURST)  # neighbours are found, memory is touched
    spent = []
    for number in range(stage.options.rounds):
        asked, before = gateway.asked(version), measure.cpu_ns(pid)
        send(gateway, version, count)
        time.sleep(SETTLE)
        spent.append((measure.cpu_ns(pid) - before) / 1e3 / count)
        if gateway.asked(version) - asked != count:
            raise RuntimeError(f"{gateway.asked(version) - asked} of {count} SYNs came to the queue")
        say(f"  round {number + 1}: IPv{version} {spent[-1]:.2f} µs per SYN")
    rounds, told = stage.options.rounds, gateway.ended()
    taken, packets, messages = (int(re.findall(pattern, told)[-1]) for pattern in
                                (r"gate: (\d+) connections taken", r"(\d+) packets were answered", r"answered by (\d+)"))
    if taken < rounds * count:
        raise RuntimeError(f"{taken} of {rounds * count} SYNs were answered:\n{gateway.gatepost.log_tail()}")
    gateway.close()
    return [row("gate", f"CPU of the gate per SYN (IPv{version}), {count} in bursts of {BURST}", "µs", 20, spent,
                {"packets per verdict message": [packets / messages]})]


CASES = {"gate": gate, "spoof": spoof, "crowd": crowd}
