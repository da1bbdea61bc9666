"""Networks of the test's own: a client, a gateway and a server, each a network namespace that nothing but descriptors of
this process hold, with cables between them, IPv4 and IPv6. Whatever a test does to packet filters and routes ends with
it. Needs root."""
import contextlib
import ctypes
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import threading

from common import PROGRAM, USERS
from peers import PATIENCE

CLONE_NEWNET = 0x40000000
IP_TRANSPARENT, IPV6_TRANSPARENT = 19, 75
SO_ORIGINAL_DST = 80
_libc = ctypes.CDLL(None, use_errno=True)

# The client's network, the server's network; the gateway has .1 in each.
CLIENT = {4: "203.0.113.9", 6: "2001:db8:c::9"}
NEAR = {4: "203.0.113.1", 6: "2001:db8:c::1"}  # the gateway as the client sees it
FAR = {4: "192.0.2.1", 6: "2001:db8:5::1"}  # the gateway as the server sees it
SERVER = {4: "192.0.2.25", 6: "2001:db8:5::25"}
FAMILY = {4: socket.AF_INET, 6: socket.AF_INET6}
ANY = {4: "0.0.0.0", 6: "::"}
LOOPBACK = {4: "127.0.0.1", 6: "::1"}


def available():
    return os.geteuid() == 0 and all(shutil.which(each) for each in ("ip", "nft", "iptables", "ipset"))


def _enter(fd):
    if _libc.setns(fd, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


class Namespace:
    """One network namespace. Only sockets and programs are made inside; this process stays where it is."""

    def __init__(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        if _libc.unshare(CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        self.fd = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _enter(home)
        os.close(home)
        self.ip("link set lo up")

    def close(self):
        os.close(self.fd)

    def enter(self):
        """For a process of its own, before it becomes another program."""
        _enter(self.fd)

    @contextlib.contextmanager
    def inside(self):
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        _enter(self.fd)
        try:
            yield
        finally:
            try:
                _enter(home)
            except OSError:
                os._exit(70)  # nothing may go on in the wrong network
            os.close(home)

    def popen(self, command, before=lambda: None, **more):
        def enter():
            _enter(self.fd)
            before()
        return subprocess.Popen(command, preexec_fn=enter, **{"stdin": subprocess.DEVNULL, **more})

    def run(self, command, check=True, input=None, before=lambda: None, **more):
        """Status and both outputs of a program that ran inside; its output is the message when it should not have failed."""
        process = self.popen(command, before, stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        out, err = process.communicate(input, timeout=PATIENCE * 3)
        if check and process.returncode != 0:
            raise AssertionError(f"{command} ended with {process.returncode}\n{out}\n{err}")
        return subprocess.CompletedProcess(command, process.returncode, out, err)

    def ip(self, *lines):
        for line in lines:
            self.run(["ip", *line.split()])

    def sysctl(self, name, value=None):
        with self.inside(), open("/proc/sys/" + name, "r" if value is None else "w") as file:
            if value is None:
                return file.read().strip()
            file.write(str(value))
            return None

    def address(self, interface, *addresses):
        """Usable at once, and no more of them later: no duplicate address detection, none made by the kernel. The
        link-local one asks for neighbours where a packet has the source address of somebody else."""
        self.ip(f"link set {interface} addrgenmode none")
        for each in (*addresses, *("fe80::" + each.rsplit(":", 1)[1] for each in addresses if ":" in each)):
            nodad = ["nodad"] if ":" in each else []
            self.run(["ip", "address", "add", each, "dev", interface, *nodad])
        self.ip(f"link set {interface} up")

    def tcp_counter(self, name):
        with self.inside(), open("/proc/thread-self/net/snmp") as file:
            names, values = [line.split() for line in file if line.startswith("Tcp:")]
        return int(values[names.index(name)])

    def socket(self, version, transparent=False, mark=0):
        with self.inside():
            made = socket.socket(FAMILY[version])
        made.settimeout(PATIENCE)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if transparent:
            made.setsockopt(socket.SOL_IP if version == 4 else socket.IPPROTO_IPV6,
                            IP_TRANSPARENT if version == 4 else IPV6_TRANSPARENT, 1)
        if mark:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, mark)
        return made

    def connect(self, version, address, port, source=None, patience=None, **more):
        made = self.socket(version, **more)
        if patience is not None:
            made.settimeout(patience)
        try:
            if source:
                made.bind((source, 0) if isinstance(source, str) else source)
            made.connect((address, port))
        except BaseException:
            made.close()
            raise
        return made


def cable(one, one_name, other, other_name):
    one.run(["ip", "link", "add", one_name, "type", "veth", "peer", "name", other_name,
             "netns", f"/proc/self/fd/{other.fd}"], pass_fds=[other.fd])


class World:
    """client --- gateway --- server. The server's packets for anybody go through the gateway."""

    def __init__(self):
        self.client, self.gateway, self.server = Namespace(), Namespace(), Namespace()
        cable(self.gateway, "near", self.client, "eth0")
        cable(self.gateway, "far", self.server, "eth0")
        self.gateway.address("near", NEAR[4] + "/24", NEAR[6] + "/64")
        self.gateway.address("far", FAR[4] + "/24", FAR[6] + "/64")
        self.client.address("eth0", CLIENT[4] + "/24", CLIENT[6] + "/64")
        self.server.address("eth0", SERVER[4] + "/24", SERVER[6] + "/64")
        for host, way in ((self.client, NEAR), (self.server, FAR)):
            host.ip(f"route add default via {way[4]}", f"-6 route add default via {way[6]}")
        self.gateway.sysctl("net/ipv4/ip_forward", 1)
        self.gateway.sysctl("net/ipv6/conf/all/forwarding", 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        for each in (self.client, self.gateway, self.server):
            each.close()


def original_destination(connection, version):
    """What connection tracking knows (REDIRECT), or nothing."""
    try:
        if version == 4:
            raw = connection.getsockopt(socket.SOL_IP, SO_ORIGINAL_DST, 16)
            return socket.inet_ntop(socket.AF_INET, raw[4:8]), struct.unpack("!H", raw[2:4])[0]
        raw = connection.getsockopt(socket.IPPROTO_IPV6, SO_ORIGINAL_DST, 28)
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), struct.unpack("!H", raw[2:4])[0]
    except OSError:
        return None


def snapshot(where):
    """All that rules can leave behind, as text: two that are equal mean no trace."""
    out = []
    for command in (["nft", "-s", "list", "ruleset"], ["iptables-save"], ["ip6tables-save"], ["ipset", "save"], ["ip", "rule"],
                    ["ip", "-6", "rule"], ["ip", "route", "show", "table", "all"], ["ip", "-6", "route", "show", "table", "all"],
                    ["ip", "-o", "link"]):
        lines = where.run(command).stdout.splitlines()
        lines = [re.sub(r"\[\d+:\d+\]|initval \S+", "", line) for line in lines if not line.startswith("#")]
        if command[0] == "ipset":
            lines.sort()  # a list is in no order
        # Empty tables stay with the old iptables; those of the new one are among nft's.
        text = re.sub(r"(?m)^\*\w+\n(:\w+ ACCEPT ?\n)*COMMIT$", "", "\n".join(lines))
        lines = list(filter(None, text.split("\n")))
        out += [" ".join(command) + ":", *(sorted(lines) if command[0] == "ipset" else lines)]  # sets have no order
    for name in ("net/bridge/bridge-nf-call-iptables", "net/bridge/bridge-nf-call-ip6tables", "net/ipv4/ip_forward"):
        with contextlib.suppress(FileNotFoundError):
            out.append(f"{name} = {where.sysctl(name)}")
    return "\n".join(out)


class Rules:
    """`gatepost firewall`, run on a host of a World with a file of its own for what is in force."""

    def __init__(self, host, place):
        self.host, self.place = host, place
        self.state = place / "firewall"
        self.before = ()  # words in front of the command

    def config(self, *listeners, name="gatepost.json", downstreams=None, **sections):
        listeners = [{"name": f"l{i}", "downstream": "original", **each} for i, each in enumerate(listeners)]
        path = self.place / name
        with open(path, "w") as file:
            json.dump({"listeners": listeners, "downstreams": downstreams or {}, "users": {k: str(v) for k, v in USERS.items()},
                       **sections}, file)
        return path

    def run(self, action, *words, check=True, **more):
        state = () if "--facts" in words else ("--state", self.state)
        return self.host.run([*self.before, PROGRAM, "firewall", action, *words, *state], check=check, **more)

    def told(self, action, *words):
        return json.loads(self.run(action, *words, "--json").stdout)

    def step_by_step(self, config):
        """Does what apply would do, and gives the reason of each step behind it."""
        for step in self.told("plan", "-c", config)["plan"]["apply"]:
            condition = step.get("if") or step.get("unless")
            if condition:
                told = self.host.run(condition, check=False)
                if (told.returncode == 0 and step.get("says", "") in told.stdout) != ("if" in step):
                    continue
            self.host.run(step["argv"], input=step.get("input"))
            yield step["why"]

    def counted(self):
        """(listener, scope, version) -> connections."""
        rules = self.told("status")["rules"]
        return {(each["listener"], each["scope"], each["version"]): each["connections"] for each in rules}


class StandIn:
    """A listener that says whom it is, who came, and where they meant to go: `NAME PEER LOCAL ORIGINAL`."""

    def __init__(self, where, version, port, name, address=None, transparent=False, uid=None):
        self.version, self.name, self.came = version, name, []
        self.socket = where.socket(version, transparent)
        if version == 6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        self.socket.settimeout(None)
        self.socket.bind((address or ANY[version], port))
        self.socket.listen(64)
        threading.Thread(target=self._accept, args=(uid,), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()

    def _accept(self, uid):
        if uid is not None:
            _libc.setfsuid(uid)  # of this thread; who accepts a connection is its owner in /proc/net/tcp
        while True:
            try:
                connection, peer = self.socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):
                local = connection.getsockname()
                meant = original_destination(connection, self.version) or local
                self.came.append((peer[:2], meant[:2]))
                connection.sendall(f"220 {self.name} {peer[0]} {meant[0]} {meant[1]}\r\n".encode())
                connection.settimeout(PATIENCE)
                while connection.recv(4096):
                    pass


def greeting(connection):
    """The words of a StandIn's line; none at all for a connection that is closed without one."""
    with connection, connection.makefile("rb") as lines:
        return lines.readline().decode().split()[1:]


def reach(where, version, address, port, patience=None, **more):
    """Who answers there, in the StandIn's words; "refused" or "silence" when nobody does. `patience`: with the connection; what
    is said by it may be slow."""
    try:
        connected = where.connect(version, address, port, patience=patience, **more)
        connected.settimeout(PATIENCE)
        return greeting(connected)
    except ConnectionRefusedError:
        return ["refused"]
    except (TimeoutError, OSError):
        return ["silence"]
